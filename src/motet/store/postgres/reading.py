"""What status, replay and wake-up read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from motet.model.clock import Micros
from motet.model.event import Heading, LoggedEvent
from motet.model.history import Recorded
from motet.model.run import ENDED, Run
from motet.store.mutations import PutInbox
from motet.store.postgres.link import Link
from motet.store.protocol import QueueRow, RunFilter

_RUN = ", ".join(Run._fields)
_EVENT = ", ".join(LoggedEvent._fields)
_SETTLED = ", ".join(f"'{state}'" for state in (*sorted(ENDED), "blocked"))

RUN = f"SELECT {_RUN} FROM motet.run WHERE id = $1"
OUTCOMES = f"SELECT {_RUN} FROM motet.run WHERE uid = ANY ($1::text[]) AND state IN ({_SETTLED})"
MISSING = """SELECT wanted.uid FROM unnest($1::text[]) AS wanted (uid)
    WHERE NOT EXISTS (SELECT FROM motet.run WHERE run.uid = wanted.uid)"""
HISTORIES = f"""SELECT {", ".join("history." + name for name in Recorded._fields)}
    FROM unnest($1::text[], $2::bigint[]) AS v (uid, generation)
    JOIN motet.history ON history.uid = v.uid AND history.generation = v.generation"""
INBOX = """SELECT inbox.uid, key, inbox.kind, payload, at FROM motet.inbox JOIN motet.run ON run.uid = inbox.uid
    WHERE run.owner = $1 ORDER BY at, key LIMIT 10000"""
EVENTS = f"SELECT {_EVENT} FROM motet.event WHERE position > $1 ORDER BY position LIMIT $2"
EVENTS_AT = f"SELECT {_EVENT} FROM motet.event WHERE position = ANY ($1::bigint[])"
EVENTS_OF = f"""SELECT {_EVENT} FROM motet.event WHERE correlationid = $1 AND position > $2
    ORDER BY position LIMIT $3"""
HEADINGS = f"""SELECT {", ".join(Heading._fields)} FROM motet.event WHERE position > $2 AND position <= $3
    AND type = ANY ($1::text[]) ORDER BY position"""
OWNED = f"SELECT {_RUN} FROM motet.run WHERE owner = $1"
CATALOG = "SELECT data FROM motet.catalog WHERE workflow = $1 AND version = $2"
COUNTS = "SELECT state, count(*) FROM motet.run GROUP BY state"

# A run that was freed by its owner's death is due at 0, which is not since when it waits.
QUEUES = """SELECT name, max(concurrency), sum(driven)::bigint, sum(due)::bigint, min(since)
    FROM (
        SELECT name, concurrency, 0 AS driven, 0 AS due, NULL::bigint AS since FROM motet.queue
        UNION ALL
        SELECT queue, NULL, count(*), 0, NULL FROM motet.run WHERE owner IS NOT NULL GROUP BY queue
        UNION ALL
        SELECT queue, NULL, 0, count(*), min(CASE wake_at WHEN 0 THEN created_at ELSE wake_at END) FROM motet.run
        WHERE owner IS NULL AND wake_at IS NOT NULL AND wake_at <= $1 GROUP BY queue
    ) AS counted
    GROUP BY name ORDER BY name"""


async def run(link: Link, id: str) -> Run | None:
    row = await link.row(RUN, id)
    return Run(*row) if row is not None else None


async def runs(link: Link, filter: RunFilter) -> list[Run]:
    where, values = ["true"], list[Any]()

    def want(condition: str, value: Any) -> None:
        values.append(value)
        where.append(condition.replace("?", f"${len(values)}"))

    if filter.workflow is not None:
        want("(workflow = ? OR substr(workflow, strpos(workflow, '/') + 1) = ?)", filter.workflow)
    if filter.states:
        want("state = ANY (?::text[])", list(filter.states))
    if filter.conversation is not None:
        want("conversation = ?", filter.conversation)
    if filter.before is not None:
        want("uid < ?", filter.before)
    query = f"SELECT {_RUN} FROM motet.run WHERE {' AND '.join(where)} ORDER BY uid DESC LIMIT ${len(values) + 1}"
    return [Run(*row) for row in await link.rows(query, *values, filter.limit)]


async def outcomes(link: Link, uids: Sequence[str]) -> list[Run]:
    return [Run(*row) for row in await link.rows(OUTCOMES, list(uids))]


async def missing(link: Link, uids: Sequence[str]) -> list[str]:
    return [row[0] for row in await link.rows(MISSING, list(uids))]


async def histories(link: Link, runs: Sequence[tuple[str, int]]) -> dict[str, list[Recorded]]:
    found: dict[str, list[Recorded]] = {uid: [] for uid, _ in runs}
    if runs:
        for row in await link.rows(HISTORIES, *zip(*runs, strict=True)):
            found[row[0]].append(Recorded(*row))
    for history in found.values():
        history.sort(key=lambda recorded: recorded.position)
    return found


async def inbox(link: Link, worker: int) -> list[PutInbox]:
    return [PutInbox(*row) for row in await link.rows(INBOX, worker)]


async def events(link: Link, after: int, limit: int) -> list[LoggedEvent]:
    return [LoggedEvent(*row) for row in await link.rows(EVENTS, after, limit)]


async def events_at(link: Link, positions: Sequence[int]) -> list[LoggedEvent]:
    return sorted(LoggedEvent(*row) for row in await link.rows(EVENTS_AT, list(positions)))


async def events_of(link: Link, conversation: str, after: int, limit: int) -> list[LoggedEvent]:
    return [LoggedEvent(*row) for row in await link.rows(EVENTS_OF, conversation, after, limit)]


async def headings(link: Link, types: Sequence[str], after: int, until: int) -> list[Heading]:
    return [Heading(*row) for row in await link.rows(HEADINGS, list(types), after, until)]


async def owned(link: Link, worker: int) -> list[Run]:
    return [Run(*row) for row in await link.rows(OWNED, worker)]


async def catalog(link: Link, workflow: str, version: int) -> str | None:
    found: str | None = await link.value(CATALOG, workflow, version)
    return found


async def counts(link: Link) -> dict[str, int]:
    return {row[0]: row[1] for row in await link.rows(COUNTS)}


async def queues(link: Link, now: Micros) -> list[QueueRow]:
    return [QueueRow(*row) for row in await link.rows(QUEUES, now)]
