"""What followed what: the map that nobody drew, for nobody owned the sequence.

It is drawn by an observer who comes when all is over, and works through what has happened from the beginning.
"""

from collections import Counter
from datetime import datetime
from typing import NamedTuple

from motet import App, Event
from motet.testing import virtual


class Followed(NamedTuple):
    """One activity and the next one of the same case.

    Args:
        after: None: it was the first of its case.
        then: None: nothing followed.
        times: how often.
    """

    after: str | None
    then: str | None
    times: int


async def succession(store: str, now: datetime) -> list[Followed]:
    """Each pair of neighbours, most frequent first.

    Args:
        store: the address of a store in which all has happened.
        now: when the clock stopped.
    """
    observer = App("observer")
    last: dict[str | None, str] = {}
    counts: Counter[tuple[str | None, str | None]] = Counter()

    @observer.on("*", start="beginning", concurrency=100)
    async def draw(event: Event) -> None:
        counts[last.get(event.key), event.type] += 1
        last[event.key] = event.type

    async with virtual(observer, start=now, store=store) as kit:
        await kit.idle()
    for activity in last.values():
        counts[activity, None] += 1
    return [Followed(after, then, times) for (after, then), times in counts.most_common()]
