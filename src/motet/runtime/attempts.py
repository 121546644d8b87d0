"""Running attempts: async steps as tasks on the worker's loop, plain functions in daemon threads.

An attempt ends in exactly one outcome, reported once. A timeout cancels an async step and waits a moment for it to
let go; a plain function cannot be stopped, so it is abandoned. No outcome is reported of what is dropped.

What finds no place waits in turn with other queues' attempts, and each queue always has at least one place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any

from motet.config import Settings
from motet.model.clock import Clock, Micros
from motet.orchestration.attempt import Attempt, current_attempt
from motet.orchestration.definitions import Callee
from motet.orchestration.outcome import Outcome, Raised, Returned, TimedOut
from motet.runtime.overdue import Overdue, TimeLimits
from motet.runtime.threads import DaemonThreads, Ticket
from motet.runtime.turns import Places, Turns

LETTING_GO_SECONDS = 1.0

Call = tuple[tuple[Any, ...], dict[str, Any]]
Report = Callable[[Outcome, Micros], None]
Act = Callable[..., Awaitable[Any]]


class Running:
    """One attempt on its way. `report(outcome, started_at)` is called once, on the event loop.

    While it is `committing`, the store alone decides what becomes of it: its time is not over.
    """

    __slots__ = (
        "act", "attempt", "call", "callee", "committing", "dropped", "ended", "pool", "queue", "report", "started_at",
        "task", "ticket", "timed_out", "timeout",
    )  # fmt: skip

    def __init__(
        self, pool: Attempts, callee: Callee, call: Call, attempt: Attempt, report: Report, timeout: float | None,
        queue: str, act: Act | None,
    ) -> None:  # fmt: skip
        self.pool = pool
        self.act = act
        self.callee = callee
        self.call = call
        self.attempt = attempt
        self.report = report
        self.timeout = timeout
        self.queue = queue
        self.started_at: Micros = 0
        self.task: asyncio.Task[None] | None = None
        self.ticket: Ticket | None = None
        self.timed_out = False
        self.committing = False
        self.dropped = False
        self.ended = False

    def drop(self) -> None:
        """Nobody wants the outcome any more."""
        self.dropped = True
        if self.task is not None:
            self.task.cancel()
        elif self.ticket is not None:
            self.pool.threads.abandon(self.ticket)
            self.end(Raised(asyncio.CancelledError()))

    @property
    def at_work(self) -> bool:
        """Whether it has begun; else it waits for its place."""
        return self.task is not None or (self.ticket is not None and self.ticket.begun)

    async def run(self) -> None:
        """The task of an async step, or of whatever calls a step in another way."""
        current_attempt.set(self.attempt)
        args, kwargs = self.call
        outcome: Outcome
        try:
            outcome = Returned(await (self.act or self.callee.function)(*args, **kwargs))
        except KeyboardInterrupt:
            raise  # a person stops the worker; that is no outcome of the step
        except asyncio.CancelledError as error:
            timed_out = self.timed_out and self.timeout is not None
            outcome = TimedOut(self.timeout or 0.0) if timed_out else Raised(error)
        except BaseException as error:
            outcome = Raised(error)
        self.end(outcome)

    def run_in_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand a plain function to a thread."""
        context = copy_context()
        context.run(current_attempt.set, self.attempt)
        function = self.callee.function
        args, kwargs = self.call

        def work() -> None:
            _call(loop, self.pool.arm, self)  # a place in the pool was waited for; the step's own time begins now
            try:
                outcome: Outcome = Returned(context.run(function, *args, **kwargs))
            except BaseException as error:
                outcome = Raised(error)
            _call(loop, self.end, outcome)

        self.ticket = self.pool.threads.submit(work, self.queue)

    def end(self, outcome: Outcome) -> None:
        """Report, unless that has been done."""
        if self.ended:
            return
        self.ended = True
        self.pool.left(self)
        if not self.dropped:
            self.report(outcome, self.started_at)

    def time_out(self) -> None:
        """The step's time is over."""
        if self.committing:
            return
        self.timed_out = True
        seconds = self.timeout or 0.0
        if self.task is not None:
            self.task.cancel()
            asyncio.get_running_loop().call_later(LETTING_GO_SECONDS, self.end, TimedOut(seconds))
        elif self.ticket is not None:
            self.pool.threads.abandon(self.ticket)
            self.end(TimedOut(seconds))


class Attempts:
    """All attempts of one worker."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.threads = DaemonThreads(settings.sync_threads)
        self.running: set[Running] = set()
        self._places = Places(settings.attempts_limit)
        self._default_timeout = settings.step_timeout_seconds
        self._clock = clock
        self._waiting: Turns[Running] = Turns()
        self._loop = asyncio.get_running_loop()
        self.limits: TimeLimits = Overdue(self._loop)  # the test kit has others

    def start(
        self, callee: Callee, call: Call, attempt: Attempt, report: Report, queue: str, act: Act | None = None
    ) -> Running:
        """Run one attempt, of a run of this queue, now or when a place is free.

        Args:
            act: what to await instead of calling the function; it arms the time limit itself.
        """
        timeout = callee.timeout
        seconds = timeout if timeout is None or isinstance(timeout, float) else self._default_timeout
        running = Running(self, callee, call, attempt, report, seconds, queue, act)
        if self._places.has(queue):
            self._begin(running)
        else:
            self._waiting.put(queue, running)
        return running

    def arm(self, running: Running) -> None:
        """Watch the attempt's time from now on."""
        if running.timeout is not None and not running.ended:
            self.limits.add(running, running.timeout)

    def disarm(self, running: Running) -> None:
        """Watch it no more."""
        if running.timeout is not None:
            self.limits.discard(running, running.timeout)

    def left(self, running: Running) -> None:
        """An attempt is over: forget it, and let the next one begin."""
        if running in self.running:
            self.running.discard(running)
            self._places.leave(running.queue)
        self.disarm(running)
        while self._waiting and (waiting := self._places.next(self._waiting, running.queue)) is not None:
            if not waiting.dropped:
                self._begin(waiting)

    def begin_no_more(self) -> None:
        """What waits for its place waits for another worker."""
        self._waiting.clear()
        self.threads.begin_no_more()

    async def close(self) -> None:
        """Drop what is left; async steps are cancelled and given a moment to clean up."""
        tasks = [running.task for running in self.running if running.task is not None]
        for running in list(self.running):
            running.drop()
        if tasks:
            await asyncio.wait(tasks, timeout=LETTING_GO_SECONDS)
        self.limits.close()
        self.threads.close()

    def _begin(self, running: Running) -> None:
        self.running.add(running)
        self._places.take(running.queue)
        running.started_at = self._clock.now()
        if running.act is not None:
            running.task = asyncio.Task(running.run(), loop=self._loop, name=running.attempt.step)
        elif running.callee.is_async:
            running.task = asyncio.Task(running.run(), loop=self._loop, name=running.attempt.step)
            if running.timeout is not None:
                self.limits.add(running, running.timeout)
        else:
            running.run_in_thread(self._loop)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[Any], None], argument: Any) -> None:
    try:
        loop.call_soon_threadsafe(function, argument)
    except RuntimeError:  # the loop has closed: the worker is gone
        return
