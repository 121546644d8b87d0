"""Removing old events: how far the log may go, and which of its events somebody still needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from motet.model.clock import Micros
from motet.store.postgres.following import place_of
from motet.store.postgres.link import Link
from motet.store.postgres.pruning import open_ones
from motet.store.retention import EventLimits, EventsPage, Holder

EVENTS = """SELECT position, type, subject, recipient, correlationid FROM motet.event
    WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3"""
THESE = """SELECT position, type, subject, recipient, correlationid FROM motet.event
    WHERE position = ANY ($1::bigint[]) ORDER BY position"""
NEWEST = "SELECT coalesce(max(position), 0) FROM motet.event"
CURSORS = "SELECT kind, name, position, paused FROM motet.cursor WHERE position < $1 ORDER BY position, name"
# A replay that moves a reader back waits for us, or we find where it has moved it to.
FLOOR = "SELECT name, position FROM motet.cursor ORDER BY name"
HELD = "SELECT count(*) FROM motet.event WHERE position > $1 AND position <= $2"
DELIVERIES = """SELECT delivery.position FROM motet.cursor CROSS JOIN LATERAL (SELECT position FROM motet.delivery
    WHERE delivery.reaction = cursor.name AND delivery.position BETWEEN $1 AND $2 OFFSET 0) AS delivery"""
TRIGGERS = """SELECT expected.position FROM motet.cursor CROSS JOIN LATERAL (SELECT position FROM motet.expected
    WHERE expected.expectation = cursor.name AND expected.key = ANY ($1::text[]) AND expected.state = 'open'
    AND expected.state IN ('early', 'open', 'missed') OFFSET 0) AS expected WHERE cursor.kind = 'expectation'"""
# What open runs might wait for: types that some run has waited for, and those that workflows say they wait for. These
# stand anywhere in an entry of the catalog; where the source does not name one, its text does no harm: it is no type.
WAITED = "SELECT type FROM motet.waited_type"
DECLARED = """SELECT DISTINCT coalesce(item ->> 'name', item ->> 'text') FROM motet.catalog
    CROSS JOIN LATERAL jsonb_path_query(data::jsonb, '$.** ? (@.kind == "wait")') AS item"""
OLDEST = """SELECT id, since FROM (
    (SELECT id, since FROM motet.run WHERE owner IS NOT NULL ORDER BY since LIMIT 1)
    UNION ALL
    (SELECT id, since FROM motet.run WHERE owner IS NULL AND ended_at IS NULL ORDER BY since LIMIT 1)
) AS open ORDER BY since LIMIT 1"""
UNFIND = """DELETE FROM motet.event_key USING unnest($1::text[], $2::text[], $3::bigint[]) AS v (type, key, position)
    WHERE event_key.type = v.type AND event_key.key = v.key AND event_key.position = v.position"""
REMOVE = "DELETE FROM motet.event WHERE position = ANY ($1::bigint[])"


async def event_limits(link: Link, before: Micros) -> EventLimits:
    """The newest event always stays: from it positions and recorded time go on."""
    newest = int(await link.value(NEWEST))
    old = min(await place_of(link, before), newest - 1)
    until = min(old, await _floor(link, old))
    behind = await link.rows(CURSORS, old)
    holders = [Holder(kind, name, position, paused) for kind, name, position, paused in behind]
    awaited = await _awaited(link)
    awaited_until = until
    oldest = await link.row(OLDEST) if awaited else None
    if oldest is not None and oldest[1] < old:
        awaited_until = min(until, oldest[1])
        holders.append(Holder("run", oldest[0], oldest[1]))
    held = int(await link.value(HELD, until, old))
    return EventLimits(max(until, 0), held, awaited, max(awaited_until, 0), tuple(holders))


async def old_events(link: Link, limits: EventLimits, after: int, limit: int) -> EventsPage:
    rows = await link.rows(EVENTS, after, limits.until, limit)
    found = await _unneeded(link, limits, rows)
    last: int | None = rows[-1][0] if len(rows) == limit else None
    return EventsPage([row[0] for row in found], len(rows) - len(found), last)


async def prune_events(link: Link, limits: EventLimits, positions: Sequence[int]) -> int:
    """A replay may have moved a reader back meanwhile, and types be waited for that were not."""
    limits = limits._replace(until=min(limits.until, await _floor(link, limits.until, lock=True)))
    new = {row[0] for row in await link.rows(WAITED)} - limits.awaited
    rows = await link.rows(THESE, list(positions))
    gone = [row for row in await _unneeded(link, limits, rows) if row[1] not in new]
    keys = [(row[1], key, row[0]) for row in gone for key in {row[2], row[3]} if key is not None]
    if keys:
        await link.do(UNFIND, *zip(*keys, strict=True))
    return await link.do(REMOVE, [row[0] for row in gone]) if gone else 0


async def _floor(link: Link, otherwise: int, *, lock: bool = False) -> int:
    """What all readers have passed."""
    rows = await link.rows(f"{FLOOR} FOR KEY SHARE" if lock else FLOOR)
    return min((row[1] for row in rows), default=otherwise)


async def _awaited(link: Link) -> frozenset[str]:
    """A wait for one of several names them all: `order.paid|order.cancelled`."""
    declared = [row[0] for row in await link.rows(DECLARED) if row[0]]
    waited = [row[0] for row in await link.rows(WAITED)]
    return frozenset([*waited, *(one for name in declared for one in name.split("|"))])


async def _unneeded(link: Link, limits: EventLimits, rows: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    if not rows:
        return []
    busy = await open_ones(link, (row[4] for row in rows))
    subjects = sorted({row[2] for row in rows if row[2] is not None})
    needed = {row[0] for row in await link.rows(DELIVERIES, rows[0][0], rows[-1][0])}
    needed |= {row[0] for row in await link.rows(TRIGGERS, subjects)}
    return [
        row
        for row in rows
        if row[0] <= (limits.awaited_until if row[1] in limits.awaited else limits.until)
        and row[0] not in needed
        and row[4] not in busy
    ]
