"""What else runs in the thread while a workflow's loop does: put aside, and put back exactly as it was.

A machine is advanced from inside a task of the worker's own loop. asyncio allows one running loop per thread
(and from Python 3.14 on one current task), and Python one pair of hooks for asynchronous generators.

Invariant: each `step_in` is followed by its `step_out`, in the same thread, with nothing awaited in between.
"""

from __future__ import annotations

import asyncio
import asyncio.tasks
import sys
from collections.abc import AsyncGenerator, Callable
from typing import Any

# asyncio has these for whoever swaps loops, underscores and all.
running_loop = asyncio._get_running_loop  # noqa: SLF001
_set_running_loop = asyncio._set_running_loop  # noqa: SLF001
enter_task = asyncio.tasks._enter_task  # noqa: SLF001
leave_task = asyncio.tasks._leave_task  # noqa: SLF001
# Since 3.12. Until 3.13 the current task belongs to a loop; from 3.14 on to the thread, where it must make
# room.
_swap_current_task: Any = getattr(asyncio.tasks, "_swap_current_task", None)

GeneratorHook = Callable[[AsyncGenerator[Any, Any]], None]
Surroundings = tuple[asyncio.AbstractEventLoop | None, asyncio.Task[Any] | None, Any]
"""The loop, its current task, the generator hooks."""


def step_in(
    loop: asyncio.AbstractEventLoop, outer: asyncio.AbstractEventLoop | None, first_iteration: GeneratorHook,
    left_behind: GeneratorHook,
) -> Surroundings:  # fmt: skip
    """Make `loop` the running one in place of `outer`, with no current task and with its own hooks."""
    task = None
    if _swap_current_task is not None and outer is not None and asyncio.current_task(outer) is not None:
        task = _swap_current_task(outer, None)
    hooks = sys.get_asyncgen_hooks()
    _set_running_loop(loop)
    sys.set_asyncgen_hooks(firstiter=first_iteration, finalizer=left_behind)
    return outer, task, hooks


def step_out(surroundings: Surroundings) -> None:
    """Put everything back."""
    outer, task, hooks = surroundings
    sys.set_asyncgen_hooks(*hooks)
    _set_running_loop(outer)
    if task is not None:
        _swap_current_task(outer, task)
