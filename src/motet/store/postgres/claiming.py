"""Finding work and taking it: in turn from the queues, in a queue by priority and then by what is due longest.

Only the heads of lines are looked at, by jumping along the index `run_due`: however long a line is, and whatever stands
in lines that are not due or whose workflow is unknown here, it costs the same.

Those who claim at the same time pass each other by: what one has its hands on, the others skip. A run of a limited
queue holds a *place* while it has an owner; who takes from such queues takes their rows in turn, one after the other,
and counts the places then, so a limit is never exceeded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple

from motet.errors import LeaseLost
from motet.model.clock import Micros
from motet.model.run import Run, Version
from motet.store.lines import Candidate, Line, due_lines, in_turn
from motet.store.postgres.link import Link
from motet.store.protocol import Prospect

WOKEN_LOOKED_AT = 1_000

_RUN = ", ".join(f"run.{name}" for name in Run._fields)
_WAITS = "run.owner IS NULL AND run.wake_at IS NOT NULL"
_LINE = "queue, workflow, version, priority"
_HEAD = f"SELECT {_LINE}, wake_at FROM motet.run WHERE {_WAITS}"
_ORDER = f"ORDER BY {_LINE}, wake_at LIMIT 1"

_LINES = f"""line ({_LINE}, head) AS (
    ({_HEAD} {_ORDER})
    UNION ALL
    SELECT next.* FROM line CROSS JOIN LATERAL ({_HEAD} AND (run.queue, run.workflow, run.version, run.priority)
        > (line.queue, line.workflow, line.version, line.priority) {_ORDER}) AS next
)"""
LINES = f"WITH RECURSIVE {_LINES} SELECT {_LINE}, head FROM line"

_IN_LINE = f"""FROM motet.run WHERE {_WAITS}
    AND run.queue = $1 AND run.workflow = $2 AND run.version = $3 AND run.priority = $4"""
_IN_THIS_LINE = f"""FROM motet.run WHERE {_WAITS} AND run.queue = line.queue AND run.workflow = line.workflow
    AND run.version = line.version AND run.priority = line.priority"""
DUE = f"SELECT uid, wake_at {_IN_LINE} AND wake_at <= $5 ORDER BY wake_at LIMIT $6 FOR UPDATE SKIP LOCKED"

# `OFFSET 0`: each run, each version is looked up by itself. Of an empty table PostgreSQL would think that it might as
# well be read as a whole, and keep to that when it is not empty any more.
_WOKEN = """FROM motet.inbox CROSS JOIN LATERAL (
        SELECT uid, queue, workflow, version, owner, ended_at, parked FROM motet.run WHERE run.uid = inbox.uid OFFSET 0
    ) AS run WHERE run.owner IS NULL AND run.ended_at IS NULL
    AND (coalesce(run.parked, 'incident') = 'incident' OR inbox.kind = 'retry')"""
"""Runs with something in their inbox that somebody may act on."""

_KNOWN = "(SELECT * FROM unnest($1::text[], $2::bigint[]) AS mine (workflow, version))"

_CURABLE = f"""FROM {_KNOWN} AS mine CROSS JOIN LATERAL (
        SELECT uid, queue FROM motet.run
        WHERE run.state = 'blocked' AND run.workflow = mine.workflow AND run.version = mine.version
        AND run.parked = 'divergence' AND run.owner IS NULL AND run.fingerprint <> $4 OFFSET 0
    ) AS run WHERE true"""
"""Runs that were blocked because code of another fingerprint did not fit. Version by version, along the index."""

_OPEN = "AND run.queue <> ALL ($3::text[])"
_FOR_ME = f"AND (run.workflow, run.version) IN {_KNOWN} {_OPEN}"

TOLD = f"""SELECT run.* FROM (SELECT run.uid {_WOKEN} {_FOR_ME} UNION SELECT run.uid {_CURABLE} {_OPEN}
    LIMIT {WOKEN_LOOKED_AT}) AS told CROSS JOIN LATERAL (
        SELECT queue, priority, uid FROM motet.run WHERE run.uid = told.uid AND owner IS NULL FOR UPDATE SKIP LOCKED
    ) AS run"""
TO_TELL = f"SELECT EXISTS (SELECT 1 {_WOKEN} {_FOR_ME}) OR EXISTS (SELECT 1 {_CURABLE} {_OPEN})"
CROWDED = f"SELECT DISTINCT run.queue {_WOKEN} AND run.queue = ANY ($1::text[])"
TOLD_QUEUES = f"""SELECT run.queue {_WOKEN} UNION SELECT run.queue FROM motet.run
    WHERE run.state = 'blocked' AND run.parked = 'divergence' AND run.owner IS NULL AND run.fingerprint <> $1"""

LIMITS = "SELECT name, concurrency FROM motet.queue WHERE concurrency IS NOT NULL"
LOCK_LIMITS = f"{LIMITS} AND name = ANY ($1::text[]) ORDER BY name FOR UPDATE"
PLACES = """SELECT run.queue, count(*) FROM motet.worker JOIN motet.run ON run.owner = worker.id
    WHERE NOT worker.buried AND run.queue = ANY ($1::text[]) GROUP BY run.queue"""

ALIVE = "SELECT 1 FROM motet.worker WHERE id = $1 AND NOT buried FOR KEY SHARE"
_TAKEN = """epoch = epoch + 1, wake_at = NULL,
    state = CASE WHEN state IN ('pending', 'waiting') THEN 'running' ELSE state END"""
TAKE = f"UPDATE motet.run SET owner = $1, {_TAKEN} WHERE uid = ANY ($2::text[]) RETURNING {_RUN}"

_LIMITED = "EXISTS (SELECT 1 FROM motet.queue WHERE concurrency IS NOT NULL)"
_TOLD = f"(EXISTS (SELECT 1 {_WOKEN} {_FOR_ME}) OR EXISTS (SELECT 1 {_CURABLE} {_OPEN}))"

LOOK = f"""WITH RECURSIVE {_LINES}
SELECT seen.*, {_LINE}, head, CASE WHEN head <= $5 THEN (SELECT wake_at {_IN_THIS_LINE} AND wake_at > $5
        ORDER BY wake_at LIMIT 1) END
    FROM (SELECT {_LIMITED}, {_TOLD},
        EXISTS (SELECT 1 FROM motet.inbox JOIN motet.run ON run.uid = inbox.uid WHERE run.owner = $6)
    ) AS seen (limits, told, heard) LEFT JOIN line ON true"""
"""Everything that there is to know where no queue has a limit, in one question. Of each line: its head, and, if that is
due, when the next of its runs is due after now."""

TAKE_FROM_ONE = f"""WITH RECURSIVE {_LINES},
    due AS MATERIALIZED (SELECT line.* FROM line WHERE head <= $5 AND (workflow, version) IN {_KNOWN}
        AND queue <> ALL ($3::text[])),
    alive AS MATERIALIZED (SELECT id FROM motet.worker WHERE id = $6 AND NOT buried
        AND (SELECT count(*) FROM due) = 1 AND NOT {_LIMITED} AND NOT {_TOLD} FOR KEY SHARE),
    chosen AS MATERIALIZED (SELECT run.* FROM due AS line CROSS JOIN LATERAL (SELECT uid, wake_at {_IN_THIS_LINE}
        AND wake_at <= $5 ORDER BY wake_at LIMIT $7 FOR UPDATE SKIP LOCKED) AS run WHERE EXISTS (SELECT 1 FROM alive))
    UPDATE motet.run SET owner = $6, {_TAKEN} FROM chosen WHERE run.uid = chosen.uid AND run.owner IS NULL
    RETURNING chosen.wake_at, EXISTS (SELECT 1 FROM motet.inbox WHERE inbox.uid = run.uid), {_RUN}"""
"""The whole of a claim in the most frequent case, as one statement that is a transaction of its own: all that there is
to take is due in one line, and no queue has a limit. The worker's row is locked before any run is, as everywhere."""


