"""What a store must do for a step or a reaction that writes to the store's own database: effect and record are one
transaction.

    begin ── the user's function writes ── commit(record) ── done
      │                │                        │
      └────────────────┴── roll_back ───────────┴── reply lost: ask `Transacting.recorded` or `.delivery_state`

It goes beside the committer's batches, under the fence of the run or of the reaction alone: its row, held until the end
of the transaction, says that this worker owns it. A takeover changes that row, so it comes either before, and the
transaction is refused, or after, and whoever takes over reads the record. The worker's own row, with its number of the
batch, is not touched: two writers of that number would look like having lost the lease.

A part of the store's protocol (`motet.store.protocol`), with the same rules.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from motet.model.delivery import DeliveryState
from motet.model.history import Recorded
from motet.store.mutations import Mutation


class RunFence(NamedTuple):
    """A worker's right to write for one run: it owns the run, which has not changed hands since."""

    uid: str
    epoch: int
    worker: int


class DeliveryFence(NamedTuple):
    """A worker's right to deliver to one reaction: it owns the reaction, which has not changed hands since."""

    reaction: str
    epoch: int
    worker: int


class AttemptTransaction(Protocol):
    """The transaction of one attempt. Its calls come one after the other, but `roll_back` may come at any time: also
    while the user's function is still at work with the connection, because its time is over."""

    async def begin(self) -> object:
        """Returns the connection. Raises LeaseLost; StoreUnavailable."""
        ...

    async def commit(self, unit: list[Mutation]) -> None:
        """Together with what the function has written.

        Raises:
            LeaseLost: the run or reaction belongs to another worker; nothing was written.
            WrongPlace: the function has ended the transaction itself.
            StoreRejected: a record can never be stored; nothing was written.
            StoreUnavailable: whether it was written is unknown; ask `Transacting`.
            the database's own error: it refuses what the function has written; nothing was written.
        """
        ...

    async def roll_back(self) -> None:
        """Nothing has happened, and whatever the function still does with the connection fails; after a commit it only
        lets go. Raises nothing."""
        ...

    def is_outage(self, error: BaseException) -> bool:
        """Whether the function has failed by no fault of its own: the store is away, or its disk full."""
        ...


class Transacting(Protocol):
    """Steps and deliveries with transactions of their own."""

    def step_transaction(self, fence: RunFence, *, blocking: bool = False) -> AttemptTransaction:
        """One for a run that this worker owns; not begun yet. `blocking`: the function is no coroutine, and is called
        in a thread."""
        ...

    async def recorded(self, fact: Recorded) -> bool:
        """After a lost reply: whether this very fact has its row. Waits for a transaction that is still under way."""
        ...

    def delivery_transaction(self, fence: DeliveryFence, *, blocking: bool = False) -> AttemptTransaction:
        """The same for a delivery to a reaction that this worker owns."""
        ...

    async def delivery_state(self, fence: DeliveryFence, position: int) -> DeliveryState | None:
        """After a lost reply: what the delivery's row says; None: it has none. Waits for a transaction that is still
        under way. Raises LeaseLost."""
        ...
