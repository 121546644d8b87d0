"""Removing what is over: looked for page by page without a lock, removed in short transactions that look again.

A start and a pruning of the same id may meet: the start waits for the row that is being removed, and then finds room.
So tombstones are looked for after the start was written, when all that it has waited for counts (`too_late`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from motet.model.clock import Micros
from motet.model.identity import first_uid
from motet.model.run import Run
from motet.model.tombstone import Tombstone
from motet.store.postgres.link import Link
from motet.store.postgres.statements import columns, given
from motet.store.retention import EndedRun, ExpectedKey, ExpectedPage, PrunedRuns, RunsPage

RUNS = """SELECT uid, id, workflow, version, state, epoch, conversation, created_at, ended_at, generation
    FROM motet.run WHERE uid > $1 AND uid < $2 ORDER BY uid LIMIT $3"""
OPEN = """SELECT wanted.name FROM unnest($1::text[]) AS wanted (name) WHERE EXISTS
    (SELECT 1 FROM motet.run WHERE run.conversation = wanted.name AND run.ended_at IS NULL)"""
INPUTS = """SELECT uid, CASE WHEN generation > 1 THEN first_input ELSE input END FROM motet.run
    WHERE uid = ANY ($1::text[])"""
LOCK = "SELECT uid, id, conversation, ended_at FROM motet.run WHERE uid = ANY ($1::text[]) ORDER BY uid FOR UPDATE"
# By keys, not by where rows lie: what somebody else is just forgetting or encrypting anew lies elsewhere afterwards.
_THESE = "history.uid = $1 AND history.generation = v.generation AND history.position = v.position"
FACTS = """DELETE FROM motet.history USING (SELECT one.uid, fact.generation, fact.position
    FROM unnest($1::text[]) AS one (uid) CROSS JOIN LATERAL (SELECT generation, position FROM motet.history
    WHERE history.uid = one.uid OFFSET 0) AS fact LIMIT $2) AS v
    WHERE history.uid = v.uid AND history.generation = v.generation AND history.position = v.position"""
LEFT = """SELECT one.uid FROM unnest($1::text[]) AS one (uid)
    WHERE EXISTS (SELECT 1 FROM motet.history WHERE history.uid = one.uid)"""
EARLIER = f"""DELETE FROM motet.history USING (SELECT generation, position FROM motet.history
    WHERE uid = $1 AND generation < $2 AND at < $3 LIMIT $4) AS v WHERE {_THESE}"""
_FIELDS = ", ".join(Tombstone._fields)
BURY = f"""INSERT INTO motet.tombstone ({_FIELDS}) SELECT * FROM {given(Tombstone)}
    ON CONFLICT (id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in Tombstone._fields[1:])}"""
REMOVE = tuple(f"DELETE FROM motet.{table} WHERE uid = ANY ($1::text[])" for table in ("inbox", "wait", "run"))
TOMBSTONE = f"SELECT {_FIELDS} FROM motet.tombstone WHERE id = $1"
TOMBSTONES = f"SELECT {_FIELDS} FROM motet.tombstone WHERE conversation = $1 ORDER BY uid LIMIT $2"
TAKEN = f"SELECT {_FIELDS} FROM motet.tombstone WHERE id = ANY ($1::text[])"
UNDO = "DELETE FROM motet.run WHERE uid = ANY ($1::text[])"
GIVE_BACK = """DELETE FROM motet.tombstone USING unnest($1::text[], $2::text[]) AS v (uid, id)
    WHERE tombstone.id = v.id AND tombstone.uid = v.uid AND tombstone.state IN ('failed', 'cancelled')"""
_LAST = "greatest(armed_at, coalesce(came_at, 0), coalesce(missed_at, 0))"
EXPECTED_PAGE = f"""SELECT expectation, key, position, state, {_LAST}, conversation FROM motet.expected
    WHERE (expectation, key, position) > ($1, $2, $3) ORDER BY expectation, key, position LIMIT $4"""
EXPECTED_THESE = f"""SELECT expectation, key, position, state, {_LAST}, conversation FROM motet.expected
    WHERE (expectation, key, position) IN (SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[]))
    ORDER BY expectation, key, position FOR UPDATE"""
REMOVE_EXPECTED = """DELETE FROM motet.expected USING unnest($1::text[], $2::text[], $3::bigint[])
    AS v (expectation, key, position) WHERE expected.expectation = v.expectation AND expected.key = v.key
    AND expected.position = v.position"""
WORKERS = "DELETE FROM motet.worker WHERE buried AND seen_at < $1"


async def open_ones(link: Link, conversations: Iterable[str]) -> set[str]:
    """The conversations in which anything is open."""
    return {row[0] for row in await link.rows(OPEN, sorted(set(conversations)))}


# --- runs ------------------------------------------------------------------------------------------------------


async def ended_runs(link: Link, before: Micros, after: str, limit: int, inputs: bool) -> RunsPage:
    rows = await link.rows(RUNS, after, first_uid(before), limit)
    restarted = [(row[0], row[9]) for row in rows if row[8] is None and row[9] > 1]
    old = [EndedRun(*row[:9]) for row in rows if row[8] is not None and row[8] < before]
    busy = await open_ones(link, (run.conversation for run in old))
    ended = [run for run in old if run.conversation not in busy]
    if inputs and ended:
        found = {row[0]: row[1] for row in await link.rows(INPUTS, [run.uid for run in ended])}
        ended = [run._replace(input=found.get(run.uid)) for run in ended]
    return RunsPage(ended, restarted, len(old) - len(ended), rows[-1][0] if len(rows) == limit else None)


async def prune_runs(link: Link, before: Micros, tombstones: Sequence[Tombstone], rows: int) -> PrunedRuns:
    there = {row[0]: row for row in await link.rows(LOCK, sorted(stone.uid for stone in tombstones))}
    busy = await open_ones(link, (row[2] for row in there.values()))
    over = sorted(uid for uid, row in there.items() if row[3] is not None and row[3] < before and row[2] not in busy)
    if not over:
        return PrunedRuns(0, 0, len(tombstones))
    # A history goes before its run: a very long one takes several transactions.
    facts = await link.do(FACTS, over, rows)
    left = {row[0] for row in await link.rows(LEFT, over)} if facts == rows else set[str]()
    gone = [uid for uid in over if uid not in left]
    if gone:
        for statement in REMOVE:
            await link.do(statement, gone)
        # What does not have its id any more leaves none: that belongs to another run.
        whole = {uid for uid in gone if not there[uid][1].endswith(f"~{uid}")}
        buried = [stone for stone in tombstones if stone.uid in whole]
        await link.do(BURY, *columns(Tombstone, buried))
    first_left = next((number for number, stone in enumerate(tombstones) if stone.uid in left), len(tombstones))
    return PrunedRuns(len(gone), facts, first_left)


async def prune_generations(link: Link, before: Micros, runs: Sequence[tuple[str, int]], rows: int) -> PrunedRuns:
    facts = 0
    for number, (uid, generation) in enumerate(runs):
        if facts >= rows:
            return PrunedRuns(0, facts, number)
        left = rows - facts
        removed = await link.do(EARLIER, uid, generation, before, left)
        facts += removed
        if removed == left:
            return PrunedRuns(0, facts, number)
    return PrunedRuns(0, facts, len(runs))


# --- tombstones ------------------------------------------------------------------------------------------------


async def tombstone(link: Link, id: str) -> Tombstone | None:
    row = await link.row(TOMBSTONE, id)
    return Tombstone(*row) if row is not None else None


async def tombstones(link: Link, conversation: str, limit: int) -> list[Tombstone]:
    return [Tombstone(*row) for row in await link.rows(TOMBSTONES, conversation, limit)]


async def too_late(link: Link, starts: Sequence[Run]) -> dict[str, Tombstone]:
    """Of these starts, which were written just now: those whose id belongs to a run that was pruned, by uid. They are
    taken back. One that is that very run is none: it was written, and long ago."""
    stones = {row[0]: Tombstone(*row) for row in await link.rows(TAKEN, [start.id for start in starts])}
    late = {start.uid: stones[start.id] for start in starts if start.id in stones and stones[start.id].uid != start.uid}
    if again := [start.uid for start in starts if start.id in stones]:
        await link.do(UNDO, again)
    return late


async def give_back(link: Link, retired: Sequence[tuple[str, str]]) -> None:
    """The ids of these pruned runs (uid and id), if they have failed or were cancelled, are free again."""
    await link.do(GIVE_BACK, [uid for uid, _ in retired], [id for _, id in retired])


# --- what is expected, workers ---------------------------------------------------------------------------------


async def settled_expected(link: Link, before: Micros, after: ExpectedKey, limit: int) -> ExpectedPage:
    rows = await link.rows(EXPECTED_PAGE, *after, limit)
    found = await _settled(link, rows, before)
    last: ExpectedKey | None = (rows[-1][0], rows[-1][1], rows[-1][2]) if len(rows) == limit else None
    return ExpectedPage(found, last)


async def prune_expected(link: Link, before: Micros, keys: Sequence[ExpectedKey]) -> int:
    rows = await link.rows(EXPECTED_THESE, *_columns(keys))
    gone = await _settled(link, rows, before)
    return await link.do(REMOVE_EXPECTED, *_columns(gone)) if gone else 0


async def _settled(link: Link, rows: Sequence[Sequence[object]], before: Micros) -> list[ExpectedKey]:
    old = [row for row in rows if row[3] != "open" and int(str(row[4])) < before]
    busy = await open_ones(link, (str(row[5]) for row in old)) if old else set[str]()
    return [(str(row[0]), str(row[1]), int(str(row[2]))) for row in old if row[5] not in busy]


def _columns(keys: Sequence[ExpectedKey]) -> tuple[list[str], list[str], list[int]]:
    return [key[0] for key in keys], [key[1] for key in keys], [key[2] for key in keys]


async def prune_workers(link: Link, before: Micros) -> int:
    return await link.do(WORKERS, before)
