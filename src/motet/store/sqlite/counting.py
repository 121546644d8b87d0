"""What those who watch want to know of all runs together; never by walking through the table of all runs."""

from __future__ import annotations

import sqlite3

from motet.model.clock import Micros
from motet.store.protocol import OpenRuns

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

# One state at a time, so that the index leads to what is due and to nothing else.
DUE = "SELECT count(*) FROM run WHERE owner IS NULL AND ended_at IS NULL AND state = ? AND wake_at <= ?"
SINCE = "SELECT min(wake_at) FROM run WHERE owner IS NULL AND ended_at IS NULL AND state = ? AND wake_at > 0"

# A run that was freed by its owner's death is due at 0, which is not since when it waits.
ORPHANED = "SELECT min(created_at) FROM run WHERE owner IS NULL AND ended_at IS NULL AND state = ? AND wake_at = 0"


def loads(connection: sqlite3.Connection) -> dict[int, int]:
    return dict(connection.execute(LOADS).fetchall())


def open_runs(connection: sqlite3.Connection, now: Micros) -> OpenRuns:
    states: dict[str, int] = dict(connection.execute(STATES).fetchall())
    due = 0
    oldest: list[Micros] = []
    for state in states:
        due += connection.execute(DUE, (state, now)).fetchone()[0]
        since = [connection.execute(query, (state,)).fetchone()[0] for query in (SINCE, ORPHANED)]
        oldest += [at for at in since if at is not None and at <= now]
    return OpenRuns(states, due, min(oldest, default=None))
