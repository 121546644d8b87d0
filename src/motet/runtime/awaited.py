"""Events that have come for the waits of a run in memory: each is recorded for one of them.

The store tells every wait that an event fits. While the fact that gives it to one of them is on its way to the disk,
the others of the same run are put off; then the machine knows whether it has been consumed, and who has not got it
looks for the next one. So a history holds no event that nobody got, but for waits given up at that very moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from motet.model.event import LoggedEvent
from motet.model.history import Fact
from motet.orchestration import awaiting
from motet.orchestration.operation import Operation
from motet.store.mutations import AwaitedEvent, EndWait, PutInbox, RegisterWait, TakeInbox

if TYPE_CHECKING:
    from motet.runtime.driver import Driver

_awaited = msgspec.json.Decoder(AwaitedEvent)
_row = msgspec.json.Decoder(LoggedEvent)


def wait_name(driver: Driver, op: Operation) -> str:
    """How the store calls a wait of the run."""
    return f"{driver.run.generation}.{op.op}"


def registration(driver: Driver, op: Operation) -> RegisterWait:
    """Look for an event for this wait, and tell the run when one comes."""
    want = awaiting.wanted(op)
    consumed = {name: awaiting.consumed(driver.machine, name, want.key) for name in want.types}
    return RegisterWait(driver.run.uid, wait_name(driver, op), want.key, msgspec.json.encode(consumed).decode())


class Awaited:
    """Hears of the events that have come for one generation of a run."""

    __slots__ = ("_driver", "_on_the_way", "_put_off")

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._on_the_way: set[int] = set()  # positions of events
        self._put_off: list[PutInbox] = []

    def hear(self, message: PutInbox) -> None:
        """Record the event for the wait that it has come for, if it is still there for it."""
        driver = self._driver
        told = _awaited.decode(message.payload or "")
        row = _row.decode(told.row)
        op = self._waiting(told.op)
        take = TakeInbox(message.uid, message.key)
        if op is None:
            driver.write(take)
        elif row.position in self._on_the_way:
            self._put_off.append(message)
        elif awaiting.is_consumed(driver.machine, op, row):
            driver.write(take, registration(driver, op))
        else:
            self._on_the_way.add(row.position)
            fact = Fact(
                op.op, "wait", "completed", driver.house.clock.now(), bytes(told.row).decode(), digest=op.digest
            )
            driver.record(fact, take, EndWait(driver.run.uid, told.op), applied=lambda: self._applied(row.position))

    def _applied(self, position: int) -> None:
        self._on_the_way.discard(position)
        put_off, self._put_off = self._put_off, []
        for message in put_off:
            self._driver.taken.discard(message.key)
            self._driver.hear(message)

    def _waiting(self, name: str) -> Operation | None:
        """The wait, if anybody still waits."""
        generation, _, operation = name.partition(".")
        op = self._driver.machine.operations.get(operation)
        return op if op is not None and int(generation) == self._driver.run.generation and not op.settled else None
