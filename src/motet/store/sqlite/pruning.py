"""Removing what is over: looked for page by page without a lock, removed in short transactions that look again.

No index serves this alone, for each would cost every run and event that is written: runs are walked in the order of
their uids, which is that of their starts, and events along the log.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from itertools import pairwise

from motet.model.clock import Micros
from motet.model.identity import first_uid
from motet.model.tombstone import Tombstone
from motet.store.retention import EndedRun, ExpectedKey, ExpectedPage, PrunedRuns, RunsPage

RUNS = """SELECT uid, id, workflow, version, state, epoch, conversation, created_at, ended_at, generation FROM run
    WHERE uid > ? AND uid < ? ORDER BY uid LIMIT ?"""
OPEN = "SELECT 1 FROM run WHERE conversation = ? AND ended_at IS NULL LIMIT 1"
INPUTS = """SELECT uid, CASE WHEN generation > 1 THEN first_input ELSE input END FROM run
    WHERE uid IN (SELECT value FROM json_each(?))"""
RUN = "SELECT id, conversation, ended_at FROM run WHERE uid = ?"
FACTS = """DELETE FROM history WHERE uid = ?1 AND (generation, position) IN
    (SELECT generation, position FROM history WHERE uid = ?1 LIMIT ?2)"""
EARLIER = """DELETE FROM history WHERE uid = ?1 AND (generation, position) IN
    (SELECT generation, position FROM history WHERE uid = ?1 AND generation < ?2 AND at < ?3 LIMIT ?4)"""
MARKS = ", ".join("?" * len(Tombstone._fields))
BURY = f"INSERT OR REPLACE INTO tombstone ({', '.join(Tombstone._fields)}) VALUES ({MARKS})"
TOMBSTONES = f"SELECT {', '.join(Tombstone._fields)} FROM tombstone"
EXPECTED = """SELECT expectation, key, position, state, max(armed_at, coalesce(came_at, 0), coalesce(missed_at, 0)),
    conversation FROM expected"""
EXPECTED_PAGE = f"""{EXPECTED} WHERE (expectation, key, position) > (?, ?, ?)
    ORDER BY expectation, key, position LIMIT ?"""
EXPECTED_ONE = f"{EXPECTED} WHERE expectation = ? AND key = ? AND position = ?"
WORKERS = "DELETE FROM worker WHERE buried = 1 AND seen_at < ?"


class Conversations:
    """Whether anything is open in them; each is asked about once, for as long as this lives."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[str, bool] = {}

    def is_open(self, conversation: str) -> bool:
        known = self._known.get(conversation)
        if known is None:
            known = self._connection.execute(OPEN, (conversation,)).fetchone() is not None
            self._known[conversation] = known
        return known


# --- runs ------------------------------------------------------------------------------------------------------


def ended_runs(connection: sqlite3.Connection, before: Micros, after: str, limit: int, inputs: bool) -> RunsPage:
    rows = connection.execute(RUNS, (after, first_uid(before), limit)).fetchall()
    conversations = Conversations(connection)
    ended: list[EndedRun] = []
    restarted: list[tuple[str, int]] = []
    kept = 0
    for row in rows:
        *_, ended_at, generation = row
        if ended_at is None:
            if generation > 1:
                restarted.append((row[0], generation))
        elif ended_at < before:
            run = EndedRun(*row[:-1])
            if conversations.is_open(run.conversation):
                kept += 1
            else:
                ended.append(run)
    if inputs and ended:
        found = dict(connection.execute(INPUTS, (json.dumps([run.uid for run in ended]),)))
        ended = [run._replace(input=found.get(run.uid)) for run in ended]
    return RunsPage(ended, restarted, kept, rows[-1][0] if len(rows) == limit else None)


