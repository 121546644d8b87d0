"""The verbs of an app for its reactions and their dead letters."""

from __future__ import annotations

from typing import Any

from motet.choreography.reactions import Reaction
from motet.client import Client
from motet.deliveries import DeadLetter, ReactionStatus, ReplayFrom
from motet.places import refuse_in_body


class DeliveryVerbs:
    """As `App` has them. A reaction is named by itself, or by its name with or without the app's in front."""

    @property
    def client(self) -> Client:
        """The open connection. Raises NotConnected."""
        raise NotImplementedError

    async def reaction_status(self) -> list[ReactionStatus]:
        """How all reactions of the store stand, by name: how far each has come, who delivers, what has failed."""
        refuse_in_body("reaction_status", "a step")
        return await self.client.deliveries.reactions()

    async def pause(self, reaction: Reaction | str) -> None:
        """Deliver nothing more to a reaction, until `resume`; deliveries at work come to their end.

        Raises:
            ReactionNotFound; NotPossible: several apps have one of this name.
        """
        refuse_in_body("pause", "a step")
        await self.client.deliveries.pause(reaction, True)

    async def resume(self, reaction: Reaction | str) -> None:
        """Go on where it was paused. Raises as `pause`."""
        refuse_in_body("resume", "a step")
        await self.client.deliveries.pause(reaction, False)

    async def replay(self, reaction: Reaction | str, start: ReplayFrom) -> int:
        """Deliver what a reaction has had already once more, as if it had never been; also its dead letters.

        Args:
            start: the first event that is delivered anew: its position; "beginning"; or a datetime with its zone: the
                first that was recorded then or later.

        Returns:
            how many events are delivered anew.

        Raises:
            ReactionNotFound; BadValue; NotPossible: the reaction has not come so far yet.
        """
        refuse_in_body("replay", "a step")
        return (await self.client.deliveries.replay(reaction, start)).events

    async def forget(self, reaction: Reaction | str) -> None:
        """Remove a reaction (or expectation) that no code declares any more, with its dead letters; the events stay.

        Raises:
            ReactionNotFound; NotPossible: a worker delivers to it.
        """
        refuse_in_body("forget", "a step")
        await self.client.deliveries.forget(reaction)

    async def dead_letters(
        self, *, reaction: Reaction | str | None = None, type: str | None = None, key: str | None = None,
        conversation: str | None = None, limit: int = 50, after: tuple[str, int] | None = None,
    ) -> list[DeadLetter]:  # fmt: skip
        """Dead letters, by reaction and position.

        Args:
            type: of the events: a name, or one with `*` for any characters.
            after: begins the next page: the last one's `reaction` and `position`.

        Raises:
            ReactionNotFound.
        """
        refuse_in_body("dead_letters", "a step")
        deliveries = self.client.deliveries
        wanted = await deliveries.meant(reaction, type=type, key=key, conversation=conversation, limit=limit)
        return await deliveries.listed(wanted._replace(after=after))

    async def redrive(
        self, reaction: Reaction | str | None = None, position: int | None = None, *, type: str | None = None,
        key: str | None = None, conversation: str | None = None,
    ) -> int:  # fmt: skip
        """Have dead letters tried again at once, with all their attempts: one, those that are meant, or all.

        Returns:
            how many.

        Raises:
            ReactionNotFound; DeadLetterNotFound: the one that was named is none.
        """
        refuse_in_body("redrive", "a step")
        deliveries = self.client.deliveries
        return await deliveries.redrive(
            await deliveries.meant(reaction, position, type=type, key=key, conversation=conversation)
        )

    async def discard(
        self, reaction: Reaction | str | None = None, position: int | None = None, *, type: str | None = None,
        key: str | None = None, conversation: str | None = None,
    ) -> int:  # fmt: skip
        """Give dead letters up; their events stay in the log. What waits behind held ones goes on. As `redrive`."""
        refuse_in_body("discard", "a step")
        deliveries = self.client.deliveries
        return await deliveries.discard(
            await deliveries.meant(reaction, position, type=type, key=key, conversation=conversation)
        )

    async def edit(self, reaction: Reaction | str, position: int, data: Any) -> None:
        """Put other data in the place of a dead letter's own, for when it is redriven; the log stays as it is.

        Raises:
            ReactionNotFound, DeadLetterNotFound; BadValue: the data cannot be recorded.
        """
        refuse_in_body("edit", "a step")
        await self.client.deliveries.edit(reaction, position, data)
