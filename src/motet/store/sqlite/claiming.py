"""Finding work and taking it: in turn from the queues, in a queue by priority and then by what is due longest.

A *line* is what waits in one queue for one version of a workflow at one priority. Only the heads of lines are looked
at, by jumping along the index `run_due`: however long a line is, and whatever stands in lines that are not due or whose
version is unknown here, it costs the same.

A run of a limited queue holds a *place* while it has an owner. Places are counted in the transaction that takes them,
and all transactions of all processes take turns, so a limit is never exceeded.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain

from motet.errors import LeaseLost
from motet.model.clock import Micros
from motet.model.run import Run, Version
from motet.store.lines import Candidate, Line, due_lines, in_turn
from motet.store.protocol import Prospect

WOKEN_LOOKED_AT = 1_000

_RUN = ", ".join(Run._fields)

_WAITING = "SELECT uid FROM run WHERE owner IS NULL AND wake_at IS NOT NULL AND"

_LINE = "queue, workflow, version, priority"

# Four searches, not one by a row value: of that, the index would be used for the first column only.
_LINES = f"""
WITH RECURSIVE line ({_LINE}, head) AS (
    SELECT * FROM (
        SELECT {_LINE}, wake_at FROM run WHERE owner IS NULL AND wake_at IS NOT NULL ORDER BY {_LINE}, wake_at LIMIT 1
    )
    UNION ALL
    SELECT next.queue, next.workflow, next.version, next.priority, next.wake_at FROM line CROSS JOIN run AS next
    WHERE next.uid = coalesce(
        ({_WAITING} queue = line.queue AND workflow = line.workflow AND version = line.version
         AND priority > line.priority ORDER BY priority, wake_at LIMIT 1),
        ({_WAITING} queue = line.queue AND workflow = line.workflow AND version > line.version
         ORDER BY version, priority, wake_at LIMIT 1),
        ({_WAITING} queue = line.queue AND workflow > line.workflow
         ORDER BY workflow, version, priority, wake_at LIMIT 1),
        ({_WAITING} queue > line.queue ORDER BY {_LINE}, wake_at LIMIT 1)
    )
)
SELECT {_LINE}, head FROM line
"""

_IN_LINE = """
FROM run
WHERE owner IS NULL AND wake_at IS NOT NULL AND queue = ? AND workflow = ? AND version = ? AND priority = ?
"""

_WOKEN = """
    FROM inbox CROSS JOIN run USING (uid)
    WHERE run.owner IS NULL AND run.ended_at IS NULL
      AND (coalesce(run.parked, 'incident') = 'incident' OR inbox.kind = 'retry')
"""
"""Runs with something in their inbox that somebody may act on. The inbox comes first: it is short."""

_KNOWN = """
SELECT json_extract(value, '$[0]') AS workflow, json_extract(value, '$[1]') AS version FROM json_each(:known)
"""

_CURABLE = f"""
    FROM ({_KNOWN}) AS mine CROSS JOIN run ON run.workflow = mine.workflow AND run.version = mine.version
    WHERE state = 'blocked' AND parked = 'divergence' AND owner IS NULL AND fingerprint <> :fingerprint
"""
"""Runs that were blocked because code of another fingerprint did not fit. Version by version, along the index."""

_FOR_ME = f"""
    AND (run.workflow, run.version) IN ({_KNOWN})
    AND run.queue NOT IN (SELECT value FROM json_each(:closed))
"""

_PLACES_TAKEN = """
SELECT count(*) FROM worker CROSS JOIN run ON run.owner = worker.id WHERE worker.buried = 0 AND run.queue = ?
"""

_TAKE = f"""
UPDATE run
SET owner = :worker, epoch = epoch + 1, wake_at = NULL,
    state = CASE WHEN state IN ('pending', 'waiting') THEN 'running' ELSE state END