def prune_runs(
    connection: sqlite3.Connection, before: Micros, tombstones: Sequence[Tombstone], rows: int
) -> PrunedRuns:
    conversations = Conversations(connection)
    runs = facts = 0
    for number, tombstone in enumerate(tombstones):
        if facts >= rows:
            return PrunedRuns(runs, facts, number)
        found = connection.execute(RUN, (tombstone.uid,)).fetchone()
        if found is None or found[2] is None or found[2] >= before or conversations.is_open(found[1]):
            continue
        # A history goes before its run: a very long one takes several transactions.
        left = rows - facts
        removed = connection.execute(FACTS, (tombstone.uid, left)).rowcount
        facts += removed
        if removed == left:
            return PrunedRuns(runs, facts, number)
        for table in ("inbox", "wait", "run"):
            connection.execute(f"DELETE FROM {table} WHERE uid = ?", (tombstone.uid,))
        if not found[0].endswith(f"~{tombstone.uid}"):  # else its id belongs to another run already
            connection.execute(BURY, tombstone)
        runs += 1
    return PrunedRuns(runs, facts, len(tombstones))


def prune_generations(
    connection: sqlite3.Connection, before: Micros, runs: Sequence[tuple[str, int]], rows: int
) -> PrunedRuns:
    facts = 0
    for number, (uid, generation) in enumerate(runs):
        if facts >= rows:
            return PrunedRuns(0, facts, number)
        left = rows - facts
        removed = connection.execute(EARLIER, (uid, generation, before, left)).rowcount
        facts += removed
        if removed == left:
            return PrunedRuns(0, facts, number)
    return PrunedRuns(0, facts, len(runs))


# --- tombstones ------------------------------------------------------------------------------------------------


def tombstone(connection: sqlite3.Connection, id: str) -> Tombstone | None:
    row = connection.execute(f"{TOMBSTONES} WHERE id = ?", (id,)).fetchone()
    return Tombstone(*row) if row is not None else None


def tombstones(connection: sqlite3.Connection, conversation: str, limit: int) -> list[Tombstone]:
    query = f"{TOMBSTONES} WHERE conversation = ? ORDER BY uid LIMIT ?"
    return [Tombstone(*row) for row in connection.execute(query, (conversation, limit))]


def taken(connection: sqlite3.Connection, ids: Iterable[str]) -> dict[str, Tombstone]:
    """Of these ids, those of pruned runs. Where nothing was ever pruned, it costs nothing."""
    if connection.execute("SELECT 1 FROM tombstone LIMIT 1").fetchone() is None:
        return {}
    found: dict[str, Tombstone] = {}
    wanted = list(ids)
    for first, last in pairwise([*range(0, len(wanted), 256), len(wanted)]):
        chunk = wanted[first:last]
        query = f"{TOMBSTONES} WHERE id IN ({', '.join('?' * len(chunk))})"
        found.update({row[0]: Tombstone(*row) for row in connection.execute(query, chunk)})
    return found


def give_back(connection: sqlite3.Connection, retired: Iterable[tuple[str, str]]) -> None:
    """The ids of these pruned runs (uid and id), if they have failed or were cancelled, are free again."""
    connection.executemany(
        "DELETE FROM tombstone WHERE uid = ? AND id = ? AND state IN ('failed', 'cancelled')", retired
    )


# --- what is expected, workers ---------------------------------------------------------------------------------


def settled_expected(connection: sqlite3.Connection, before: Micros, after: ExpectedKey, limit: int) -> ExpectedPage:
    rows = connection.execute(EXPECTED_PAGE, (*after, limit)).fetchall()
    conversations = Conversations(connection)
    found: list[ExpectedKey] = [row[:3] for row in rows if _settled(row, before, conversations)]
    return ExpectedPage(found, rows[-1][:3] if len(rows) == limit else None)


def prune_expected(connection: sqlite3.Connection, before: Micros, keys: Sequence[ExpectedKey]) -> int:
    conversations = Conversations(connection)
    removed = 0
    for key in keys:
        row = connection.execute(EXPECTED_ONE, key).fetchone()
        if row is not None and _settled(row, before, conversations):
            connection.execute("DELETE FROM expected WHERE expectation = ? AND key = ? AND position = ?", key)
            removed += 1
    return removed


def _settled(row: tuple[str, str, int, str, int, str], before: Micros, conversations: Conversations) -> bool:
    _, _, _, state, last, conversation = row
    return state != "open" and last < before and not conversations.is_open(conversation)


def prune_workers(connection: sqlite3.Connection, before: Micros) -> int:
    return connection.execute(WORKERS, (before,)).rowcount
