"""The one clock. Nothing else in the package asks the operating system for the time or sleeps.

Times of records are whole microseconds since 1970 in UTC (`Micros`): exact in JSON and in every database, and
cheap to compare. Durations that users write are `timedelta` or float seconds.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

Micros = int
"""Microseconds since 1970-01-01 00:00 UTC."""

Duration = timedelta | float | int
"""A length of time as users write it: a timedelta, or seconds."""

SECOND: Micros = 1_000_000


class Clock(Protocol):
    """What a process asks for the time."""

    def now(self) -> Micros:
        """The time of day; may jump when the machine's clock is set."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards, from an arbitrary start."""
        ...


class SystemClock:
    """The operating system's clock."""

    def now(self) -> Micros:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()

    def pause(self, seconds: float) -> None:
        """Block the calling thread; for threads of our own only, never for an event loop."""
        time.sleep(seconds)


SYSTEM = SystemClock()


def micros(duration: Duration) -> Micros:
    """A duration in microseconds."""
    if isinstance(duration, timedelta):
        return round(duration.total_seconds() * SECOND)
    return round(duration * SECOND)


def seconds(duration: Duration) -> float:
    """A duration in seconds."""
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)


def as_datetime(at: Micros) -> datetime:
    """A recorded time as an aware datetime in UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)


def from_datetime(at: datetime) -> Micros:
    """An aware datetime as a recorded time.

    Raises:
        ValueError: the datetime has no time zone, so it names no moment.
    """
    if at.tzinfo is None:
        raise ValueError(f"{at!r} has no time zone; use datetime.now(UTC) or tzinfo=UTC")
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
