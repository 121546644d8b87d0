"""Who has been running for too long. Attempts with the same timeout end in the order in which they began, so each
timeout needs one line and one wake-up, however many attempts there are.
"""

from __future__ import annotations

import asyncio
from typing import Protocol


class Timed(Protocol):
    """What can run out of time."""

    def time_out(self) -> None: ...


class TimeLimits(Protocol):
    """Who watches the time of attempts."""

    def add(self, timed: Timed, seconds: float) -> None:
        """Call `time_out` after so many seconds, unless it is discarded before."""
        ...

    def discard(self, timed: Timed, seconds: float) -> None:
        """It has ended; perhaps it was never added."""
        ...

    def close(self) -> None:
        """Watch nothing any more."""
        ...


class Overdue:
    """The time limits of production: by the event loop's own time. Lives on that loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lines: dict[float, dict[Timed, float]] = {}
        self._alarms: dict[float, asyncio.TimerHandle] = {}

    def add(self, timed: Timed, seconds: float) -> None:
        """Call `time_out` after so many seconds, unless it is discarded before."""
        line = self._lines.get(seconds)
        if line is None:
            line = self._lines[seconds] = {}
        line[timed] = self._loop.time() + seconds
        if seconds not in self._alarms:
            self._alarms[seconds] = self._loop.call_later(seconds, self._ring, seconds)

    def discard(self, timed: Timed, seconds: float) -> None:
        line = self._lines.get(seconds)
        if line is not None:
            line.pop(timed, None)

    def close(self) -> None:
        for alarm in self._alarms.values():
            alarm.cancel()
        self._alarms.clear()
        self._lines.clear()

    def _ring(self, seconds: float) -> None:
        del self._alarms[seconds]
        line = self._lines[seconds]
        now = self._loop.time()
        late: list[Timed] = []
        for timed, due in line.items():
            if due > now:
                self._alarms[seconds] = self._loop.call_at(due, self._ring, seconds)
                break
            late.append(timed)
        for timed in late:
            del line[timed]
        if not line:
            self._lines.pop(seconds, None)
        for timed in late:
            timed.time_out()
