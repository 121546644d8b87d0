"""What those who watch want to know of all runs together; never by walking through the table of all runs."""

from __future__ import annotations

from motet.model.clock import Micros
from motet.model.run import Version
from motet.store.postgres.link import Link
from motet.store.protocol import OpenRuns, OpenVersion, Versions

LOADS = "SELECT owner, count(*) FROM motet.run WHERE owner IS NOT NULL GROUP BY owner"

# By two partial indexes: few runs are driven at a time, and of those that rest nothing but the index is read.
STATES = """SELECT state, sum(number)::bigint FROM (
        SELECT state, count(*) AS number FROM motet.run WHERE owner IS NOT NULL GROUP BY state
        UNION ALL
        SELECT state, count(*) FROM motet.run WHERE owner IS NULL AND ended_at IS NULL GROUP BY state
    ) AS counted GROUP BY state"""

_BY_VERSION = (
    "SELECT workflow, version, fingerprint, state, count(*) AS number, min(created_at) AS first FROM motet.run"
)
_EACH = "GROUP BY workflow, version, fingerprint, state"
VERSIONS = f"""SELECT workflow, version, fingerprint, state, sum(number)::bigint, min(first) FROM (
        {_BY_VERSION} WHERE owner IS NOT NULL {_EACH}
        UNION ALL
        {_BY_VERSION} WHERE owner IS NULL AND ended_at IS NULL {_EACH}
    ) AS counted {_EACH} ORDER BY workflow, version, min(first)"""
KNOWING = "SELECT worker FROM motet.knows WHERE workflow = $1 AND version = $2 ORDER BY worker"
KNOWN = "SELECT worker, workflow, version FROM motet.knows ORDER BY worker"

# One state at a time, so that the index leads to what is due and to nothing else. A run that was freed by its owner's
# death is due at 0, which is not since when it waits.
_RESTING = "FROM motet.run WHERE owner IS NULL AND ended_at IS NULL AND state = v.state"
DUE = f"""SELECT (SELECT count(*) {_RESTING} AND wake_at <= $2),
    (SELECT min(wake_at) {_RESTING} AND wake_at > 0),
    (SELECT min(created_at) {_RESTING} AND wake_at = 0)
    FROM unnest($1::text[]) AS v (state)"""


async def loads(link: Link) -> dict[int, int]:
    return {row[0]: row[1] for row in await link.rows(LOADS)}


async def versions(link: Link) -> Versions:
    known: dict[Version, list[int]] = {}
    for worker, *version in await link.rows(KNOWN):
        known.setdefault(Version(*version), []).append(worker)
    return Versions([OpenVersion(*row) for row in await link.rows(VERSIONS)], known)


async def knowing(link: Link, version: Version) -> list[int]:
    return [row[0] for row in await link.rows(KNOWING, *version)]


async def open_runs(link: Link, now: Micros) -> OpenRuns:
    states: dict[str, int] = {row[0]: row[1] for row in await link.rows(STATES)}
    due = 0
    oldest: list[Micros] = []
    for count, since, orphaned in await link.rows(DUE, [*states], now):
        due += count
        oldest += [at for at in (since, orphaned) if at is not None and at <= now]
    return OpenRuns(states, due, min(oldest, default=None))
