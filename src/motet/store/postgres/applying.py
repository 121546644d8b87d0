"""What a batch does to the tables, inside a transaction that somebody else has begun.

Locks are taken in one order, whoever takes them: the worker's row, runs, cursors and their deliveries, ids of
publishers, and last the log's lock, under which all that belongs to the log is written. So events and waits come after
all other kinds.
"""

from __future__ import annotations

from typing import Any

from motet.errors import StoreRejected
from motet.model.clock import SECOND, Micros
from motet.model.event import EventRow
from motet.model.run import DEFAULT_QUEUE, Run
from motet.model.tombstone import Tombstone
from motet.store.batches import ByKind, last_kept, latest, rounds
from motet.store.mutations import (
    KINDS,
    AppendEvent,
    AppendOnce,
    BeginGeneration,
    DropDelivery,
    EndRun,
    EndWait,
    MoveCursor,
    RecordFact,
    RegisterWait,
    RetireId,
    StartRun,
    TakeInbox,
)
from motet.store.postgres import delivering, log, pruning, waiting
from motet.store.postgres.link import Link
from motet.store.postgres.statements import apply, refused
from motet.store.protocol import Receipt

IDS_KEPT_SECONDS = 7 * 24 * 3600
_IDS_FORGOTTEN_AT_ONCE = 100
_RUN = ", ".join(Run._fields)
_OF_THE_LOG = (AppendEvent, AppendOnce, RegisterWait, EndWait)

PUBLISH_ONCE = """INSERT INTO motet.published (id, at) SELECT id, at FROM unnest($1::text[], $2::bigint[]) AS v (id, at)
    ON CONFLICT DO NOTHING RETURNING id"""
FORGET_IDS = """DELETE FROM motet.published WHERE id IN
    (SELECT id FROM motet.published WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED)"""
THERE = "SELECT uid FROM motet.run WHERE uid = ANY ($1::text[])"
WINNERS = f"SELECT {_RUN} FROM motet.run WHERE id = ANY ($1::text[])"
HAVE_WAITS = "SELECT DISTINCT uid FROM motet.wait WHERE uid = ANY ($1::text[])"


async def apply_batch(link: Link, by_kind: ByKind, now: Micros, place: str) -> Receipt:
    """Raises StoreRejected: a record can never be stored; what the driver raises. The caller rolls back."""
    lost: dict[str, Run] = {}
    pruned: dict[str, Tombstone] = {}
    hopeful = await _without_places(link, by_kind)
    for kind in KINDS:
        rows = by_kind.get(kind)
        if kind is RecordFact and lost and rows is not None:
            rows = [row for row in rows if row.uid not in lost]  # a run that does not exist has no history
        if rows and kind not in _OF_THE_LOG:
            lost.update(await _apply(link, kind, rows, place))
        if rows and kind is StartRun and (pruned := await pruning.too_late(link, rows)):
            lost.update({uid: stone.as_run() for uid, stone in pruned.items()})
    await _write_log(link, by_kind, now)
    return Receipt(lost, await _disappointed(link, hopeful), pruned)


INHERIT = """UPDATE motet.run SET since = source.since FROM motet.run AS source
    WHERE run.uid = ANY ($1::text[]) AND source.uid = run.origin::json ->> 'uid'"""
"""What has come for a run before may be waited for by its rerun."""


async def _apply(link: Link, kind: type, rows: list[Any], place: str) -> dict[str, Run]:
    """Returns the starts that have lost. Raises StoreRejected."""
    if kind is MoveCursor:
        rows = latest(rows)
    rows = last_kept(kind, rows)
    if kind is StartRun:
        # All that start the same runs at the same time do so in the same order, so that none waits for another in turn.
        rows = sorted(rows, key=lambda run: run.id)
    changed = 0
    for group in rounds(kind, rows):
        count = await apply(link, kind, group)
        changed += count
        # A fact may have been written before in this very batch, so all of them are looked at; of updates a round.
        if count < len(group) and (reason := await refused(link, kind, group)) is not None:
            raise StoreRejected(f"store {place} refuses a record: {reason}")
    if kind is RetireId and changed < len(rows):
        await pruning.give_back(link, rows)
    if kind in (MoveCursor, DropDelivery):
        await delivering.forget_done(link, {row[0] for row in rows})
    if kind is StartRun and (reruns := [run.uid for run in rows if run.origin is not None]):
        await link.do(INHERIT, reruns)
    if kind is StartRun and changed < len(rows):
        return await losers(link, rows)
    return {}


