"""Runs that wait for events, and the events that come for them; each looks for the other under the log's lock.

Of a wait and an event that come at the same time, whichever takes the lock second finds the first one committed.
Without that, under READ COMMITTED, both may look before the other one counts, and the run waits for ever. (To look once
more after one's own commit would do as well, but that look can be lost with its process.)

Only events of types that some run has waited for are found by their key (`event_key`); the first wait for a type fills
in those that the log holds already.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from motet.model.event import LoggedEvent
from motet.model.forgotten import FORGOTTEN
from motet.store.mutations import AwaitedEvent, EndWait, PutInbox, RegisterWait
from motet.store.postgres.link import Link
from motet.store.postgres.statements import apply, columns

_EVENT = ", ".join(f"event.{name}" for name in LoggedEvent._fields)

RUNS = "SELECT uid, id, since FROM motet.run WHERE uid = ANY ($1::text[]) AND ended_at IS NULL"
REGISTER = """INSERT INTO motet.wait (uid, op, type, key, after)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])
    ON CONFLICT (uid, op, type) DO UPDATE SET key = excluded.key, after = excluded.after, taken = NULL"""
EARLIEST = f"""SELECT v.uid, v.op, earliest.* FROM
    unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[])
    AS v (uid, op, type, key, after, beyond, id) CROSS JOIN LATERAL (
        SELECT {_EVENT} FROM motet.event_key JOIN motet.event ON event.position = event_key.position
        WHERE event_key.type = v.type AND event_key.key = v.key AND event_key.position > v.after
        AND event_key.position <> ALL (v.beyond::bigint[]) AND (event.recipient IS NULL OR event.recipient = v.id)
        ORDER BY event_key.position LIMIT 1) AS earliest"""
# `OFFSET 0`: each key is looked up by itself. Of an empty table PostgreSQL would think that it might as well be read
# as a whole, and keep to that when it is not empty any more.
WAITING = """SELECT wait.uid, wait.op, v.position FROM
    unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) AS v (type, key, position, recipient)
    CROSS JOIN LATERAL (SELECT uid, op FROM motet.wait WHERE wait.type = v.type AND wait.key = v.key
        AND wait.taken IS NULL AND wait.after < v.position OFFSET 0) AS wait
    CROSS JOIN LATERAL (SELECT id FROM motet.run WHERE run.uid = wait.uid OFFSET 0) AS run
    WHERE coalesce(v.recipient, run.id) = run.id ORDER BY v.position"""
TAKEN = """UPDATE motet.wait SET taken = v.position FROM unnest($1::text[], $2::text[], $3::bigint[])
    AS v (uid, op, position) WHERE wait.uid = v.uid AND wait.op = v.op"""
KNOWN = "SELECT type FROM motet.waited_type WHERE type = ANY ($1::text[])"
KEYS = """INSERT INTO motet.event_key (type, key, position)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[]) ON CONFLICT DO NOTHING"""
SINCE = "SELECT type, since FROM motet.waited_type WHERE type = ANY ($1::text[])"
FILL_IN = f"""INSERT INTO motet.event_key (type, key, position)
    SELECT type, key, position FROM motet.event CROSS JOIN LATERAL (VALUES (subject), (recipient)) AS named (key)
    WHERE type = $1 AND key IS NOT NULL AND position > $2 AND position <= $3 AND data <> '{FORGOTTEN}'
    ON CONFLICT DO NOTHING"""
FILLED_IN = """INSERT INTO motet.waited_type (type, since) VALUES ($1, $2)
    ON CONFLICT (type) DO UPDATE SET since = excluded.since"""
END = """DELETE FROM motet.wait USING unnest($1::text[], $2::text[]) AS v (uid, op)
    WHERE wait.uid = v.uid AND wait.op = v.op"""
END_ALL = "DELETE FROM motet.wait WHERE uid = ANY ($1::text[])"

EVERYTHING = (1 << 63) - 1


async def register(link: Link, waits: Sequence[RegisterWait]) -> None:
    """The runs are told at once of what has come already."""
    runs = {row[0]: (row[1], row[2]) for row in await link.rows(RUNS, [wait.uid for wait in waits])}
    wanted: dict[tuple[str, str, str], tuple[Any, ...]] = {}
    since: dict[str, int] = {}
    for wait in waits:
        if wait.uid not in runs:
            continue
        id, start = runs[wait.uid]
        consumed: dict[str, list[int]] = json.loads(wait.consumed)
        for name, (up_to, *beyond) in consumed.items():
            array = "{" + ",".join(map(str, beyond)) + "}"
            wanted[wait.uid, wait.op, name] = (wait.uid, wait.op, name, wait.key, max(start, up_to), array, id)
            since[name] = min(start, since.get(name, start))
    if not wanted:
        return
    await _fill_in(link, since)
    given = [*zip(*wanted.values(), strict=True)]
    await link.do(REGISTER, *given[:5])
    first: dict[tuple[str, str], LoggedEvent] = {}
    for uid, op, *row in await link.rows(EARLIEST, *given):
        event = LoggedEvent(*row)
        if (uid, op) not in first or event.position < first[uid, op].position:
            first[uid, op] = event
    await _take(link, first)


async def tell(link: Link, events: Sequence[LoggedEvent]) -> None:
    """Those who wait for these events, which are of types that are waited for and have just entered the log."""
    found = [(event.type, key, event.position, event.recipient) for event in events for key in _keys(event)]
    if not found:
        return
    given = [*zip(*found, strict=True)]
    await link.do(KEYS, *given[:3])
    by_position = {event.position: event for event in events}
    first: dict[tuple[str, str], LoggedEvent] = {}
    for uid, op, position in await link.rows(WAITING, *given):
        first.setdefault((uid, op), by_position[position])
    await _take(link, first)


async def awaited(link: Link, types: Iterable[str]) -> set[str]:
    """Which of these types somebody waits for, or has waited for."""
    return {row[0] for row in await link.rows(KNOWN, sorted(set(types)))}


async def end(link: Link, waits: Sequence[EndWait]) -> None:
    await link.do(END, *columns(EndWait, waits))


async def end_all(link: Link, uids: Sequence[str]) -> None:
    """Of runs that have ended, or begun another generation."""
    await link.do(END_ALL, uids)


async def _take(link: Link, first: dict[tuple[str, str], LoggedEvent]) -> None:
    if not first:
        return
    taken = [(uid, op, event.position) for (uid, op), event in first.items()]
    await link.do(TAKEN, *zip(*taken, strict=True))
    await apply(link, PutInbox, [_message(uid, op, event) for (uid, op), event in first.items()])


def _message(uid: str, op: str, event: LoggedEvent) -> PutInbox:
    payload = msgspec.json.encode(AwaitedEvent(op, msgspec.Raw(msgspec.json.encode(event)))).decode()
    return PutInbox(uid, f"event:{op}:{event.position}", "event", payload, event.recorded_at)


async def _fill_in(link: Link, since: dict[str, int]) -> None:
    """Have the events of these types behind these positions found by their key."""
    known: dict[str, int] = {row[0]: row[1] for row in await link.rows(SINCE, [*since])}
    for name, start in sorted(since.items()):
        until = known.get(name, EVERYTHING)
        if until > start:
            await link.do(FILL_IN, name, start, until)
            await link.do(FILLED_IN, name, start)


def _keys(event: LoggedEvent) -> set[str]:
    return {key for key in (event.subject, event.recipient) if key is not None}
