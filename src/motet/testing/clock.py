"""A clock that stands still until somebody moves it."""

from __future__ import annotations

from motet.model.clock import Micros, SystemClock, as_datetime
from motet.orchestration.timing import END_OF_TIME


class VirtualClock(SystemClock):
    """Its time of day is virtual. Its `monotonic` is real, for that one measures this process and not the story:
    how long the store takes to answer, whether the event loop lives.
    """

    def __init__(self, at: Micros) -> None:
        self._at = at

    def now(self) -> Micros:
        return self._at

    def move(self, to: Micros) -> None:
        """Set it forward. Raises ValueError, as `check`."""
        self.check(to)
        self._at = to

    def check(self, to: Micros) -> None:
        """Raises ValueError: this lies in the past, or beyond the year 9999."""
        if to < self._at:
            raise ValueError(f"virtual time does not run backwards: it is {as_datetime(self._at):%F %T} UTC already")
        if to > END_OF_TIME:
            raise ValueError("virtual time ends with the year 9999, as calendars do")
