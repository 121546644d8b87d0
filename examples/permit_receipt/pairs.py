"""What is expected after what: two activities of one case, and the time between them."""

import difflib
import re
from collections.abc import Collection
from datetime import timedelta
from typing import NamedTuple

UNITS = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
}
LONGEST = timedelta(days=365_000)


class BadPair(Exception):
    """Nobody can expect that. The message says what to ask for instead."""


class Pair(NamedTuple):
    """After the first event `after` of a case, one `expect` of the same case within a time."""

    after: str
    expect: str
    within: timedelta


RECEIPT = "Confirmation of receipt"

DEFAULT_PAIRS = (
    Pair(RECEIPT, "T05 Print and send confirmation of receipt", timedelta(days=7)),
    Pair(RECEIPT, "T10 Determine necessity to stop indication", timedelta(days=14)),
)
"""What the municipalities' own log is asked for."""


def read_within(text: str) -> timedelta:
    """A length of time as `7d`, `36h` or `1d12h`. Raises BadPair."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([wdhms])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise BadPair(f"{text!r} is no length of time; write 7d, 36h, 90m, 30s, 2w or 1d12h")
    try:
        within = sum((float(number) * UNITS[unit] for number, unit in parts), timedelta())
    except OverflowError:
        within = timedelta.max
    if not timedelta() < within <= LONGEST:
        raise BadPair(f"{text!r} is out of range; take more than 0 and at most {LONGEST.days} days")
    return within


def check_known(pair: Pair, activities: Collection[str]) -> None:
    """Raises BadPair: no event of the file has that name, so all would be missed, or none."""
    for name in (pair.after, pair.expect):
        if name in activities:
            continue
        close = _close_to(name, activities)
        advice = (
            f"did you mean {' or '.join(repr(found) for found in close)}?"
            if close
            else "it has: " + ", ".join(repr(found) for found in sorted(activities))
        )
        raise BadPair(f"the file has no activity {name!r}; {advice}")


def _close_to(name: str, activities: Collection[str]) -> list[str]:
    """Those that are spelled alike, or of which `name` is a part: "T05"."""
    folded = {activity.casefold(): activity for activity in activities}
    wanted = name.casefold()
    parts = sorted(activity for key, activity in folded.items() if wanted and wanted in key)
    alike = [folded[key] for key in difflib.get_close_matches(wanted, folded, n=3)]
    return list(dict.fromkeys([*alike, *parts]))[:3]
