"""What those who watch want to know of all runs together; never by walking through the table of all runs."""

from __future__ import annotations

import sqlite3

from motet.model.clock import Micros
from motet.model.run import Version
from motet.store.protocol import OpenRuns, OpenVersion, Versions

LOADS = "SELECT owner, count(*) FROM run WHERE owner IS NOT NULL GROUP BY owner"

# By two partial indexes: few runs are driven at a time, and of those that rest nothing but the index is read.
STATES = """
SELECT state, sum(number)
FROM (
    SELECT state, count(*) AS number FROM run WHERE owner IS NOT NULL GROUP BY state
    UNION ALL
    SELECT state, count(*) FROM run WHERE owner IS NULL AND ended_at IS NULL GROUP BY state
)
GROUP BY state
"""

_BY_VERSION = "SELECT workflow, version, fingerprint, state, count(*) AS number, min(created_at) AS first FROM run"
_EACH = "GROUP BY workflow, version, fingerprint, state"
VERSIONS = f"""
SELECT workflow, version, fingerprint, state, sum(number), min(first)
FROM (
    {_BY_VERSION} WHERE owner IS NOT NULL {_EACH}
    UNION ALL
    {_BY_VERSION} WHERE owner IS NULL AND ended_at IS NULL {_EACH}
)
{_EACH} ORDER BY workflow, version, min(first)
"""

KNOWING = "SELECT worker FROM knows WHERE workflow = ? AND version = ? ORDER BY worker"

# One state at a time, so that the index leads to what is due and to nothing else.
DUE = "SELECT count(*) FROM run WHERE owner IS NULL AND ended_at IS NULL AND state = ? AND wake_at <= ?"
SINCE = "SELECT min(wake_at) FROM run WHERE owner IS NULL AND ended_at IS NULL AND state = ? AND wake_at > 0"

# A run that was freed by its owner's death is due at 0, which is not since when it waits.
ORPHANED = "SELECT min(created_at) FROM run WHERE owner IS NULL AND ended_at IS NULL AND state = ? AND wake_at = 0"


def loads(connection: sqlite3.Connection) -> dict[int, int]:
    return dict(connection.execute(LOADS).fetchall())


def versions(connection: sqlite3.Connection) -> Versions:
    known: dict[Version, list[int]] = {}
    for worker, *version in connection.execute("SELECT worker, workflow, version FROM knows ORDER BY worker"):
        known.setdefault(Version(*version), []).append(worker)
    return Versions([OpenVersion(*row) for row in connection.execute(VERSIONS)], known)


def knowing(connection: sqlite3.Connection, version: Version) -> list[int]:
    return [worker for (worker,) in connection.execute(KNOWING, version)]


def open_runs(connection: sqlite3.Connection, now: Micros) -> OpenRuns:
    states: dict[str, int] = dict(connection.execute(STATES).fetchall())
    due = 0
    oldest: list[Micros] = []
    for state in states:
        due += connection.execute(DUE, (state, now)).fetchone()[0]
        since = [connection.execute(query, (state,)).fetchone()[0] for query in (SINCE, ORPHANED)]
        oldest += [at for at in since if at is not None and at <= now]
    return OpenRuns(states, due, min(oldest, default=None))
