"""Who has published what, and what came of what: counted over the end of the log."""

from __future__ import annotations

from motet.store.postgres.link import Link
from motet.store.protocol import Traffic

CATALOGS = """SELECT DISTINCT ON (workflow) workflow, data FROM motet.catalog ORDER BY workflow, version DESC"""
_LAST = "(SELECT greatest(0, coalesce(max(position), 0) - $1) FROM motet.event)"
PUBLISHED = f"""SELECT type, source, count(*) FROM motet.event WHERE position > {_LAST}
    GROUP BY type, source ORDER BY 1, 2"""
# Ids have no index in the log: one is made of its end, for as long as this takes.
_CAUSE = f"cause AS MATERIALIZED (SELECT id, type FROM motet.event WHERE position > {_LAST})"
CAUSED = f"""WITH {_CAUSE} SELECT cause.type, event.type, event.source, count(*)
    FROM motet.event JOIN cause ON cause.id = event.causationid
    WHERE event.position > {_LAST} AND event.causationid IS NOT NULL GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
STARTED = f"""WITH {_CAUSE},
    started AS MATERIALIZED (SELECT workflow, cause FROM motet.run ORDER BY uid DESC LIMIT $1)
    SELECT cause.type, started.workflow, count(*) FROM started JOIN cause ON cause.id = started.cause
    WHERE started.cause IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"""


async def catalogs(link: Link) -> dict[str, str]:
    return {row[0]: row[1] for row in await link.rows(CATALOGS)}


async def traffic(link: Link, last: int) -> Traffic:
    published, caused, started = [
        [tuple(row) for row in await link.rows(query, last)] for query in (PUBLISHED, CAUSED, STARTED)
    ]
    return Traffic(published, caused, started)
