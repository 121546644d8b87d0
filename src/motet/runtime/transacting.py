"""One attempt of a transaction: the user's function, and the record of its success, in one commit.

    begin ──> the function writes ──> position and record ──> COMMIT ──> applied in its turn (motet.runtime.ordering)
      │ away         │ error, time over         │ refused        │ reply lost
      └─ again       └─ rolled back             └─ rolled back   └─ is the row there? applied : begin again

Invariants: the fact gets its position when the function has returned, like every other fact when it is submitted; what
counts from then on is the store alone, so neither a timeout nor a cancel ends the attempt before its commit is known.

A store that is away costs no attempt: nothing has happened, so it is begun anew.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from motet.errors import LeaseLost, StoreRejected, StoreUnavailable
from motet.model.cause import OwnTransaction, own_transaction
from motet.model.history import Fact, Recorded
from motet.orchestration.operation import Operation
from motet.orchestration.outcome import Returned
from motet.runtime.calling import call_in_thread
from motet.runtime.insisting import Away, insist, learn
from motet.runtime.ordering import Order
from motet.store.mutations import KIND_NAMES, Mutation, ShowProgress
from motet.store.transactions import AttemptTransaction, RunFence

if TYPE_CHECKING:
    from motet.runtime.attempts import Running
    from motet.runtime.driver import Driver

log = logging.getLogger("motet.worker")


class InTransaction:
    """One attempt. `running` is to be set before it begins."""

    __slots__ = ("_driver", "_fence", "_machine", "_op", "_position", "_store", "acquittal", "committed", "running")

    def __init__(self, driver: Driver, op: Operation) -> None:
        self._driver = driver
        self._machine = driver.machine
        self._op = op
        self._store = driver.house.session.store
        self._fence = RunFence(driver.run.uid, driver.run.epoch, driver.house.id)
        self._position = 0
        self.acquittal: ShowProgress | None = None  # a suspect's, written with it
        self.committed: Fact | None = None  # the record of its success
        self.running: Running | None = None

    def apply(self) -> None:
        """What was committed is applied when its turn has come."""
        driver, fact, position = self._driver, self.committed, self._position
        assert driver.order is not None and fact is not None
        driver.order.settle(position, lambda: driver.apply(self._machine, position, fact))

    async def call(self, *args: Any, **kwargs: Any) -> Any:
        """The function's result; `committed`, unless it cannot be recorded. Raises what the function raises, and
        LeaseLost, StoreRejected, WrongPlace, or what the database says of what the function has written."""
        return await insist(lambda: self._try(args, kwargs), f"transaction {self._op.op}")

    async def _try(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        callee = self._op.callee
        transaction = self._store.step_transaction(self._fence, blocking=callee is not None and not callee.is_async)
        pool, running = self._driver.house.attempts, self._run
        try:
            try:
                connection = await transaction.begin()
            except StoreUnavailable as error:
                raise Away(error, begun=False) from error
            pool.arm(running)  # the store's line was waited for; the function's own time begins now
            try:
                value = await self._function(connection, args, kwargs)
            except Exception as error:
                if transaction.is_outage(error):
                    raise Away(error, begun=True) from error
                raise
            await self._commit(transaction, value)
            return value
        finally:
            pool.disarm(running)
            await asyncio.shield(transaction.roll_back())

    @property
    def _run(self) -> Running:
        assert self.running is not None
        return self.running

    async def _function(self, connection: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        callee = self._op.callee
        assert callee is not None
        function = callee.function
        token = own_transaction.set(OwnTransaction(self._store.address, f"{callee.noun} {callee.name}"))
        try:
            if callee.is_async:
                return await function(connection, *args, **kwargs)
            threads = self._driver.house.attempts.threads
            return await call_in_thread(threads, lambda: function(connection, *args, **kwargs), self._run.queue)
        finally:
            own_transaction.reset(token)

    async def _commit(self, transaction: AttemptTransaction, value: Any) -> None:
        driver, running = self._driver, self._run
        if running.timed_out or running.dropped or running.ended or driver.leaving:
            raise asyncio.CancelledError  # the function did not care
        fact = driver.machine.decide(self._op, Returned(value), driver.house.clock.now(), running.started_at)
        if fact.kind != "completed":
            return  # its result cannot be recorded: a fault like any other
        order = driver.order = driver.order or Order()
        unit: list[Mutation] = [self._place(fact, order)]
        if driver.launching.suspect:
            self.acquittal = driver.launching.acquittal(self._op)
            unit.append(self.acquittal)
        running.committing = True
        try:
            await asyncio.shield(self._until_known(transaction, unit))
        except BaseException:
            running.committing = False
            order.void(self._position)
            raise
        self.committed = fact

    def _place(self, fact: Fact, order: Order) -> Recorded:
        """Its position, behind everything that was submitted."""
        driver = self._driver
        position = self._position = driver.next_position
        driver.next_position += 1
        applied = driver.machine.position
        order.open(position, 2 if driver.unwritten else 1)
        if driver.unwritten:
            # What earlier drains have published may come to the disk later than this, or be published again after a
            # crash: so this row says nothing of it.
            applied = -1
            driver.submit([], lambda _: self._told(order, position))
        return Recorded(driver.run.uid, driver.run.generation, position, applied, *fact, self._op.site)

    def _told(self, order: Order, position: int) -> None:
        self._driver.unwritten -= 1
        order.pass_on(position)

    async def _until_known(self, transaction: AttemptTransaction, unit: list[Mutation]) -> None:
        """Returns when it is committed. Raises Away: it is known not to be; and what `commit` raises."""
        self._pass("before", unit)
        try:
            await transaction.commit(unit)
        except (LeaseLost, StoreRejected):
            raise
        except StoreUnavailable as error:
            log.warning("%s; looking whether transaction %s was committed", error, self._op.op)
            row = unit[0]
            assert isinstance(row, Recorded)
            if not await learn(lambda: self._store.recorded(row)):
                raise Away(error, begun=True) from error
        self._pass("after", unit)

    def _pass(self, when: str, unit: list[Mutation]) -> None:
        failpoint = self._driver.house.hooks.failpoint
        if failpoint is not None:
            failpoint(when, frozenset(KIND_NAMES[type(row)] for row in unit))
