"""Cursors: who reads the log how far, each change one transaction.

Whoever changes a cursor's epoch locks its row FOR UPDATE first: a batch that has written under the old epoch has locked
it FOR KEY SHARE until it counts.
"""

from __future__ import annotations

from collections.abc import Sequence

from motet.errors import LeaseLost
from motet.model.clock import Micros
from motet.store.postgres.claiming import ALIVE
from motet.store.postgres.link import Link
from motet.store.protocol import CursorRow, Subscription

_CURSOR = ", ".join(CursorRow._fields)

EXISTS = "SELECT 1 FROM motet.cursor WHERE name = $1"
CREATE = """INSERT INTO motet.cursor (name, kind, position, definition, created_at, moved_at)
    VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT DO NOTHING"""
DEFINE = "UPDATE motet.cursor SET definition = $2 WHERE name = $1 AND definition <> $2"
RENAME = "UPDATE motet.cursor SET name = $1, epoch = epoch + 1, owner = NULL WHERE name = $2"
RENAME_DELIVERIES = "UPDATE motet.delivery SET reaction = $1 WHERE reaction = $2"
RENAME_EXPECTED = "UPDATE motet.expected SET expectation = $1 WHERE expectation = $2"
LOCK = "SELECT name FROM motet.cursor WHERE name = ANY ($1::text[]) ORDER BY name FOR UPDATE"
LOCK_FREE = """SELECT name FROM motet.cursor WHERE name = ANY ($1::text[]) AND owner IS NULL ORDER BY name
    FOR UPDATE SKIP LOCKED"""
CLAIM = f"""UPDATE motet.cursor SET owner = $1, epoch = epoch + 1 WHERE name = ANY ($2::text[]) AND owner IS NULL
    RETURNING {_CURSOR}"""
CURSORS = f"SELECT {_CURSOR} FROM motet.cursor ORDER BY name"
HEAD = "SELECT coalesce(max(position), 0) FROM motet.event"
RECORDED = "SELECT recorded_at FROM motet.event WHERE position <= $1 ORDER BY position DESC LIMIT 1"


async def subscribe(link: Link, subscriptions: Sequence[Subscription], now: Micros) -> None:
    for subscription in sorted(subscriptions, key=lambda subscription: subscription.name):
        name = subscription.name
        if await link.value(EXISTS, name) is None:
            former = await _former(link, subscription)
            if former is None:
                position = await place_of(link, subscription.start)
                await link.do(CREATE, name, subscription.kind, position, subscription.definition, now)
            else:
                await _rename(link, former, name)
        await link.do(DEFINE, name, subscription.definition)


async def _former(link: Link, subscription: Subscription) -> str | None:
    for alias in subscription.aliases:
        if await link.value(EXISTS, alias) is not None:
            return alias
    return None


async def _rename(link: Link, former: str, name: str) -> None:
    """With everything that it has left behind. Whoever owns it under its former name does not any more."""
    await link.rows(LOCK, [former])
    for change in (RENAME, RENAME_DELIVERIES, RENAME_EXPECTED):
        await link.do(change, name, former)


async def place_of(link: Link, start: str | Micros) -> int:
    """The position behind which to read."""
    if start == "beginning":
        return 0
    last = await head(link)
    if start == "now":
        return last
    assert isinstance(start, int)
    # Recorded time never runs backwards along the log, so it can be halved again and again.
    low, high = 0, last
    while low < high:
        middle = (low + high + 1) // 2
        recorded = await link.value(RECORDED, middle)
        if recorded is not None and recorded >= start:
            high = middle - 1
        else:
            low = middle
    return low


async def claim(link: Link, worker: int, names: Sequence[str]) -> list[CursorRow]:
    """Raises LeaseLost: the worker is buried and may own nothing."""
    if await link.value(ALIVE, worker) is None:
        raise LeaseLost(f"worker {worker} has been declared dead")
    free = [row[0] for row in await link.rows(LOCK_FREE, sorted(names))]
    return [CursorRow(*row) for row in await link.rows(CLAIM, worker, free)] if free else []


async def cursors(link: Link) -> list[CursorRow]:
    return [CursorRow(*row) for row in await link.rows(CURSORS)]


async def head(link: Link) -> int:
    """The position of the log's last event."""
    return int(await link.value(HEAD))
