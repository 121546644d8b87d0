"""Calling a plain function of the user's from the event loop, in one of the steps' threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, TypeVar

from motet.model.run import DEFAULT_QUEUE
from motet.runtime.threads import DaemonThreads

T = TypeVar("T")


async def call_in_thread(threads: DaemonThreads, function: Callable[[], T], queue: str = DEFAULT_QUEUE) -> T:
    """Run a plain function in one of the steps' threads; whoever stops waiting abandons the thread."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = copy_context()

    def work() -> None:
        try:
            result = context.run(function)
        except BaseException as error:
            told: Callable[[], None] = _telling(future, None, error)
        else:
            told = _telling(future, result, None)
        try:
            loop.call_soon_threadsafe(told)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    ticket = threads.submit(work, queue)
    try:
        return await future
    finally:
        if not future.done() or future.cancelled():
            threads.abandon(ticket)


def _telling(future: asyncio.Future[T], result: Any, error: BaseException | None) -> Callable[[], None]:
    def tell() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        elif isinstance(error, StopIteration):  # which a future does not take
            future.set_exception(RuntimeError(f"StopIteration: {error}"))
        else:
            future.set_exception(error)

    return tell
