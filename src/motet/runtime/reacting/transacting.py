"""A delivery in a transaction: what the handler writes and that the event was delivered are one fact.

    begin ──> the handler writes ──> what it publishes, and that it is done ──> COMMIT ──> finished
      │ away         │ error, time over                │ refused                 │ reply lost
      └─ again       └─ rolled back                    └─ rolled back            └─ is it done? finished : begin again

Invariants: from the commit on the store alone says whether it was delivered, so neither a timeout nor a cancel ends a
delivery before that is known; and whoever reads the reaction's rows anew waits for that first. A store that is away
costs no attempt: nothing has happened, so it is begun anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from motet.choreography.window import Delivery
from motet.errors import StoreUnavailable
from motet.model.cause import OwnTransaction, own_transaction
from motet.model.event import Event
from motet.runtime.calling import call_in_thread
from motet.runtime.insisting import Away, insist, learn
from motet.runtime.reacting.handling import Handling
from motet.store.mutations import KIND_NAMES, Mutation
from motet.store.transactions import AttemptTransaction, DeliveryFence

if TYPE_CHECKING:
    from motet.runtime.reacting.reader import Reader

log = logging.getLogger("motet.reactions")

Begin = Callable[[], tuple[Event[Any], Handling]]


class InTransaction:
    """One attempt of one delivery.

    Args:
        begin: gives the event anew, with nothing published.
        timeout: the handler's time; the store's own is not counted.
    """

    def __init__(self, reader: Reader, delivery: Delivery, begin: Begin, timeout: float | None) -> None:
        assert reader.owner is not None
        self._reader = reader
        self._worker = reader.house.worker
        self._store = reader.house.worker.session.store
        self._delivery = delivery
        self._begin = begin
        self._timeout = timeout
        self._fence = DeliveryFence(reader.name, reader.epoch, reader.owner)

    async def call(self) -> None:
        """Raises what the handler raises; LeaseLost, StoreRejected, WrongPlace, or what the database says of what the
        handler has written."""
        await insist(self._try, f"a delivery to {self._reader.name}")

    async def _try(self) -> None:
        self._untimed()
        transaction = self._store.delivery_transaction(self._fence, blocking=not self._reader.reaction.is_async)
        event, handling = self._begin()
        try:
            try:
                connection = await transaction.begin()
            except StoreUnavailable as error:
                raise Away(error, begun=False) from error
            if self._timeout is not None:
                self._worker.attempts.limits.add(self._delivery, self._timeout)
            try:
                await self._handle(event, connection)
            except Exception as error:
                if transaction.is_outage(error):
                    raise Away(error, begun=True) from error
                raise
            handling.closed = True
            self._untimed()
            unit = [*handling.units, *self._reader.records.done(self._delivery)]
            await self._reader.house.until_known(self._fence.reaction, self._commit(transaction, unit))
        finally:
            handling.closed = True
            await asyncio.shield(transaction.roll_back())

    def _untimed(self) -> None:
        if self._timeout is not None:
            self._worker.attempts.limits.discard(self._delivery, self._timeout)

    async def _handle(self, event: Event[Any], connection: object) -> None:
        reaction = self._reader.reaction
        token = own_transaction.set(OwnTransaction(self._store.address, f"the handler of {self._reader.name}"))
        try:
            if reaction.is_async:
                await reaction.function(event, connection)
            else:
                await call_in_thread(self._worker.attempts.threads, lambda: reaction.function(event, connection))
        finally:
            own_transaction.reset(token)

    async def _commit(self, transaction: AttemptTransaction, unit: list[Mutation]) -> None:
        """Returns when it is committed. Raises Away: it is known not to be; and what `commit` raises."""
        self._pass("before", unit)
        try:
            await transaction.commit(unit)
        except StoreUnavailable as error:
            log.warning("%s; looking whether a delivery to %s was committed", error, self._reader.name)
            if not await learn(self._is_done):
                raise Away(error, begun=True) from error
        self._pass("after", unit)

    async def _is_done(self) -> bool:
        """Of one that had a row, nothing is left when it is done and the position has passed it."""
        state = await self._store.delivery_state(self._fence, self._delivery.position)
        return state == "done" or (state is None and self._delivery.kept)

    def _pass(self, when: str, unit: list[Mutation]) -> None:
        failpoint = self._worker.hooks.failpoint
        if failpoint is not None:
            failpoint(when, frozenset(KIND_NAMES[type(row)] for row in unit))