class Claimed(NamedTuple):
    """Runs that were taken.

    Args:
        more: others are left that nobody else could see meanwhile.
        told: something may wait in their inbox.
    """

    runs: list[Run]
    more: bool = False
    told: bool = True


async def claim_from_one(
    link: Link, worker: int, known: Sequence[Version], fingerprint: str, now: Micros, limit: int, full: Sequence[str]
) -> Claimed:
    """In one statement, where that is enough. None taken says nothing: neither that there are none, nor that the worker
    is alive."""
    taken = await link.rows(TAKE_FROM_ONE, *_of(known), [*full], fingerprint, now, worker, limit)
    taken.sort(key=lambda row: (row[0], row[2]))
    return Claimed([Run(*row[2:]) for row in taken], told=any(row[1] for row in taken))


def alive(worker: int) -> str:
    """The statement that locks the worker's row, for the message that begins a transaction."""
    return ALIVE.replace("$1", f"{worker:d}")


async def claim(
    link: Link, status: str, worker: int, known: Sequence[Version], fingerprint: str, now: Micros, limit: int,
    full: Sequence[str],
) -> Claimed:  # fmt: skip
    """Whatever there is to take.

    Args:
        status: what the server has said of `alive`.

    Raises:
        LeaseLost: the worker is buried and may own nothing.
    """
    if status != "SELECT 1":
        raise LeaseLost(f"worker {worker} has been declared dead")
    lines = await _lines(link)
    queues = {line.queue for line in lines if line.head <= now}
    places = await _lock_places(link, queues, fingerprint)
    closed = {*full, *(queue for queue, free in places.items() if free <= 0)}
    candidates: defaultdict[str, set[Candidate]] = defaultdict(set)
    for queue, priority, uid in await link.rows(TOLD, *_of(known), [*closed], fingerprint):
        candidates[queue].add(Candidate(-priority, 0, uid))
    for queue, due in due_lines(lines, known, now, closed).items():
        await _add_due(link, due, now, min(limit, places.get(queue, limit)), candidates[queue])
    uids = in_turn(candidates, places, limit)
    taken = await link.rows(TAKE, worker, uids) if uids else []
    runs = {run.uid: run for run in (Run(*row) for row in taken)}
    return Claimed([runs[uid] for uid in uids], len(uids) < sum(map(len, candidates.values())))


