"""How suspended code leaves memory, as near as Python can without running any of it.

Python has no way to drop a suspended coroutine without its `finally` blocks and `except BaseException`
clauses. So they run, but at a moment that we choose, when the loop is dead and nothing they say counts; not
later, where the garbage collector happens to find them and they would reach the worker's own loop.

Invariant: whatever the code does (raise, wait again, ignore us) ends here, within bounds, and says nothing on
stderr later: no "was destroyed but it is pending", no "was never awaited", no "ignored GeneratorExit".

Not here: making the loop dead, swapping it in, the context. Those are `DeterministicLoop.close`'s.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import Coroutine, Iterable, Iterator, Sized
from threading import get_ident
from typing import Any

ATTEMPTS = 100
"""How often a coroutine is asked that answers by waiting again."""

BREADTH = 10_000
"""How many objects one search for coroutines looks at, and how large a collection it opens."""

_stubborn: list[object] = []

_COLLECTIONS = ("list", "tuple", "dict", "set", "frozenset", "deque", "cell")
_SUSPENDED = ("coroutine", "generator", "async_generator", "async_generator_asend", "coroutine_wrapper")
_HOLDERS = frozenset((*_COLLECTIONS, *_SUSPENDED))


class MachineClosed(BaseException):
    """The run has left memory: thrown into what its body was waiting for. What it does now leaves no trace.

    Not an `Exception`, so that an honest `except Exception` in a workflow does not take it for a failure.
    """


def end(coroutine: Coroutine[Any, Any, Any]) -> KeyboardInterrupt | None:
    """Throw `MachineClosed` into a coroutine until it is over; return a Ctrl-C that came in meanwhile.

    Not `coroutine.close()`: where one that is stubborn is awaited by another, that ends the outer one and
    leaves the inner one to the garbage collector.
    """
    for _ in range(ATTEMPTS):
        try:
            coroutine.throw(MachineClosed("this run has left memory"))
        except KeyboardInterrupt as interrupt:
            return interrupt
        except BaseException:  # whatever the body says now, nobody is there to hear it
            return None
    _never_drop(coroutine)
    return None


def _never_drop(stubborn: object) -> None:
    """Keep what would not end until the process is gone, at the price of its memory.

    Python would run it once more where it is dropped, were it at exit: outside its loop, where what it waits for
    can fail at once, so that `while True: try: ... except BaseException: pass` would never come back.
    """
    try:
        from ctypes import py_object, pythonapi  # noqa: PLC0415 - slow to load, and hardly ever wanted
    except ImportError:
        _stubborn.append(stubborn)
    else:
        pythonapi.Py_IncRef(py_object(stubborn))


def close_unstarted(suspended: Iterable[object]) -> None:
    """Close coroutines that suspended ones hold and have not awaited; or Python complains about each.

    No code runs. Found are those in variables, in built-in collections and in half-evaluated expressions.
    """
    for coroutine in list(_unstarted(suspended)):
        coroutine.close()


def _unstarted(suspended: Iterable[object]) -> Iterator[Coroutine[Any, Any, Any]]:
    remaining = list(suspended)
    seen: set[int] = set()
    while remaining and len(seen) < BREADTH:
        found = remaining.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        if inspect.iscoroutine(found) and inspect.getcoroutinestate(found) == inspect.CORO_CREATED:
            yield found
        elif type(found).__name__ in _HOLDERS and not (isinstance(found, Sized) and len(found) > BREADTH):
            remaining.extend(gc.get_referents(found))


_collecting: set[int] = set()
"""The threads in which the garbage collector is at work."""


def watch_collector() -> None:
    """From now on know when the garbage collector is at work in this process."""
    if _on_collection not in gc.callbacks:
        gc.callbacks.append(_on_collection)


def _on_collection(phase: str, _info: dict[str, int]) -> None:
    if phase == "start":
        _collecting.add(get_ident())
    else:
        _collecting.discard(get_ident())


def found_by_collector() -> bool:
    """Whether it is the collector that finalises in this thread just now: at a moment of chance."""
    return get_ident() in _collecting


def untie(task: asyncio.Task[Any]) -> None:
    """A suspended task and the future that it waits for hold each other; apart, both are freed at once. A worker
    whose runs leave memory by the thousand must not wait for the garbage collector to find them."""
    held: tuple[Any, Any] = (task, getattr(task, "_fut_waiter", None))
    for future in held:
        callbacks: list[tuple[Any, Any]] = getattr(future, "_callbacks", None) or []
        for callback, _ in list(callbacks):
            future.remove_done_callback(callback)
