"""What a batch does to the tables: kind by kind, inside a transaction that somebody else has begun."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from motet.errors import StoreRejected
from motet.model.clock import SECOND
from motet.model.event import EventRow
from motet.model.run import DEFAULT_QUEUE, Run
from motet.model.tombstone import Tombstone
from motet.store.batches import ByKind, latest, never_backwards, rounds
from motet.store.mutations import (
    KINDS,
    AppendEvent,
    AppendOnce,
    BeginGeneration,
    DropDelivery,
    EndRun,
    EndWait,
    MoveCursor,
    PutInbox,
    RecordFact,
    RegisterWait,
    RetireId,
    StartRun,
)  # fmt: skip
from motet.store.protocol import Receipt
from motet.store.sqlite import delivering, pruning, waiting
from motet.store.sqlite.connection import broken_text_marked
from motet.store.sqlite.following import head
from motet.store.sqlite.statements import apply, emptying, in_chunks, refused

IDS_KEPT_SECONDS = 7 * 24 * 3600
_IDS_FORGOTTEN_AT_ONCE = 100
INHERIT = """UPDATE run SET since = source.since FROM run AS source
    WHERE run.uid IN (SELECT value FROM json_each(?)) AND source.uid = json_extract(run.origin, '$.uid')"""
"""What has come for a run before may be waited for by its rerun."""

_COLUMNS = ", ".join(f"run.{name}" for name in Run._fields)


def apply_batch(connection: sqlite3.Connection, by_kind: ByKind, path: str) -> Receipt:
    """Raises StoreRejected: a record can never be stored; sqlite3.Error. The caller rolls back."""
    lost: dict[str, Run] = {}
    pruned: dict[str, Tombstone] = {}
    hopeful = _without_places(connection, by_kind)
    for kind in KINDS:
        rows = by_kind.get(kind)
        if kind is StartRun and rows is not None and (stones := pruned_before(connection, rows)):
            pruned = _of_others(stones)
            lost.update({uid: tombstone.as_run() for uid, tombstone in pruned.items()})
            rows = [row for row in rows if row.uid not in stones]
        if kind is RecordFact and lost and rows is not None:
            rows = [row for row in rows if row.uid not in lost]  # a run that does not exist has no history
        if rows:
            lost.update(_apply(connection, kind, rows, path))
    return Receipt(lost, _disappointed(connection, hopeful), pruned)


def _apply(connection: sqlite3.Connection, kind: type, rows: list[Any], path: str) -> dict[str, Run]:
    """Returns the starts that have lost. Raises StoreRejected."""
    if kind is RegisterWait or kind is EndWait:
        _apply_waits(connection, kind, rows)
        return {}
    if kind is AppendOnce:
        kind, rows = AppendEvent, _unheard(connection, rows)
    if kind is AppendEvent:
        _append(connection, rows)
        return {}
    if kind is MoveCursor:
        rows = latest(rows)
    first = (head(connection),) if kind is StartRun else ()
    changed = 0
    for group in rounds(kind, rows):
        count = apply(connection, kind, group, first)
        changed += count
        # A fact may have been written before in this very batch, so all of them are looked at; of updates a round.
        if count < len(group) and (reason := refused(connection, kind, group)) is not None:
            raise StoreRejected(f"store {path} refuses a record: {reason}")
    if kind is RetireId and changed < len(rows):
        pruning.give_back(connection, rows)
    if kind in (MoveCursor, DropDelivery):
        delivering.forget_done(connection, {row[0] for row in rows})
    if kind is EndRun and connection.execute("SELECT 1 FROM inbox LIMIT 1").fetchone() is not None:
        in_chunks(connection, emptying, [(row.uid,) for row in rows])
    if kind is EndRun or kind is BeginGeneration:
        waiting.end_all(connection, [row.uid for row in rows])
    return _started(connection, rows, changed) if kind is StartRun else {}


def _started(connection: sqlite3.Connection, rows: list[Run], changed: int) -> dict[str, Run]:
    """Those that have not."""
    if reruns := [run.uid for run in rows if run.origin is not None]:
        connection.execute(INHERIT, (json.dumps(reruns),))
    return losers(connection, rows) if changed < len(rows) else {}


def _append(connection: sqlite3.Connection, rows: list[EventRow]) -> None:
    """Events enter the log; runs that wait for them are told."""
    types = waiting.awaited(connection, rows)
    after = head(connection) if types else 0
    apply(connection, AppendEvent, _never_backwards(connection, rows))
    if types and (told := waiting.tell(connection, types, after)):
        apply(connection, PutInbox, told)


def _apply_waits(connection: sqlite3.Connection, kind: type, rows: list[Any]) -> None:
    if kind is EndWait:
        waiting.end(connection, rows)
        return
    told = [message for row in rows if (message := waiting.register(connection, row)) is not None]
    if told:
        apply(connection, PutInbox, told)


def _unheard(connection: sqlite3.Connection, rows: list[AppendOnce]) -> list[EventRow]:
    """Those whose id nobody has published lately; from now on somebody has."""
    fresh: list[EventRow] = []
    for row in rows:
        found = connection.execute(
            "INSERT INTO published (id, at) VALUES (?, ?) ON CONFLICT DO NOTHING", (row.id, row.recorded_at)
        )
        if found.rowcount:
            fresh.append(EventRow(*row))
    connection.execute(
        "DELETE FROM published WHERE id IN (SELECT id FROM published WHERE at < ? ORDER BY at LIMIT ?)",
        (max(row.recorded_at for row in rows) - IDS_KEPT_SECONDS * SECOND, _IDS_FORGOTTEN_AT_ONCE),
    )
    return fresh


def _without_places(connection: sqlite3.Connection, by_kind: dict[type, list[Any]]) -> dict[str, int]:
    """Starts in queues with a limit do not get the owner that they ask for: places are given by claims alone.

    Returns:
        by uid, the owner that starts in named queues ask for.
    """
    starts: list[Run] = by_kind.get(StartRun, [])
    hopeful = {run.uid: run.owner for run in starts if run.queue != DEFAULT_QUEUE and run.owner is not None}
    if hopeful:
        limited = {name for (name,) in connection.execute("SELECT name FROM queue WHERE concurrency IS NOT NULL")}
        by_kind[StartRun] = [run.unowned() if run.uid in hopeful and run.queue in limited else run for run in starts]
    return hopeful


def _disappointed(connection: sqlite3.Connection, hopeful: dict[str, int]) -> frozenset[str]:
    """Which of these starts have not got their owner; read back, for they may have been written before."""
    if not hopeful:
        return frozenset()
    query = "SELECT uid, owner FROM run WHERE uid IN (SELECT value FROM json_each(?))"
    found = connection.execute(query, (json.dumps([*hopeful]),))
    return frozenset(uid for uid, owner in found if owner != hopeful[uid])


def _never_backwards(connection: sqlite3.Connection, events: list[EventRow]) -> list[EventRow]:
    """Recorded time never runs backwards along the log, whatever the clocks do."""
    found = connection.execute("SELECT recorded_at FROM event ORDER BY position DESC LIMIT 1").fetchone()
    latest_at = found[0] if found is not None else 0
    return never_backwards(events, latest_at)


def pruned_before(connection: sqlite3.Connection, starts: Sequence[Run]) -> dict[str, Tombstone]:
    """Starts whose id belongs to a run that was pruned, by uid: what is left of that run."""
    stones = pruning.taken(connection, (start.id for start in starts))
    return {start.uid: stones[start.id] for start in starts if start.id in stones}


def _of_others(stones: dict[str, Tombstone]) -> dict[str, Tombstone]:
    """Without those that are that very run: it was written, and long ago."""
    return {uid: stone for uid, stone in stones.items() if stone.uid != uid}


def retold(connection: sqlite3.Connection, starts: Sequence[Run]) -> Receipt:
    """What a batch that was written before has told about its starts."""
    pruned = _of_others(pruned_before(connection, starts))
    lost = {uid: tombstone.as_run() for uid, tombstone in pruned.items()}
    return Receipt(lost | losers(connection, starts), pruned=pruned)


def losers(connection: sqlite3.Connection, starts: Sequence[Run]) -> dict[str, Run]:
    """For each start that lost against an earlier run with its id: that run. A start written again is no loser."""
    lost: dict[str, Run] = {}
    with broken_text_marked(connection):
        for index in range(0, len(starts), 256):
            chunk = starts[index : index + 256]
            marks = ", ".join("?" * len(chunk))
            there = {
                row[0]
                for row in connection.execute(f"SELECT uid FROM run WHERE uid IN ({marks})", [s.uid for s in chunk])
            }
            found = connection.execute(f"SELECT {_COLUMNS} FROM run WHERE id IN ({marks})", [s.id for s in chunk])
            winners = {run.id: run for run in (Run(*row) for row in found)}
            lost.update({s.uid: winners[s.id] for s in chunk if s.uid not in there and s.id in winners})
    return lost