async def prospect(
    link: Link, worker: int, known: Sequence[Version], fingerprint: str, now: Micros, full: Sequence[str]
) -> Prospect:
    rows = await link.rows(LOOK, *_of(known), [*full], fingerprint, now, worker)
    limits, told, heard = rows[0][:3]
    lines = [(Line(*row[3:8]), row[8]) for row in rows if row[3] is not None]
    mine = [(line, later) for line, later in lines if line.wants in known]
    wakes = [later if line.head <= now else line.head for line, later in mine]
    next_wake = min((wake for wake in wakes if wake is not None), default=None)
    free = await _free(link, {row[0]: row[1] for row in await link.rows(LIMITS)}) if limits else {}
    taken_up = [queue for queue, places in free.items() if places <= 0]
    crowded = {line.queue for line, _ in lines if line.head <= now and line.queue in taken_up}
    if taken_up:
        told = bool(await link.value(TO_TELL, *_of(known), [*full, *taken_up], fingerprint))
        crowded.update(row[0] for row in await link.rows(CROWDED, taken_up))
    closed = {*full, *taken_up}
    claimable = told or any(line.head <= now and line.queue not in closed for line, _ in mine)
    return Prospect(heard, claimable, next_wake, frozenset(crowded))


async def _lock_places(link: Link, due: Collection[str], fingerprint: str) -> dict[str, int]:
    """Of each queue with a limit in which something may be taken: how many more runs of it may be driven. Whoever else
    wants to take from one of them waits until we have."""
    if not await link.value(f"SELECT EXISTS ({LIMITS})"):
        return {}
    queues = {*due, *(row[0] for row in await link.rows(TOLD_QUEUES, fingerprint))}
    return await _free(link, {row[0]: row[1] for row in await link.rows(LOCK_LIMITS, sorted(queues))})


async def _free(link: Link, limits: dict[str, int]) -> dict[str, int]:
    if not limits:
        return {}
    taken = {row[0]: row[1] for row in await link.rows(PLACES, [*limits])}
    return {queue: limit - taken.get(queue, 0) for queue, limit in limits.items()}


def _of(known: Sequence[Version]) -> tuple[list[str], list[int]]:
    return [version.workflow for version in known], [version.version for version in known]


async def _lines(link: Link) -> list[Line]:
    return [Line(*row) for row in await link.rows(LINES)]


async def _add_due(link: Link, lines: list[Line], now: Micros, wanted: int, found: set[Candidate]) -> None:
    """The first `wanted` of a queue's lines, or a few more."""
    there = {candidate.uid for candidate in found}
    for index, line in enumerate(lines):
        if index and line.priority < lines[index - 1].priority and len(found) >= wanted:
            return
        for uid, since in await link.rows(DUE, *line[:4], now, wanted):
            if uid not in there:
                found.add(Candidate(-line.priority, since, uid))