WHERE uid IN (SELECT value FROM json_each(:uids))
RETURNING {_RUN}
"""


def claim(
    connection: sqlite3.Connection, worker: int, known: Sequence[Version], fingerprint: str, now: Micros, limit: int,
    full: Sequence[str],
) -> list[Run]:  # fmt: skip
    """Raises LeaseLost: the worker is buried and may own nothing."""
    if connection.execute("SELECT 1 FROM worker WHERE id = ? AND buried = 0", (worker,)).fetchone() is None:
        raise LeaseLost(f"worker {worker} has been declared dead")
    places = free_places(connection)
    closed = {*full, *(queue for queue, free in places.items() if free <= 0)}
    candidates = _woken(connection, known, fingerprint, closed)
    for queue, lines in due_lines(_lines(connection), known, now, closed).items():
        _add_due(connection, lines, now, min(limit, places.get(queue, limit)), candidates[queue])
    uids = in_turn(candidates, places, limit)
    taken = connection.execute(_TAKE, {"worker": worker, "uids": json.dumps(uids)}).fetchall() if uids else []
    runs = {run.uid: run for run in (Run(*row) for row in taken)}
    return [runs[uid] for uid in uids]


def prospect(
    connection: sqlite3.Connection, worker: int, known: Sequence[Version], fingerprint: str, now: Micros,
    full: Sequence[str],
) -> Prospect:  # fmt: skip
    taken_up = [queue for queue, free in free_places(connection).items() if free <= 0]
    closed = {*full, *taken_up}
    lines = _lines(connection)
    mine = [line for line in lines if line.wants in known]
    claimable = any(line.head <= now and line.queue not in closed for line in mine)
    if not claimable:
        values = {"known": json.dumps(known), "closed": json.dumps([*closed]), "fingerprint": fingerprint}
        found = f"SELECT EXISTS (SELECT 1 {_WOKEN} {_FOR_ME}) OR EXISTS (SELECT 1 {_CURABLE} {_FOR_ME})"
        claimable = bool(connection.execute(found, values).fetchone()[0])
    crowded = {line.queue for line in lines if line.head <= now and line.queue in taken_up}
    if taken_up:
        woken = f"SELECT DISTINCT run.queue {_WOKEN} AND run.queue IN (SELECT value FROM json_each(?))"
        crowded.update(queue for (queue,) in connection.execute(woken, (json.dumps(taken_up),)))
    heard = "SELECT EXISTS (SELECT 1 FROM inbox CROSS JOIN run USING (uid) WHERE run.owner = ?)"
    (inbox,) = connection.execute(heard, (worker,)).fetchone()
    return Prospect(bool(inbox), claimable, _next_wake(connection, mine, now), frozenset(crowded))


def free_places(connection: sqlite3.Connection) -> dict[str, int]:
    """Of each queue that has a limit: how many more runs of it may be driven now."""
    limits = connection.execute("SELECT name, concurrency FROM queue WHERE concurrency IS NOT NULL").fetchall()
    return {name: limit - connection.execute(_PLACES_TAKEN, (name,)).fetchone()[0] for name, limit in limits}


def _lines(connection: sqlite3.Connection) -> list[Line]:
    return [Line(*row) for row in connection.execute(_LINES)]


def _woken(
    connection: sqlite3.Connection, known: Sequence[Version], fingerprint: str, closed: set[str]
) -> defaultdict[str, set[Candidate]]:
    """By queue, runs that are to go on whenever they are due: somebody has told them something, or changed the code."""
    values = {"known": json.dumps(known), "closed": json.dumps([*closed]), "fingerprint": fingerprint}
    fields = "run.queue, run.priority, run.uid"
    woken = connection.execute(f"SELECT DISTINCT {fields} {_WOKEN} {_FOR_ME} LIMIT {WOKEN_LOOKED_AT}", values)
    curable = connection.execute(f"SELECT {fields} {_CURABLE} {_FOR_ME} LIMIT {WOKEN_LOOKED_AT}", values)
    found: defaultdict[str, set[Candidate]] = defaultdict(set)
    for queue, priority, uid in chain(woken, curable):
        found[queue].add(Candidate(-priority, 0, uid))
    return found


def _add_due(
    connection: sqlite3.Connection, lines: list[Line], now: Micros, wanted: int, found: set[Candidate]
) -> None:
    """The first `wanted` of a queue's lines, or a few more."""
    there = {candidate.uid for candidate in found}
    for index, line in enumerate(lines):
        if index and line.priority < lines[index - 1].priority and len(found) >= wanted:
            return
        query = f"SELECT uid, wake_at {_IN_LINE} AND wake_at <= ? ORDER BY wake_at LIMIT ?"
        for uid, since in connection.execute(query, (*line[:4], now, wanted)):
            if uid not in there:
                found.add(Candidate(-line.priority, since, uid))


def _next_wake(connection: sqlite3.Connection, lines: list[Line], now: Micros) -> Micros | None:
    """When the next run of these lines is due, apart from those that are due now."""
    heads = [line.head for line in lines if line.head > now]
    for line in lines:
        if line.head <= now:
            query = f"SELECT min(wake_at) {_IN_LINE} AND wake_at > ?"
            (later,) = connection.execute(query, (*line[:4], now)).fetchone()
            heads += [later] if later is not None else []
    return min(heads, default=None)
