"""Lengths and points of time, as people read them: `38 ms`, `2 min 3 s`, `in 6 s`, `just now`."""

from __future__ import annotations

import math
from datetime import datetime

from motet.model.clock import SECOND, Micros, as_datetime, from_datetime

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR


def span(seconds: float) -> str:
    """How long something took, with about two figures that matter."""
    if seconds < 0.0005:
        return "<1 ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    return whole(seconds)


def whole(seconds: float) -> str:
    """A length of time in whole seconds, or coarser."""
    left = max(0, math.floor(seconds + 0.5))
    if left < _MINUTE:
        return f"{left} s"
    if left < _HOUR:
        return _two(left, _MINUTE, "min", 1, "s", fine_below=10)
    if left < _DAY:
        return _two(left, _HOUR, "h", _MINUTE, "min", fine_below=24)
    return _two(left, _DAY, "d", _HOUR, "h", fine_below=10)


def ago(at: str, now: Micros) -> str:
    """How long a recorded time lies back."""
    seconds = (now - micros_of(at)) / SECOND
    return "just now" if seconds < 1 else f"{whole(math.floor(seconds))} ago"


def due(at: str, now: Micros) -> str:
    """How long until a recorded time: `in 6 s`, or `now` if it has come."""
    seconds = (micros_of(at) - now) / SECOND
    return "now" if seconds <= 0 else f"in {whole(math.ceil(seconds))}"


def moment(at: str, now: Micros) -> str:
    """A point of time that is to come: how far off, and from an hour on also when."""
    if micros_of(at) - now < _HOUR * SECOND:
        return due(at, now)
    return f"{as_datetime(micros_of(at)):%Y-%m-%d %H:%M} UTC, {due(at, now)}"


def clock_time(now: Micros) -> str:
    """The time of day in UTC, to begin a line with."""
    return f"{as_datetime(now):%H:%M:%S}"


def micros_of(at: str) -> Micros:
    """A recorded time that was written as ISO 8601."""
    return from_datetime(datetime.fromisoformat(at))


def _two(left: int, large: int, name: str, small: int, small_name: str, fine_below: int) -> str:
    count, rest = divmod(left, large)
    rest //= small
    return f"{count} {name} {rest} {small_name}" if rest and count < fine_below else f"{count} {name}"
