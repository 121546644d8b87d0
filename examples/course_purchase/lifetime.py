"""How the demo's processes end: on SIGTERM or Ctrl-C, and when the process that started them is gone.

A child that belongs to a demo gets a pipe as its standard input, which nobody writes to. When the parent
dies, however suddenly, the kernel closes the pipe, and the child ends. One that was just stopped is woken for
that (on Linux). So no process outlives the demo, even a demo that was killed.
"""

import asyncio
import ctypes
import signal
import sys

SET_PARENT_DEATH_SIGNAL = 1


class _ParentGone(asyncio.Protocol):
    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop.set()


async def stop_requested(*, with_parent: bool) -> asyncio.Event:
    """Return an event that is set when this process should end; `with_parent` watches standard input as
    well."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if with_parent:
        _wake_when_parent_dies()
        await loop.connect_read_pipe(lambda: _ParentGone(stop), sys.stdin)
    return stop


def _wake_when_parent_dies() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGCONT)
