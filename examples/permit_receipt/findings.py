"""What became of the expectations, as `motet expectations` tells it of the store: nothing here is counted again."""

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from .pairs import Pair

STATES = ("met", "late", "missed", "open")


class Unreadable(Exception):
    """`motet expectations` did not answer. The message is what it said."""


class Slow(NamedTuple):
    """A case in which the expected event came late, or not at all.

    Args:
        took: how long it took; if it never came, how long it has been waited for.
        came: whether it has come.
    """

    case: str
    since: datetime
    took: timedelta
    came: bool


class Finding(NamedTuple):
    """What became of one pair.

    Args:
        counts: how many cases are met, late, missed (and have not come since) or open.
        slow: those that are late or missed, slowest first.
    """

    pair: Pair
    counts: dict[str, int]
    slow: list[Slow]


def findings(store: str, pairs: Sequence[Pair], now: datetime) -> list[Finding]:
    """Of each pair, in their order.

    Args:
        now: when the clock stopped.

    Raises:
        Unreadable.
    """
    told = motet("expectations", "--state", "late", "--state", "missed", "--limit", "1000000", "--store", store)
    by_name: dict[str, dict[str, Any]] = {one["name"]: one for one in told["expectations"]}
    found: list[Finding] = []
    for number, pair in enumerate(pairs, 1):
        name = f"permits/pair-{number}"
        slow = [_slow(row, now) for row in told["listed"] if row["expectation"] == name]
        slow.sort(key=lambda case: (-case.took, case.case))
        found.append(Finding(pair, {state: by_name[name][state] for state in STATES}, slow))
    return found


def motet(*arguments: str) -> Any:
    """What the command prints as JSON. Raises Unreadable."""
    done = subprocess.run(  # noqa: S603 - our own command; what users name are arguments of it, and no shell sees them
        [sys.executable, "-m", "motet", *arguments, "--json"], capture_output=True, check=False
    )
    if done.returncode != 0:
        raise Unreadable(f"motet {arguments[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return json.loads(done.stdout)


def _slow(row: dict[str, Any], now: datetime) -> Slow:
    since = datetime.fromisoformat(row["armed_at"])
    came_at = row["came_at"]
    until = now if came_at is None else datetime.fromisoformat(came_at)
    return Slow(row["key"], since, until - since, came_at is not None)
