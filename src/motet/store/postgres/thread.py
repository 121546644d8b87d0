"""An event loop in a thread of its own, on which all connections of a store live.

Calls come from whatever loop its user has: that of the program, that of the heartbeat, none at all in the thread of a
blocking handler. And a program whose loop is held up by a step keeps no transaction open meanwhile, with its locks.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

JOIN_SECONDS = 5.0
ENDING_SECONDS = 1.0


class LoopThread:
    """Being a daemon, it never holds up an exit."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.SelectorEventLoop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    async def call(self, function: Callable[P, Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function there. A cancelled caller does not stop it: what it has begun it finishes."""
        here = asyncio.get_running_loop()
        future: asyncio.Future[R] = here.create_future()

        def begin() -> None:
            task = self.loop.create_task(function(*args, **kwargs))
            self._tasks.add(task)
            task.add_done_callback(tell)

        def tell(task: asyncio.Task[R]) -> None:
            self._tasks.discard(task)
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            try:
                here.call_soon_threadsafe(_settle, future, task, error)
            except RuntimeError:  # that loop has closed: nobody waits any more
                return

        self.loop.call_soon_threadsafe(begin)
        return await future

    def block(self, function: Callable[P, Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function there, and hold up this thread until it has."""
        future: concurrent.futures.Future[R] = asyncio.run_coroutine_threadsafe(function(*args, **kwargs), self.loop)
        return future.result()

    async def finished(self) -> None:
        """Called there: wait for the calls that were made before this one."""
        if others := {task for task in self._tasks if task is not asyncio.current_task()}:
            await asyncio.wait(others)

    def stop(self) -> None:
        """End the thread. What still runs there may come to its end, if that takes no time; then it is abandoned."""
        asyncio.run_coroutine_threadsafe(self._end(), self.loop)
        self._thread.join(JOIN_SECONDS)

    async def _end(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=ENDING_SECONDS)
        mine = asyncio.current_task()
        cancelled = {task for task in asyncio.all_tasks() if task is not mine}
        for task in cancelled:
            task.cancel()
        # The driver has something to say to the server of each command that was cancelled, in tasks of its own.
        while left := {task for task in asyncio.all_tasks() if task is not mine}:
            _, pending = await asyncio.wait(left, timeout=ENDING_SECONDS)
            for task in pending:
                task.cancel()
            if pending:
                await asyncio.wait(pending, timeout=ENDING_SECONDS)
                break
        await asyncio.sleep(0)  # what was closed last is closed
        self.loop.stop()


def _settle(future: asyncio.Future[Any], task: asyncio.Task[Any], error: BaseException | None) -> None:
    if future.done():
        return
    if isinstance(error, asyncio.CancelledError):
        future.cancel()
    elif error is not None:
        future.set_exception(error)
    else:
        future.set_result(task.result())
