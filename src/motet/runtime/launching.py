"""One run's attempts: when each begins, and how its outcome comes back to the driver.

An operation whose attempt has ended and whose fact is on its way to the disk is *reported*: nothing else may settle
it meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from motet.errors import LeaseLost, WrongType
from motet.model.clock import Micros
from motet.model.history import Fact
from motet.orchestration.attempt import Attempt
from motet.orchestration.operation import Operation
from motet.orchestration.outcome import Outcome, Raised
from motet.runtime import carrying
from motet.runtime.attempts import Call, Running
from motet.runtime.suspects import TURN_SECONDS, Turn, is_suspect
from motet.runtime.transacting import InTransaction
from motet.store.mutations import ShowProgress
from motet.store.protocol import Receipt

if TYPE_CHECKING:
    from motet.runtime.driver import Driver

log = logging.getLogger("motet.worker")


class Launching:
    """Belongs to one driver."""

    __slots__ = ("_driver", "accused", "flying", "postponed", "reported", "suspect", "turns")

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.turns: dict[str, Turn] = {}  # of operations that wait for theirs among suspects, or have it
        self.accused: str | None = None  # the operation whose turn it is
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
        self._end_turn(op)

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
        for turn in self.turns.values():
            self._leave(turn)
        self.turns.clear()
        del self._driver  # without this circle the run is freed at once, and not by the garbage collector

    def _start(self, op: Operation) -> None:
        driver = self._driver
        driver.timers.pop(op.op, None)
        if not self.suspect:
            self._launch(op)
            return
        line = driver.house.suspects
        turn = self.turns[op.op] = Turn(line, partial(self._begin_turn, op), partial(self._end_turn, op))
        line.ask(turn)

    def _begin_turn(self, op: Operation) -> bool:
        """Record that it starts, then start it: if the process dies now, it is known who did it."""
        driver = self._driver
        if driver.leaving:
            return False
        turn = self.turns[op.op]
        self.accused = op.op

        def durable(_: Receipt) -> None:
            driver.unwritten -= 1
            if self.turns.get(op.op) is turn:  # else nobody waits for it any more
                driver.house.attempts.limits.add(turn, TURN_SECONDS)
                self._launch(op)

        driver.submit([ShowProgress(driver.run.uid, carrying.current_of(driver), None)], durable)
        return True

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
        if op.callee.transactional:
            self._launch_in_transaction(op, call, attempt)
        else:
            self.flying[op.op] = house.attempts.start(op.callee, call, attempt, partial(self._ended, op), run.queue)

    def _launch_in_transaction(self, op: Operation, call: Call, attempt: Attempt) -> None:
        driver = self._driver
        assert op.callee is not None
        within = InTransaction(driver, op)
        running = driver.house.attempts.start(
            op.callee, call, attempt, partial(self._ended_in_transaction, op, within), driver.run.queue, within.call
        )
        within.running = self.flying[op.op] = running

    def _ended_in_transaction(self, op: Operation, within: InTransaction, outcome: Outcome, started_at: Micros) -> None:
        """Its record is written already, unless it has failed: then nothing of it has happened."""
        driver = self._driver
        if isinstance(outcome, Raised) and isinstance(outcome.error, LeaseLost):
            log.warning("%s", outcome.error)
            driver.drop()
            driver.house.left(driver, None)
            driver.house.committer.submit([])  # which finds out whether all is lost
        elif within.committed is None:
            self._ended(op, outcome, started_at)
        else:
            del self.flying[op.op]
            if (told := self._telling(op, within.committed)) is not None:
                told()
            if within.acquittal is not None:
                self.acquit(op, within.acquittal)
            within.apply()
            self._end_turn(op)

    def _ended(self, op: Operation, outcome: Outcome, started_at: Micros) -> None:
        driver = self._driver
        house = driver.house
        del self.flying[op.op]
        self.reported.add(op.op)
        fact = driver.machine.decide(op, outcome, house.clock.now(), started_at)
        told = self._telling(op, fact)
        if self.suspect:
            acquittal = self.acquittal(op)
            self.acquit(op, acquittal)
            driver.record(fact, acquittal, told=told)
            self._end_turn(op)
        else:
            driver.record(fact, told=told)

    def _telling(self, op: Operation, fact: Fact) -> Callable[[], None] | None:
        """How those hear of it who want to."""
        driver = self._driver
        hooks = driver.house.hooks
        if fact.kind != "completed" or not hooks.wants_steps:
            return None
        return partial(hooks.tell_step_recorded, driver.machine.key_of(op), op.name, fact.attempt)

    def acquittal(self, op: Operation) -> ShowProgress:
        """To be written with the end of a suspect's attempt: it is accused no more. The run is acquitted with the last
        one that is at work or waits for its turn: what begins later has not been there when its process died."""
        accused = self.accused
        self.accused = None if accused == op.op else accused
        current = carrying.current_of(self._driver)
        self.accused = accused
        alone = all(other == op.op for other in (*self.turns, *self.flying))
        return ShowProgress(self._driver.run.uid, current, None, acquitted=alone)

    def acquit(self, op: Operation, acquittal: ShowProgress) -> None:
        """This is about to be written, or is: a run that is acquitted has its crashes counted from 0, and goes free."""
        if self.accused == op.op:
            self.accused = None
        if acquittal.acquitted:
            self.suspect = False
            self._driver.run = self._driver.run._replace(crashes=0)

    def _end_turn(self, op: Operation) -> None:
        """Whether it has a turn or waits for one: what accuses it is taken back, and only then comes the next."""
        turn = self.turns.pop(op.op, None)
        if turn is None:
            return
        if self.accused == op.op:
            self.accused = None
            if not self._driver.leaving:  # else its row has been written for the last time
                self._driver.show()
        self._leave(turn)

    def _leave(self, turn: Turn) -> None:
        house = self._driver.house
        house.attempts.limits.discard(turn, TURN_SECONDS)
        house.suspects.leave(turn)
