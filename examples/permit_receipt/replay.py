"""The application: expectations that watch the log, and the events of a file, published in virtual time.

    clock to the next event ──> publish it, and what follows before anything can fall due ──┐
            ▲                                                                                │
            └──── on the way, what is due falls due: misses are announced at their times ────┘

The publishers do not know of the expectations, and the other way round: they meet in the log, as in production.
"""

import asyncio
import heapq
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from motet import App
from motet.testing import virtual

from .pairs import Pair
from .records import Record

MOST_AT_ONCE = 500

Progress = Callable[[int], None]
"""Called with how many events have been published since the last call."""


def permits(pairs: Sequence[Pair]) -> App:
    """An app that expects these."""
    app = App("permits")
    for number, pair in enumerate(pairs, 1):
        app.expect(pair.expect, after=pair.after, within=pair.within, name=f"pair-{number}")
    return app


async def replay(records: Sequence[Record], pairs: Sequence[Pair], store: str, progress: Progress) -> None:
    """Let all happen as it happened; the clock stops at the last event.

    Args:
        records: at least one, in order of time.
        store: the address of a new store.
    """
    app = permits(pairs)
    async with virtual(app, start=records[0].time, store=store) as kit:
        for stretch in stretches(records, pairs):
            await kit.advance_to(stretch[0].time)
            await asyncio.gather(*(publish(app, record) for record in stretch))
            progress(len(stretch))
        await kit.advance_to(records[-1].time)


async def publish(app: App, record: Record) -> None:
    """The activity is the event's name, and the case its key."""
    await app.publish(record.activity, record.details, key=record.case, time=record.time)


class Due(NamedTuple):
    """When something will be missed, unless it has happened by then."""

    at: datetime
    trigger: int
    case: str
    expect: str


def stretches(records: Sequence[Record], pairs: Sequence[Pair]) -> Iterator[list[Record]]:
    """The records in runs of such as nothing falls due in between.

    To move the clock means to wait until all is still, which is the dear part; inside a stretch that would change
    nothing. Whatever is missed is missed after all that happened before, and before all that happened later.
    """
    dues: list[Due] = []
    latest: dict[tuple[str, str], int] = {}
    stretch: list[Record] = []
    for number, record in enumerate(records):
        missed = False
        while dues and dues[0].at < record.time:
            due = heapq.heappop(dues)
            missed |= latest.get((due.case, due.expect), -1) <= due.trigger
        if stretch and (missed or len(stretch) == MOST_AT_ONCE):
            yield stretch
            stretch = []
        stretch.append(record)
        latest[record.case, record.activity] = number
        for pair in pairs:
            if record.activity == pair.after:
                heapq.heappush(dues, Due(record.time + pair.within, number, record.case, pair.expect))
    if stretch:
        yield stretch
