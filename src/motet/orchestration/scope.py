"""`async with flow.scope()`: a part of a workflow that is undone when it fails, before the error goes on."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Self

from motet.orchestration.commands import RestartSignal

if TYPE_CHECKING:
    from motet.orchestration.machine import Machine
    from motet.orchestration.operation import Operation

current_scope: ContextVar[Scope | None] = ContextVar("motet_scope", default=None)


class Scope:
    """An asynchronous context manager; what steps inside it did is undone when an error leaves it.

    When it ends well, what was done stays on the run's undo stack.
    """

    __slots__ = ("_machine", "outer")

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.outer: Scope | None = None

    def holds(self, op: Operation) -> bool:
        """Whether the operation was created in this scope or one inside it."""
        scope = op.scope
        while scope is not None:
            if scope is self:
                return True
            scope = scope.outer
        return False

    async def __aenter__(self) -> Self:
        self.outer = current_scope.get()
        current_scope.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        current_scope.set(self.outer)
        machine = self._machine
        # A restart or the end of a generator is no failure of what was done here.
        if kind is None or issubclass(kind, RestartSignal | GeneratorExit) or machine.leaving(kind):
            return False
        # A cancel that comes now waits: half an undo would be worse than a late one.
        undoing = machine.undo(self)
        cancelled: asyncio.CancelledError | None = None
        while not undoing.done():
            try:
                await asyncio.shield(undoing)
            except asyncio.CancelledError as late:
                if machine.leaving(type(late)):
                    raise
                cancelled = late
        if cancelled is not None:
            raise cancelled
        return False
