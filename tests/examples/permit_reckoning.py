"""What has to come out of a file of events, reckoned by plain Python from its rows; nothing of Motet or the example."""

import csv
import gzip
import random
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple


class Happened(NamedTuple):
    case: str
    activity: str
    time: datetime


class Reckoned(NamedTuple):
    """Args: counts by state; dues of those that were not answered in time and whose time is over."""

    counts: dict[str, int]
    missed_at_first: list[datetime]


def happened(path: Path) -> list[Happened]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        rows = [
            Happened(row["case"], row["activity"], datetime.fromisoformat(row["time"])) for row in csv.DictReader(file)
        ]
    return sorted(rows, key=lambda row: row.time)


def reckon(rows: list[Happened], after: str, expect: str, within: timedelta) -> Reckoned:
    """The clock stops at the last event."""
    counts = {"met": 0, "late": 0, "missed": 0, "open": 0}
    dues: list[datetime] = []
    by_case: dict[str, list[Happened]] = defaultdict(list)
    for row in rows:
        by_case[row.case].append(row)
    for of_case in by_case.values():
        first = next((at for at, row in enumerate(of_case) if row.activity == after), None)
        if first is None:
            continue
        due = of_case[first].time + within
        came = next((row.time for row in of_case[first + 1 :] if row.activity == expect), None)
        in_time, too_late = ("open", "missed") if came is None else ("met", "late")
        state = too_late if (came or rows[-1].time) > due else in_time
        counts[state] += 1
        if state in ("late", "missed"):
            dues.append(due)
    return Reckoned(counts, sorted(dues))


def neighbours(rows: list[Happened]) -> Counter[tuple[str | None, str | None]]:
    """What followed what in the same case; before the first and after the last stands None."""
    by_case: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_case[row.case].append(row.activity)
    return Counter(pair for names in by_case.values() for pair in zip([None, *names], [*names, None], strict=True))


def random_pair(rows: list[Happened], chance: random.Random, most: int = 10_000) -> tuple[str, str, timedelta]:
    """Half of the times are exactly as long as it took some case, where in time ends and too late begins.

    Args: most: how many triggers there may be at most.
    """
    counts = Counter(row.activity for row in rows)
    after = chance.choice(sorted(name for name in counts if counts[name] <= most))
    expect = chance.choice(sorted(counts))
    within = timedelta(seconds=round(10 ** chance.uniform(0, 7)))
    starts = {row.case: row.time for row in reversed(rows) if row.activity == after}
    took = [row.time - starts[row.case] for row in rows if row.activity == expect and row.case in starts]
    took = sorted(span for span in took if span > timedelta(0))
    if took and chance.random() < 0.5:
        within = chance.choice(took) - chance.choice([timedelta(0), timedelta(microseconds=1)])
    return after, expect, within
