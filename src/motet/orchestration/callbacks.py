"""What a workflow's loop has scheduled, for the next drain or for a timer.

asyncio's own `Handle` knows debugging, representations and a loop; one is made for every step of every task,
so here it is only what a drain needs, with the methods that asyncio and users call.

Not here: timers themselves. They are operations of the run, so the machine starts and resolves them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from typing import Any, Protocol


class Stoppable(Protocol):
    """A timer that was started."""

    def cancel(self) -> object: ...


class TimerSource(Protocol):
    """Where a loop gets its timers: from the machine, for which they are operations of the run."""

    def start_timer(self, due: float, fire: Callable[[], None], kind: str) -> Stoppable:
        """Start a timer. Once it is resolved, call `fire` and drain.

        Args:
            due: when, in the seconds of the loop's `now`.
            fire: schedules the callback; does nothing if it was cancelled meanwhile.
            kind: "sleep" for `asyncio.sleep`, "timer" for timeouts and all else.
        """
        ...


class Callback:
    """A scheduled call: what `call_soon` returns, in place of `asyncio.Handle`."""

    __slots__ = ("args", "context", "function")

    def __init__(self, function: Callable[..., object] | None, args: tuple[Any, ...], context: Context) -> None:
        self.function = function
        self.args = args
        self.context = context

    def cancel(self) -> None:
        self.function = None
        self.args = ()

    def cancelled(self) -> bool:
        return self.function is None

    def get_context(self) -> Context:
        return self.context


class TimedCallback(Callback):
    """A call for later: what `call_later` and `call_at` return, in place of `asyncio.TimerHandle`."""

    __slots__ = ("due", "timer")

    def __init__(self, due: float, function: Callable[..., object], args: tuple[Any, ...], context: Context) -> None:
        super().__init__(function, args, context)
        self.due = due
        self.timer: Stoppable | None = None

    def cancel(self) -> None:
        timer, self.timer = self.timer, None
        super().cancel()
        if timer is not None:
            timer.cancel()

    def when(self) -> float:
        return self.due
