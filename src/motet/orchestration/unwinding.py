"""Undoing what a run has done: in reverse order of the recorded positions, as durable operations of their own.

A step joins the stack when its result is recorded, or when nobody knows whether it happened; an error that it
declares means that there is nothing to undo, and so does any error of a transaction. A compensation that cannot be
called, or that fails for good, does not stop the others: it is stuck, and the run is blocked once the others have run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from motet.model.history import STEPS
from motet.orchestration.commands import RunAttempt, Stick
from motet.orchestration.operation import Operation

if TYPE_CHECKING:
    from motet.orchestration.definitions import Compensation
    from motet.orchestration.machine import Machine


class Unwinding:
    """The undo stack of one machine."""

    __slots__ = ("_machine", "active", "stack")

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.stack: list[Operation] = []
        self.active = 0

    def note(self, op: Operation) -> None:
        """An operation has settled: remember it if it may have to be undone."""
        if op.kind not in STEPS or self._machine.pivoted or self._compensation(op) is None:
            return
        if op.outcome == "completed" or (op.outcome == "failed" and op.kind == "step"):
            self.stack.append(op)

    def close(self) -> None:
        """Leave memory."""
        self.stack.clear()
        del self._machine

    def drop(self) -> None:
        """The point of no return: from here on only forward."""
        self.stack.clear()

    async def run(self, holds: Callable[[Operation], bool]) -> None:
        """Undo what `holds`, last first; returns when all of it is undone or skipped by a person."""
        machine = self._machine
        self.active += 1
        stuck: list[Operation] = []
        try:
            while True:
                if step := self._take(holds):
                    op = self._begin(step)
                    while op.in_flight:
                        await machine.something()
                    stuck.append(op)
                    continue
                stuck = [op for op in stuck if not op.settled]
                if not stuck:
                    return
                await machine.something()
        finally:
            self.active -= 1

    def command_for(self, op: Operation) -> RunAttempt | Stick:
        """Call the compensation, or say why only a person can help."""
        assert op.target is not None
        compensation = self._compensation(op.target)
        assert compensation is not None
        if op.target.outcome != "completed" and not compensation.admits_none:
            return Stick(
                op,
                f"nobody knows whether {op.target.op} happened, and {compensation.operation_name} does not take None "
                f"as its {compensation.arguments.names[0]!r}; find out by hand, then skip it with a note",
            )
        return RunAttempt(op)

    def call_of(self, op: Operation) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a compensation: the result (None: unknown), then the step's own. Raises WrongType."""
        step = op.target
        assert step is not None and step.callee is not None and step.arguments is not None
        result = None
        if step.result is not None:
            result = step.callee.result.decode(step.result, f"the result of {step.op}")
        compensation = self._compensation(step)
        assert compensation is not None
        if not compensation.takes_parameters:
            return (result,), {}
        args, kwargs = step.callee.arguments.decode(step.arguments)
        return (result, *args), kwargs

    def _take(self, holds: Callable[[Operation], bool]) -> Operation | None:
        """The last one; it leaves the stack only now, so that nothing is undone twice or forgotten."""
        for index in range(len(self.stack) - 1, -1, -1):
            if holds(self.stack[index]):
                return self.stack.pop(index)
        return None

    def _begin(self, step: Operation) -> Operation:
        compensation = self._compensation(step)
        assert compensation is not None
        op = self._machine.create(compensation.operation_name, "compensation")
        op.callee = compensation
        op.target = step
        self._machine.begin(op, self.command_for(op))
        return op

    def _compensation(self, op: Operation) -> Compensation | None:
        return getattr(op.callee, "compensated_by", None)
