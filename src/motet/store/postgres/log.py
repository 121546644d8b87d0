"""The event log: its lock, its positions, and what was published in users' transactions.

Positions are given under the lock, and the lock is held until the commit counts for everybody: so commits come into
view in the order of their positions, and no reader can pass a gap that is filled later. Whoever takes the lock first
moves what stands in the outbox, the oldest first: all of it that is there, for to leave out what another one is just
moving would put two events of one key in the wrong order.
"""

from __future__ import annotations

from collections.abc import Sequence

from motet.model.clock import Micros
from motet.model.event import EventRow, LoggedEvent
from motet.store.batches import never_backwards
from motet.store.postgres import waiting
from motet.store.postgres.link import Link
from motet.store.postgres.statements import columns, given

MOVED_AT_ONCE = 1_000

# The number is "Mot" and 1; a database holds one store. Whether the outbox holds anything is told as of before the
# lock: what comes into it meanwhile comes into the log with the next one who has the lock.
LOCK_NUMBER = 1299149825
LOCK = f"SELECT pg_advisory_xact_lock({LOCK_NUMBER}), EXISTS (SELECT 1 FROM motet.outbox)"

_FIELDS = ", ".join(EventRow._fields)
_VALUES = ", ".join(
    "greatest(last.recorded_at, v.recorded_at)" if name == "recorded_at" else f"v.{name}" for name in EventRow._fields
)
_WITHOUT_TIME = ", ".join(name for name in EventRow._fields if name != "recorded_at")

LAST = """SELECT coalesce((SELECT position FROM motet.event ORDER BY position DESC LIMIT 1), 0) AS position,
    coalesce((SELECT recorded_at FROM motet.event ORDER BY position DESC LIMIT 1), 0) AS recorded_at"""

# Returns the last position before, and which types of these are waited for.
APPEND = f"""WITH last AS MATERIALIZED ({LAST}),
    added AS (INSERT INTO motet.event (position, {_FIELDS})
        SELECT last.position + v.number, {_VALUES} FROM last, {given(EventRow, numbered=True)})
    SELECT last.position, (SELECT array_agg(type) FROM motet.waited_type
        WHERE type = ANY (${EventRow._fields.index("type") + 1}::text[])) FROM last"""

# What is moved is recorded now, whenever it was published.
MOVE = f"""WITH last AS MATERIALIZED ({LAST}),
    moved AS (DELETE FROM motet.outbox WHERE number IN (SELECT number FROM motet.outbox ORDER BY number LIMIT $1)
        RETURNING number, {_WITHOUT_TIME}),
    placed AS (SELECT row_number() OVER (ORDER BY number) AS place, {_WITHOUT_TIME} FROM moved)
    INSERT INTO motet.event (position, recorded_at, {_WITHOUT_TIME})
    SELECT last.position + placed.place, greatest(last.recorded_at, $2::bigint), {_WITHOUT_TIME} FROM last, placed
    RETURNING position, {_FIELDS}"""


async def lock(link: Link) -> bool:
    """Until the transaction ends; nothing else may be locked after it that others lock before. Whether something
    stands in the outbox."""
    row = await link.row(LOCK)
    assert row is not None
    return bool(row[1])


async def bring_in(link: Link, now: Micros) -> int:
    """All that is in the outbox enters the log: whoever else was about it has committed when we have the lock."""
    return await move(link, now) if await lock(link) else 0


async def append(link: Link, events: Sequence[EventRow]) -> None:
    """Events enter the log; runs that wait for them are told. The caller has the lock."""
    rows = never_backwards([*events], 0)
    found = await link.row(APPEND, *columns(EventRow, rows))
    assert found is not None
    last, awaited = found
    if awaited:
        logged = [LoggedEvent(last + number, *row) for number, row in enumerate(rows, 1) if row.type in awaited]
        await waiting.tell(link, logged)


async def move(link: Link, now: Micros) -> int:
    """What users' transactions have published enters the log; returns how many. The caller has the lock."""
    moved = 0
    while True:
        rows = sorted(LoggedEvent(*row) for row in await link.rows(MOVE, MOVED_AT_ONCE, now))
        moved += len(rows)
        if awaited := await waiting.awaited(link, [row.type for row in rows]):
            await waiting.tell(link, [row for row in rows if row.type in awaited])
        if len(rows) < MOVED_AT_ONCE:
            return moved
