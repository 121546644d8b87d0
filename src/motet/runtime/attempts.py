"""Running attempts: async steps as tasks on the worker's loop, plain functions in daemon threads.

An attempt ends in exactly one outcome, reported once. A timeout cancels an async step and waits a moment for it to
let go; a plain function cannot be stopped, so it is abandoned. No outcome is reported of what is dropped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any

from motet.config import Settings
from motet.model.clock import Clock, Micros
from motet.orchestration.attempt import Attempt, current_attempt
from motet.orchestration.definitions import Callee
from motet.orchestration.outcome import Outcome, Raised, Returned, TimedOut
from motet.runtime.threads import DaemonThreads, Ticket

LETTING_GO_SECONDS = 1.0

Report = Callable[[Outcome, Micros], None]


class Running:
    """One attempt on its way. `report(outcome, started_at)` is called once, on the event loop."""

    __slots__ = ("_pool", "_timer", "attempt", "call", "callee", "dropped", "report", "started_at", "task", "ticket",
                 "timed_out")  # fmt: skip

    def __init__(
        self, pool: Attempts, callee: Callee, call: tuple[tuple[Any, ...], dict[str, Any]], attempt: Attempt,
        report: Report,
    ) -> None:  # fmt: skip
        self._pool = pool
        self._timer: asyncio.TimerHandle | None = None
        self.callee = callee
        self.call = call
        self.attempt = attempt
        self.report = report
        self.started_at: Micros = 0
        self.task: asyncio.Task[Any] | None = None
        self.ticket: Ticket | None = None
        self.timed_out = False
        self.dropped = False

    def drop(self) -> None:
        """Nobody wants the outcome any more."""
        self.dropped = True
        if self.task is not None:
            self.task.cancel()
        elif self.ticket is not None:
            self._pool.threads.abandon(self.ticket)
            self._pool.ended(self)

    def start(self, loop: asyncio.AbstractEventLoop, timeout: float | None) -> None:
        args, kwargs = self.call
        context = copy_context()
        context.run(current_attempt.set, self.attempt)
        if self.callee.is_async:
            coroutine: Coroutine[Any, Any, Any] = self.callee.function(*args, **kwargs)
            self.task = loop.create_task(coroutine, context=context)
            self.task.add_done_callback(self._task_done)
        else:
            function = self.callee.function

            def work() -> None:
                if timeout is not None:  # a place in the pool was waited for; the step's own time begins now
                    _call(loop, self._arm, timeout)
                try:
                    outcome: Outcome = Returned(context.run(function, *args, **kwargs))
                except BaseException as error:
                    outcome = Raised(error)
                _call(loop, self.end, outcome)

            self.ticket = self._pool.threads.submit(work)
        if timeout is not None and self.task is not None:
            self._timer = loop.call_later(timeout, self._time_out, timeout)

    def _arm(self, timeout: float) -> None:
        if self.report is not _told:
            self._timer = asyncio.get_running_loop().call_later(timeout, self._time_out, timeout)

    def end(self, outcome: Outcome) -> None:
        """Report, unless that has been done."""
        if self.report is _told:
            return
        report, self.report = self.report, _told
        if self._timer is not None:
            self._timer.cancel()
        self._pool.ended(self)
        if not self.dropped:
            report(outcome, self.started_at)

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            seconds = self._pool.timeout_of(self.callee)
            if self.timed_out and seconds is not None:
                self.end(TimedOut(seconds))
            else:
                self.end(Raised(asyncio.CancelledError("the step cancelled itself")))
            return
        error = task.exception()
        if error is None:
            self.end(Returned(task.result()))
        else:
            self.end(Raised(error))

    def _time_out(self, seconds: float) -> None:
        self.timed_out = True
        if self.task is not None:
            self.task.cancel()
            self._timer = asyncio.get_running_loop().call_later(LETTING_GO_SECONDS, self.end, TimedOut(seconds))
        elif self.ticket is not None:
            self._pool.threads.abandon(self.ticket)
            self.end(TimedOut(seconds))


class Attempts:
    """All attempts of one worker."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.threads = DaemonThreads(settings.sync_threads)
        self.running: set[Running] = set()
        self._settings = settings
        self._clock = clock
        self._queue: deque[Running] = deque()
        self._loop = asyncio.get_running_loop()
        self._quiet = asyncio.Event()

    def start(
        self, callee: Callee, call: tuple[tuple[Any, ...], dict[str, Any]], attempt: Attempt, report: Report
    ) -> Running:
        """Run one attempt, now or when a place is free."""
        running = Running(self, callee, call, attempt, report)
        if len(self.running) < self._settings.attempts_limit:
            self._begin(running)
        else:
            self._queue.append(running)
        return running

    def timeout_of(self, callee: Callee) -> float | None:
        timeout = callee.timeout
        return self._settings.step_timeout_seconds if timeout is ... else timeout

    def ended(self, running: Running) -> None:
        self.running.discard(running)
        while self._queue and len(self.running) < self._settings.attempts_limit:
            waiting = self._queue.popleft()
            if not waiting.dropped:
                self._begin(waiting)
        if not self.running:
            self._quiet.set()

    async def quiet(self, seconds: float) -> bool:
        """Wait until nothing runs, at most so long."""
        self._queue.clear()
        if self.running:
            self._quiet.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._quiet.wait()
            except TimeoutError:
                return False
        return True

    async def close(self) -> None:
        """Drop what is left; async steps are cancelled and given a moment to clean up."""
        tasks = [running.task for running in self.running if running.task is not None]
        for running in list(self.running):
            running.drop()
        if tasks:
            await asyncio.wait(tasks, timeout=LETTING_GO_SECONDS)
        self.threads.close()

    def _begin(self, running: Running) -> None:
        self.running.add(running)
        running.started_at = self._clock.now()
        running.start(self._loop, self.timeout_of(running.callee))


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], argument: Any) -> None:
    try:
        loop.call_soon_threadsafe(function, argument)
    except RuntimeError:  # the loop has closed: the worker is gone
        return


def _told(_outcome: Outcome, _started_at: Micros) -> None:
    """The report of an attempt that has ended."""
