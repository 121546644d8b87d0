"""The event loop of one workflow body: asyncio without selector, clock or thread, the same in every process.

Replay only works if a body that is given the same resolutions does the same things in the same order.
asyncio's own loop promises no such thing: sets of tasks iterate by address, timers follow a clock, I/O wakes
whom it likes.

Invariants:

- Callbacks run in the order in which they were scheduled, and only inside `drain`. In between nothing moves.
- Tasks and futures hash by creation number (`numbered.py`). The two are counted apart: versions of Python
  differ in the futures that their `wait_for` makes, less in the tasks.
- A task is held until it is done. asyncio holds it weakly, so the collector may end it at a chance moment.
- The body sees neither the contextvars nor the current task of whoever drains, nor the other way round.
- Each method that this Python's `AbstractEventLoop` has and that is not written here is refused:
  `NotInWorkflow`.

    alive --drain--> draining --> alive       after EndlessLoop too, with callbacks left over
      |                 |
      |                 +-- Ctrl-C --> dead   the task that it hit failed by it, which is no fact
      +-- close ---------------------> dead, and closed

In a dead loop nothing happens any more: futures can be made and awaited, but none is ever resolved, no
callback runs and no task starts. So a verb of a dead flow that is awaited should record nothing and await a
future of the loop. If it raised instead, `while True: try: ... except BaseException: pass` would spin for
ever in `close`.

Not here: what a timer or a resolution means, and when to drain. That is the machine's.
"""

from __future__ import annotations

import asyncio
import asyncio.futures
import asyncio.tasks
import math
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable
from contextvars import Context, copy_context
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar, TypeVarTuple
from weakref import WeakSet

from motet.errors import EndlessLoop, NotInWorkflow
from motet.orchestration.callbacks import Callback, Stoppable, TimedCallback, TimerSource
from motet.orchestration.ending import (
    MachineClosed,
    close_unstarted,
    end,
    found_by_collector,
    untie,
    watch_collector,
)
from motet.orchestration.numbered import (
    GATHER_MAKES_FUTURE,
    NumberedFuture,
    NumberedTask,
    code_of,
    has_number,
    number_gathering,
)
from motet.orchestration.surroundings import enter_task, leave_task, running_loop, step_in, step_out

__all__ = ["DeterministicLoop", "MachineClosed", "Stoppable", "TimerSource", "Unhandled"]

if TYPE_CHECKING:
    from asyncio import BaseEventLoop as EventLoop  # what is abstract is written at the end of this file
else:
    EventLoop = asyncio.AbstractEventLoop

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

CALLBACK_LIMIT = 100_000
"""Callbacks that one drain may run. A body that needs more is looping without waiting for anything."""

UNHANDLED_LIMIT = 100

_caller = sys._getframe  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
_ASYNCIO_TASKS = asyncio.tasks.__dict__
_AS_COMPLETED = (
    code_of(asyncio.tasks, "as_completed"),
    code_of(asyncio.tasks, "_AsCompletedIterator", "__init__"),
)
_WAIT = code_of(asyncio.tasks, "_wait")
_WRAP_FUTURE = code_of(asyncio.futures, "wrap_future")
_SLEEP: object = getattr(asyncio.futures, "_set_result_unless_cancelled", None)


class Unhandled(NamedTuple):
    """What nobody in the body looked at: the exception of a forgotten task, a callback that raised."""

    message: str
    exception: BaseException | None


