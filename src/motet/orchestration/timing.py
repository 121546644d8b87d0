"""Timers are operations of the run: the body's loop asks for them, facts resolve them, replay makes them again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from motet.model.clock import SECOND, Micros
from motet.orchestration.commands import StartTimer, StopTimer
from motet.orchestration.operation import Operation

if TYPE_CHECKING:
    from motet.orchestration.machine import Machine

END_OF_TIME: Micros = 253_402_300_799 * SECOND
"""The last second of the year 9999, behind which calendars end: who sleeps for longer sleeps until then."""


class TimerHandle:
    """What the loop gives to code that may cancel a timer."""

    __slots__ = ("_machine", "_op")

    def __init__(self, machine: Machine, op: Operation) -> None:
        self._machine = machine
        self._op = op

    def cancel(self) -> None:
        op = self._op
        if op.settled or self._machine.loop.dead:
            return
        op.settled = op.abandoned = True
        self._machine.emit(StopTimer(op))


def start(machine: Machine, due: float, fire: Callable[[], None], kind: str) -> TimerHandle:
    """A timer that calls `fire` when `due` (in seconds since 1970) is reported. Raises HistoryTooLong."""
    op = machine.create(kind, "timer")
    op.begun = True
    op.due = due_at(due)
    op.fire = fire
    machine.emit(StartTimer(op))
    return TimerHandle(machine, op)


def due_at(seconds: float) -> Micros:
    """A time in seconds since 1970, as it is recorded."""
    return round(min(seconds * SECOND, END_OF_TIME))


def stop_all(machine: Machine) -> None:
    """Forget those that nobody waits for: the body is over."""
    for op in machine.operations.values():
        if op.kind == "timer" and not op.settled:
            TimerHandle(machine, op).cancel()
