"""One run's attempts: when each begins, and how its outcome comes back to the driver.

An operation whose attempt has ended and whose fact is on its way to the disk is *reported*: nothing else may settle
it meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from motet.errors import WrongType
from motet.model.clock import Micros
from motet.orchestration.attempt import Attempt
from motet.orchestration.operation import Operation
from motet.orchestration.outcome import Outcome
from motet.runtime import carrying
from motet.runtime.attempts import Running
from motet.runtime.suspects import is_suspect
from motet.store.mutations import ShowProgress
from motet.store.protocol import Receipt

if TYPE_CHECKING:
    from motet.runtime.driver import Driver


class Launching:
    """Belongs to one driver."""

    __slots__ = ("_driver", "_has_turn", "asking", "flying", "postponed", "reported", "suspect")

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._has_turn = False
        self.asking = 0  # operations that wait for their turn among suspects
        self.postponed = False  # something could begin now, and will not in this worker
        self.flying: dict[str, Running] = {}
        self.reported: set[str] = set()
        self.suspect = is_suspect(driver.run)

    def attempt(self, op: Operation) -> None:
        """Start the next attempt when it is due; a worker that is about to stop starts none."""
        driver = self._driver
        house = driver.house
        if op.due and op.due > house.clock.now():
            driver.timers[op.op] = house.timers.at(op.due, lambda: self._start(op))
        elif self.suspect:
            self._start(op)
        else:
            self._launch(op)

    def settle_abandoned(self, op: Operation) -> None:
        """Nobody waits for it any more: an attempt in flight still reports; without one it is settled now."""
        if op.op in self.flying or op.op in self.reported:
            return
        driver = self._driver
        timer = driver.timers.pop(op.op, None)
        if timer is not None:
            timer.cancel()
        now = driver.house.clock.now()
        driver.record(driver.machine.decide(op, carrying.cut_off(op), now, now))

    def withdraw(self) -> bool:
        """Take back what has not begun yet, for another worker; returns whether anything is at work."""
        if self.suspect:
            self.postponed = True  # it may wait for its turn
        for name, running in list(self.flying.items()):
            if not running.at_work:
                running.dropped = True
                del self.flying[name]
                self.postponed = True
        return bool(self.flying)

    def close(self) -> None:
        """Drop what is in flight."""
        for running in list(self.flying.values()):
            running.drop()
        self.flying.clear()
        self._end_turn()
        if not self.suspect:  # which may still be called when its turn comes
            del self._driver  # without this circle the run is freed at once, and not by the garbage collector

    def _start(self, op: Operation) -> None:
        driver = self._driver
        driver.timers.pop(op.op, None)
        if self.suspect:
            self.asking += 1
            driver.house.suspects.ask(lambda: self._start_suspect(op))
        else:
            self._launch(op)

    def _start_suspect(self, op: Operation) -> None:
        """Record that it starts, then start it: if the process dies now, it is known who did it."""
        self.asking -= 1
        driver = self._driver
        if driver.leaving or op.abandoned:
            driver.house.suspects.leave()
            return
        self._has_turn = True

        def durable(_: Receipt) -> None:
            driver.unwritten -= 1
            if op.abandoned:
                self._end_turn()
            else:
                self._launch(op)

        driver.submit([ShowProgress(driver.run.uid, carrying.current_of(driver, suspect=op.op), None)], durable)

    def _launch(self, op: Operation) -> None:
        driver = self._driver
        house = driver.house
        if house.draining or driver.leaving:
            self.postponed = True
            return
        machine = driver.machine
        assert op.callee is not None
        try:
            call = machine.call_of(op)
        except WrongType as error:
            driver.park("divergence", error)
            return
        run = driver.run
        attempt = Attempt(
            machine.key_of(op), op.attempts + 1, run.epoch, run.id, op.name, op.op, run.conversation, run.traceparent
        )
        self.flying[op.op] = house.attempts.start(op.callee, call, attempt, partial(self._ended, op), run.queue)

    def _ended(self, op: Operation, outcome: Outcome, started_at: Micros) -> None:
        driver = self._driver
        house = driver.house
        del self.flying[op.op]
        self.reported.add(op.op)
        fact = driver.machine.decide(op, outcome, house.clock.now(), started_at)
        told: Callable[[], None] | None = None
        if fact.kind == "completed" and house.hooks.wants_steps:
            key = driver.machine.key_of(op)
            told = partial(house.hooks.tell_step_recorded, key, op.name, fact.attempt)
        if self._has_turn:
            driver.record(fact, ShowProgress(driver.run.uid, carrying.current_of(driver), None), told=told)
            self._end_turn()
        else:
            driver.record(fact, told=told)

    def _end_turn(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self._driver.house.suspects.leave()