class DeterministicLoop(EventLoop):
    """One run's event loop. `drain` moves it and `close` ends it; the rest is for asyncio and the body.

    Args:
        now: the run's time in seconds, the same in replay.
        timers: where timers are started.
    """

    machine: Any = None
    """Whose loop it is: for whoever has the running loop and asks which run that is."""

    def __init__(self, now: Callable[[], float], timers: TimerSource) -> None:
        self.dead = False
        """Nothing happens here any more, and what the body still does must leave no trace."""
        self.run = ""
        """The run's id, for log records."""
        self.muted = False
        """The body is being replayed: its log records have been written before."""
        self.unhandled: list[Unhandled] = []
        """What the body did not look at, in order; at most a hundred."""
        self._now = now
        self._timers: TimerSource | None = timers
        self._ready: deque[Callback] = deque()
        self._tasks: list[tuple[NumberedTask, Context]] = []
        self._sweep_at = 16
        self._task_count = 0
        self._future_count = 0
        self._generators: WeakSet[AsyncGenerator[Any, Any]] | None = None
        self._context = Context()
        self._inside = False
        self._closed = False

    # --- for the machine ------------------------------------------------------------------------------------

    def drain(self, limit: int = CALLBACK_LIMIT) -> int:
        """Run callbacks until none is left; return how many ran.

        Raises:
            EndlessLoop: more than `limit` callbacks wanted to run.
            MachineClosed: the loop is dead.
            RuntimeError: called from inside a workflow body.
        """
        if self.dead:
            raise MachineClosed("this run has left memory")
        outer = running_loop()
        if self._inside or isinstance(outer, DeterministicLoop):
            raise RuntimeError("a drain inside a drain: a workflow body cannot drive a workflow")
        surroundings = step_in(self, outer, self._first_iteration, self._left_behind)
        self._inside = True
        try:
            return self._run(self._ready, limit)
        except KeyboardInterrupt:
            self.dead = True
            raise
        finally:
            self._inside = False
            step_out(surroundings)

    def live_tasks(self) -> list[asyncio.Task[Any]]:
        """The tasks that are not done, in the order of their creation."""
        return [task for task, _ in self._tasks if not task.done()]

    def close(self) -> None:
        """Leave memory: end what is suspended; dead, in its own context, with this the running loop."""
        if self._inside:
            raise RuntimeError("a loop cannot be closed from inside its own drain")
        if self._closed:
            return
        self._closed = self.dead = True
        self._ready.clear()
        pending = [(task, context) for task, context in self._tasks if not task.done()]
        self._tasks.clear()
        if pending or self._generators:
            self._end_all(pending)
        # The machine owns this loop and these point back at it: without the cycle both are freed at once.
        last = self._now()
        self._now = lambda: last
        self._timers = self.machine = None

    def is_running(self) -> bool:
        return self._inside

    def is_closed(self) -> bool:
        return self._closed

    # --- for asyncio and the body ---------------------------------------------------------------------------

    def time(self) -> float:
        return self._now()

    def get_debug(self) -> bool:
        """Always false. asyncio asks whenever it makes a future, which is how we see those of `gather`."""
        maker = _caller(1)
        if maker.f_code is GATHER_MAKES_FUTURE:
            self._future_count += 1
            number_gathering(maker, self._future_count)
        return False

    def call_soon(self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> Any:
        scheduled = Callback(callback, args, self._new_context() if context is None else context)
        self._schedule(scheduled)
        return scheduled

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> Any:
        return self.call_at(self._now() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> Any:
        if math.isnan(when):
            raise ValueError("a timer needs a number of seconds, not NaN")
        scheduled = TimedCallback(when, callback, args, self._new_context() if context is None else context)
        if when <= self._now():
            self._schedule(scheduled)
        elif self._timers is not None and not self.dead and not math.isinf(when):  # for ever needs no timer

            def fire() -> None:
                scheduled.timer = None
                self._schedule(scheduled)

            kind = "sleep" if callback is _SLEEP else "timer"
            scheduled.timer = self._timers.start_timer(when, fire, kind)
        return scheduled

    def create_future(self) -> asyncio.Future[Any]:
        caller = _caller(1)
        if caller.f_code is _WAIT:
            self._check_waited(caller.f_locals.get("fs", ()))
        elif caller.f_code is _WRAP_FUTURE:
            raise NotInWorkflow("a future of a thread would wake the workflow by chance; wait for it in a step")
        future = NumberedFuture(loop=self)
        self._future_count = future.number = self._future_count + 1
        return future

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: object = None,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[T]:
        caller: FrameType | None = _caller(1)
        while caller is not None and caller.f_globals is _ASYNCIO_TASKS:
            if caller.f_code in _AS_COMPLETED:
                coro.close()
                raise NotInWorkflow(
                    "asyncio.as_completed starts bare coroutines in an order that differs between processes; "
                    "wrap each in asyncio.create_task first"
                )
            caller = caller.f_back
        context = self._new_context() if context is None else context
        self._task_count = number = self._task_count + 1
        title = f"Task-{number}" if name is None else str(name)  # asyncio itself counts all of the process
        task = NumberedTask(coro, loop=self, name=title, context=context, **options)
        task.number = number
        if self.dead:
            coro.close()
            return task
        self._tasks.append((task, context))
        if len(self._tasks) >= self._sweep_at:
            self._tasks = [entry for entry in self._tasks if not entry[0].done()]
            self._sweep_at = 16 + 2 * len(self._tasks)
        return task

    def get_task_factory(self) -> None:
        return None

    def get_exception_handler(self) -> None:
        return None

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what nobody looked at for the machine to show; not the task itself, or it would live on."""
        if not self.dead and len(self.unhandled) < UNHANDLED_LIMIT:
            self.unhandled.append(Unhandled(str(context.get("message")), context.get("exception")))

    # --- inside ---------------------------------------------------------------------------------------------

    def _run(self, ready: deque[Callback], limit: int) -> int:
        ran = 0
        while ready:
            callback = ready.popleft()
            function = callback.function
            if function is None:
                continue
            if ran >= limit:
                ready.appendleft(callback)
                raise EndlessLoop(
                    f"the workflow ran {limit:,} callbacks without waiting for anything durable: it loops "
                    "without end, perhaps around asyncio.sleep(0); let each round wait for a step or a timer"
                )
            ran += 1
            try:
                callback.context.run(function, *callback.args)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # as asyncio's own loop; and SystemExit, which is not to stop ours
                self._callback_raised(function, error)
        return ran

    def _callback_raised(self, function: Callable[..., object], error: BaseException) -> None:
        # A task has its SystemExit as its exception already, and raises it again for the loop to stop.
        of_task = isinstance(getattr(function, "__self__", None), asyncio.Task)
        if not (of_task and isinstance(error, SystemExit)):
            self.call_exception_handler({"message": f"{function!r} raised", "exception": error})

    def _new_context(self) -> Context:
        return copy_context() if self._inside else self._context.copy()

    def _schedule(self, callback: Callback) -> None:
        if self.dead:
            return
        if not self._inside and isinstance(running_loop(), DeterministicLoop):
            raise NotInWorkflow(
                "a workflow has woken another run through something in memory that both hold, such as a "
                "global asyncio.Event; publish an event and wait for it"
            )
        self._ready.append(callback)

    def _first_iteration(self, generator: AsyncGenerator[Any, Any]) -> None:
        if self._generators is None:
            self._generators = WeakSet()
            watch_collector()
        self._generators.add(generator)

    def _left_behind(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Finish a generator that nobody holds any more. Its code does not run if the run is not moving, or
        if it took the garbage collector to find out, which happens at a moment of chance."""
        if self._inside and not self.dead and not found_by_collector():
            self.create_task(generator.aclose())

    def _end_all(self, pending: list[tuple[NumberedTask, Context]]) -> None:
        interrupts: list[KeyboardInterrupt | None] = []
        generators = list(self._generators or ())
        surroundings = step_in(self, running_loop(), self._first_iteration, self._left_behind)
        self._inside = True
        try:
            close_unstarted([task.get_coro() for task, _ in pending])
            while pending:
                task, context = pending.pop()
                interrupts.append(context.run(self._end, task))
                untie(task)
            interrupts += [Context().run(end, one.aclose()) for one in generators]
        finally:
            generators.clear()
            self._generators = None
            self._inside = False
            step_out(surroundings)
        for interrupt in filter(None, interrupts):
            raise interrupt

    def _end(self, task: NumberedTask) -> KeyboardInterrupt | None:
        coroutine: Any = task.get_coro()
        enter_task(self, task)
        try:
            return end(coroutine)
        finally:
            leave_task(self, task)

    def _check_waited(self, futures: Iterable[asyncio.Future[Any]]) -> None:
        for future in futures:
            if future.get_loop() is not self:
                raise NotInWorkflow(f"{future!r} belongs to another event loop; wait for it in a step")
            if not has_number(future):
                raise NotInWorkflow(
                    f"{future!r} has another place in a set in each process; "
                    "make futures with asyncio.get_running_loop().create_future()"
                )


_CONTROLS = frozenset(
    ("run_forever", "run_until_complete", "stop", "set_debug", "set_task_factory", "set_exception_handler")
)


def _refused(name: str) -> Callable[..., NoReturn]:
    why = (
        "controls the event loop, which is Motet's to control; leave it out"
        if name in _CONTROLS
        else "is I/O, threads or signals, which replay would repeat; do this in a step"
    )

    def refused(_self: DeterministicLoop, *_args: object, **_options: object) -> NoReturn:
        raise NotInWorkflow(f"{name} {why}")

    refused.__name__ = name
    return refused


for _name in vars(asyncio.AbstractEventLoop):
    if not _name.startswith("__") and _name not in vars(DeterministicLoop):
        setattr(DeterministicLoop, _name, _refused(_name))