async def _write_log(link: Link, by_kind: ByKind, now: Micros) -> None:
    """Events and waits: under the log's lock, of two that look for each other the second one finds the first."""
    events: list[EventRow] = [*by_kind.get(AppendEvent, ())]
    if once := by_kind.get(AppendOnce):
        events += await _unheard(link, once)
    begun, over = by_kind.get(RegisterWait, []), by_kind.get(EndWait, [])
    ended = [row.uid for kind in (EndRun, BeginGeneration) for row in by_kind.get(kind, ())]
    if ended:
        ended = [row[0] for row in await link.rows(HAVE_WAITS, ended)]
    if not (events or begun or over or ended):
        return
    if await log.lock(link):
        await log.move(link, now)
    if events:
        await log.append(link, events)
    if ended:
        await waiting.end_all(link, ended)
    if begun:
        await waiting.register(link, begun)
        if taken := by_kind.get(TakeInbox):
            await apply(link, TakeInbox, taken)  # also what these waits have just been told again
    if over:
        await waiting.end(link, over)


async def _unheard(link: Link, rows: list[AppendOnce]) -> list[EventRow]:
    """Those whose id nobody has published lately; from now on somebody has."""
    by_id: dict[str, AppendOnce] = {}
    for row in rows:
        by_id.setdefault(row.id, row)
    ids = sorted(by_id)
    fresh = {row[0] for row in await link.rows(PUBLISH_ONCE, ids, [by_id[id].recorded_at for id in ids])}
    before = max(row.recorded_at for row in rows) - IDS_KEPT_SECONDS * SECOND
    await link.do(FORGET_IDS, before, _IDS_FORGOTTEN_AT_ONCE)
    return [EventRow(*row) for id, row in by_id.items() if id in fresh]


async def _without_places(link: Link, by_kind: ByKind) -> dict[str, int]:
    """Starts in queues with a limit do not get the owner that they ask for: places are given by claims alone.

    Returns:
        by uid, the owner that starts in named queues ask for.
    """
    starts: list[Run] = by_kind.get(StartRun, [])
    hopeful = {run.uid: run.owner for run in starts if run.queue != DEFAULT_QUEUE and run.owner is not None}
    if hopeful:
        limited = {row[0] for row in await link.rows("SELECT name FROM motet.queue WHERE concurrency IS NOT NULL")}
        by_kind[StartRun] = [run.unowned() if run.uid in hopeful and run.queue in limited else run for run in starts]
    return hopeful


async def _disappointed(link: Link, hopeful: dict[str, int]) -> frozenset[str]:
    """Which of these starts have not got their owner; read back, for they may have been written before."""
    if not hopeful:
        return frozenset()
    found = await link.rows("SELECT uid, owner FROM motet.run WHERE uid = ANY ($1::text[])", [*hopeful])
    return frozenset(uid for uid, owner in found if owner != hopeful[uid])


async def retold(link: Link, starts: list[Run]) -> Receipt:
    """What a batch that was written before has told about its starts."""
    lost = await losers(link, starts)
    pruned = await pruning.too_late(link, starts) if starts else {}
    return Receipt(lost | {uid: stone.as_run() for uid, stone in pruned.items()}, pruned=pruned)


async def losers(link: Link, starts: list[Run]) -> dict[str, Run]:
    """For each start that lost against an earlier run with its id: that run. A start written again is no loser."""
    there = {row[0] for row in await link.rows(THERE, [start.uid for start in starts])}
    found = await link.rows(WINNERS, [start.id for start in starts])
    winners = {run.id: run for run in (Run(*row) for row in found)}
    return {s.uid: winners[s.id] for s in starts if s.uid not in there and s.id in winners}
