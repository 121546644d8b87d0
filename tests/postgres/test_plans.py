"""How PostgreSQL goes about our statements: by keys and partial indexes, never through a whole table.

Asked in the way in which a worker's connection asks: with a plan that is made once, before anything is known of what
the tables hold. Such a plan stays the same however large they grow.
"""

from __future__ import annotations

import itertools
import re

import asyncpg

from motet.store.mutations import (
    KIND_NAMES,
    KINDS,
    AppendEvent,
    AppendOnce,
    DropDelivery,
    EndRun,
    EndWait,
    EnterState,
    KeepDelivery,
    RegisterWait,
    ReleaseRun,
)
from motet.store.postgres import (
    applying,
    claiming,
    counting,
    delivering,
    expecting,
    finding,
    following,
    log,
    owning,
    reading,
    statements,
    transacting,
    waiting,
    writing,
)
from motet.store.protocol import Ticket

STATED = [kind for kind in KINDS if kind not in (AppendEvent, AppendOnce, RegisterWait, EndWait)]

# Of these tables a store holds a handful of rows; of the inbox, what owners have not taken yet.
SMALL = {"inbox", "worker", "queue", "cursor", "schema", "waited_type", "knows", "catalog"}

HOT = {
    "refusing EnterState": statements.refusing(EnterState),
    "refusing EndRun": statements.refusing(EndRun),
    "refusing ReleaseRun": statements.refusing(ReleaseRun),
    "contradicting": statements.contradicting(),
    "not owned": statements.not_owned(KeepDelivery),
    "not owned, dropped": statements.not_owned(DropDelivery),
    "not missed": statements.not_missed(),
    "publish once": applying.PUBLISH_ONCE,
    "forget ids": applying.FORGET_IDS,
    "have waits": applying.HAVE_WAITS,
    "winners": applying.WINNERS,
    "lock": log.LOCK,
    "append": log.APPEND,
    "move": log.MOVE,
    "waiting runs": waiting.RUNS,
    "register": waiting.REGISTER,
    "earliest": waiting.EARLIEST,
    "waiting": waiting.WAITING,
    "taken": waiting.TAKEN,
    "end": waiting.END,
    "end all": waiting.END_ALL,
    "ticket": writing.take_ticket(Ticket("a")),
    "forget tickets": writing.FORGET_TICKETS,
    "receipt": writing.RECEIPT,
    "free runs": owning.FREE_RUNS,
    "lines": claiming.LINES,
    "due": claiming.DUE,
    "look": claiming.LOOK,
    "take from one": claiming.TAKE_FROM_ONE,
    "told": claiming.TOLD,
    "to tell": claiming.TO_TELL,
    "crowded": claiming.CROWDED,
    "places": claiming.PLACES,
    "take": claiming.TAKE,
    "run": reading.RUN,
    "outcomes": reading.OUTCOMES,
    "missing": reading.MISSING,
    "histories": reading.HISTORIES,
    "inbox": reading.INBOX,
    "events": reading.EVENTS,
    "events at": reading.EVENTS_AT,
    "events of": reading.EVENTS_OF,
    "headings": reading.HEADINGS,
    "owned": reading.OWNED,
    "recorded behind": finding.RECORDED_BEHIND,
    "head": following.HEAD,
    "recorded": following.RECORDED,
    "forget done": delivering.FORGET_DONE,
    "under way": delivering.BY_REACTION,
    "expected": expecting.FOR_KEYS["all"],
    "expected unsettled": expecting.FOR_KEYS["unsettled"],
    "expected early": expecting.FOR_KEYS["early"],
    "expected open": expecting.OPEN,
    "not come": expecting.NOT_COME,
    "loads": counting.LOADS,
    "states": counting.STATES,
    "open due": counting.DUE,
    "hold run": transacting.HOLD_RUN,
    "is recorded": transacting.RECORDED,
}


# Along a partial index, which holds what is open and nothing else; whether there is anything at all.
WALKED = {"lock": {"outbox"}, "loads": {"run"}, "states": {"run"}, "not come": {"expected"}}


async def plan(server: asyncpg.Connection, sql: str) -> str:
    places = len(set(re.findall(r"\$\d+", sql)))
    await server.execute(f"PREPARE asked AS {sql}")
    nothing = f"({', '.join(['NULL'] * places)})" if places else ""
    rows = await server.fetch(f"EXPLAIN EXECUTE asked{nothing}")
    await server.execute("DEALLOCATE asked")
    return "\n".join(row[0] for row in rows)


def scanned(steps: str) -> set[str]:
    """The tables that the plan walks through: row by row, or along an index from its beginning and for no LIMIT."""
    found = set(re.findall(r"Seq Scan on (\w+)", steps))
    lines = steps.split("\n")
    for number, line in enumerate(lines):
        index = re.search(r"Index (?:Only )?Scan (?:Backward )?using \w+ on (\w+)", line)
        if index is None:
            continue
        own = itertools.takewhile(lambda later: "->" not in later and ":" in later, lines[number + 1 :])
        above = " ".join(lines[max(number - 2, 0) : number])
        if not any("Index Cond" in detail for detail in own) and "Limit" not in above:
            found.add(index[1])
    return found - SMALL


async def test_no_mutation_walks_through_a_table(server: asyncpg.Connection) -> None:
    for kind in STATED:
        steps = await plan(server, statements.statement(kind))
        assert scanned(steps) == set(), f"{KIND_NAMES[kind]}:\n{steps}"


async def test_nor_does_anything_else_that_a_worker_asks(server: asyncpg.Connection) -> None:
    for name, sql in HOT.items():
        steps = await plan(server, sql)
        assert scanned(steps) == WALKED.get(name, set()), f"{name}:\n{steps}"


async def test_lines_and_waits_are_found_by_whole_keys(server: asyncpg.Connection) -> None:
    lines = await plan(server, claiming.LINES)
    jump = r"Index Cond: \(ROW\(queue, workflow, version, priority\) > ROW\(line(_\d)?.queue, .*priority\)\)"
    assert lines.count("Index Only Scan using run_due") + lines.count("Index Scan using run_due") == 2
    assert re.search(jump, lines), lines
    assert "Sort" not in lines
    due = await plan(server, claiming.DUE)
    assert re.search(r"Index Cond: \(\(queue = .*workflow = .*version = .*priority = .*wake_at <= ", due), due
    assert "Sort" not in due
    earliest = await plan(server, waiting.EARLIEST)
    assert re.search(r"event_key_pkey.*\n.*Index Cond: \(\(type = .*key = .*position.? > ", earliest), earliest
    assert "Sort" not in earliest
    waits = await plan(server, waiting.WAITING)
    assert re.search(r"using wait_for.*\n.*Index Cond: \(\(type = .*key = ", waits), waits
    story = await plan(server, reading.EVENTS_OF)
    assert re.search(r"using event_conversation.*\n.*correlationid = .*position.? > ", story), story
    assert "Sort" not in story


async def test_all_text_is_compared_by_its_bytes(server: asyncpg.Connection) -> None:
    """Whatever the database's own collation is, two ids are one only if they are the same."""
    other = await server.fetch(
        """SELECT attrelid::regclass::text, attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        JOIN pg_collation ON pg_collation.oid = attcollation
        WHERE relnamespace = 'motet'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
        AND collname <> 'C' AND (attrelid::regclass::text, attname) <> ('motet.schema', 'identity')"""
    )
    assert [tuple(row) for row in other] == []
