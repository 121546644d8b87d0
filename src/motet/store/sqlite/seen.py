"""Who has published what, and what came of what: counted over the end of the log."""

from __future__ import annotations

import sqlite3

from motet.store.protocol import Traffic

CATALOGS = """SELECT workflow, data FROM catalog AS one WHERE version =
    (SELECT max(version) FROM catalog WHERE workflow = one.workflow) ORDER BY workflow"""
_LAST = "SELECT max(0, (SELECT coalesce(max(position), 0) FROM event) - ?1)"
PUBLISHED = f"SELECT type, source, count(*) FROM event WHERE position > ({_LAST}) GROUP BY type, source ORDER BY 1, 2"
# Ids have no index in the log: one is made of its end, for as long as this takes.
CAUSED = f"""WITH cause AS MATERIALIZED (SELECT id, type FROM event WHERE position > ({_LAST}))
    SELECT cause.type, event.type, event.source, count(*) FROM event CROSS JOIN cause ON cause.id = event.causationid
    WHERE event.position > ({_LAST}) AND event.causationid IS NOT NULL GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
STARTED = f"""WITH cause AS MATERIALIZED (SELECT id, type FROM event WHERE position > ({_LAST})),
    started AS MATERIALIZED (SELECT workflow, cause FROM run ORDER BY uid DESC LIMIT ?1)
    SELECT cause.type, started.workflow, count(*) FROM started CROSS JOIN cause ON cause.id = started.cause
    WHERE started.cause IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"""


def catalogs(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute(CATALOGS).fetchall())


def traffic(connection: sqlite3.Connection, last: int) -> Traffic:
    return Traffic(*(connection.execute(query, (last,)).fetchall() for query in (PUBLISHED, CAUSED, STARTED)))
