"""The verbs of an app for letting go of what is over."""

from __future__ import annotations

from datetime import timedelta

from motet.client import Client
from motet.errors import BadValue
from motet.model.clock import micros
from motet.model.codec import check_text
from motet.places import refuse_in_body, refuse_in_transaction
from motet.runtime.forgetting import Forgetter, Forgotten
from motet.runtime.pruning import Prunable, Pruned, Pruner


class RetentionVerbs:
    """As `App` has them."""

    @property
    def client(self) -> Client:
        """The open connection. Raises NotConnected."""
        raise NotImplementedError

    async def prunable(self, *, older_than: timedelta) -> Prunable:
        """What `prune` would remove now, what stays although it is so old, and who holds the log back.

        Raises:
            BadValue: a time to come.
        """
        refuse_in_body("prunable", "a step")
        return await self._pruner(older_than).count()

    async def prune(self, *, older_than: timedelta) -> Pruned:
        """Remove what was over so long ago, in small transactions: ended runs with their histories, and events that
        nobody needs any more. Ids of runs stay taken.

        Raises:
            BadValue: a time to come.
        """
        refuse_in_body("prune", "a step")
        refuse_in_transaction("prune", self.client.store.address, "leave it to a reaction without one")
        return await self._pruner(older_than).prune()

    async def forget_conversation(self, key: str, *, force: bool = False) -> Forgotten:
        """Erase what a conversation's runs and events were given and what came of them; that they were, and how they
        ended, stays.

        Args:
            key: the conversation, or the id of a run in it.
            force: give up its dead letters, and what reactions and expectations have not come to.

        Raises:
            ConversationNotFound; NotPossible: something in it is open.
        """
        refuse_in_body("forget_conversation", "a step")
        refuse_in_transaction(
            "forget_conversation", self.client.store.address, "leave it to a reaction without one"
        )  # fmt: skip
        forgetter = Forgetter(self.client.store, self.client.keys)
        return await forgetter.forget(await forgetter.named(check_text(key, "a conversation")), force=force)

    def _pruner(self, older_than: timedelta) -> Pruner:
        if older_than < timedelta(0):
            raise BadValue(f"prune what is older than {older_than}? Give an age of 0 or more")
        clock = self.client.clock
        return Pruner(self.client.store, clock, clock.now() - micros(older_than), self.client.keys)
