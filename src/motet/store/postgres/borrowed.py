"""Writing through a connection that is the user's, inside the user's transaction.

Whatever driver it belongs to: `within` says what is to be asked, statement by statement, and hears the answers; who has
the connection asks (`ask` or `ask_async`). Rows travel as JSON in one text, so that every driver can bind them.

What is started waits, unowned, for whoever claims it once the user has committed. What is published goes into the
outbox: the log's lock would have to be held until the user commits. A failure of ours takes back what is ours, by a
savepoint, and leaves the user's transaction as it was.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Callable, Generator, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeVar

import msgspec

from motet.errors import StoreError, StoreRejected, StoreUnavailable, WrongPlace
from motet.model.clock import SYSTEM
from motet.model.event import EventRow
from motet.model.keyring import Keyring
from motet.model.run import Run
from motet.model.tombstone import Tombstone
from motet.store.batches import sorted_by_kind
from motet.store.changes import RUN_CHANGES
from motet.store.mutations import AppendEvent, AppendOnce, Mutation, RetireId, StartRun
from motet.store.postgres.hints import CHANNEL, PUBLISHED, STARTED
from motet.store.postgres.meaning import sqlstate_of, told
from motet.store.postgres.schema import Found, check_version
from motet.store.postgres.statements import fields, types
from motet.store.protocol import Receipt
from motet.store.sealing import check_keys

R = TypeVar("R")

_NO_TRANSACTION = "25P01"
_RUN = ", ".join(Run._fields)
_EVENT = ", ".join(EventRow._fields)

FIND_SCHEMA = "SELECT to_regclass('motet.schema') IS NOT NULL"
READ_SCHEMA = "SELECT version, oldest, identity FROM motet.schema"
SEALING = "SELECT key, proof FROM motet.sealing"
NOTE_KEY = """INSERT INTO motet.sealing (key, proof, since) VALUES ($1, $2, CAST(CAST($3 AS text) AS bigint))
    ON CONFLICT DO NOTHING RETURNING 1"""
TELL = f"SELECT pg_notify('{CHANNEL}', $1)"


class Statement(NamedTuple):
    """What is to be asked next. Each value stands at one place, and they come in their order: `$1`, `$2`, ..."""

    sql: str
    values: tuple[str, ...] = ()

    @property
    def percent(self) -> str:
        """For drivers whose places are `%s`."""
        return re.sub(r"\$\d+", "%s", self.sql.replace("%", "%%"))

    def named(self, prefix: str = "p") -> str:
        """For drivers whose places have names: `:p1`, `:p2`. (Casts are written as such, not by colons.)"""
        return re.sub(r"\$(\d+)", rf":{prefix}\1", self.sql)


Rows = Sequence[Sequence[Any]]
Steps = Generator[Statement, Rows, R]


def ask(steps: Steps[R], execute: Callable[[Statement], Rows]) -> R:
    """Have the statements executed by a driver that blocks; an error of the driver's is told to the steps, and so is
    an interruption: what is ours is taken back first."""
    try:
        statement = next(steps)
        while True:
            try:
                rows = execute(statement)
            except BaseException as error:  # tidy: the steps know what it means, and raise it
                statement = steps.throw(error)
            else:
                statement = steps.send(rows)
    except StopIteration as end:
        result: R = end.value
        return result


async def ask_async(steps: Steps[R], execute: Callable[[Statement], Awaitable[Rows]]) -> R:
    """The same by a driver that awaits."""
    try:
        statement = next(steps)
        while True:
            try:
                rows = await execute(statement)
            except BaseException as error:  # tidy: the steps know what it means, and raise it
                statement = steps.throw(error)
            else:
                statement = steps.send(rows)
    except StopIteration as end:
        result: R = end.value
        return result


def within(
    unit: list[Mutation], place: str, identity: str | None = None, keys: Keyring | None = None
) -> Steps[Receipt]:
    """Start runs and publish events inside a transaction.

    Args:
        place: the store's address, as it may be shown.
        identity: which store it is, if that is known.
        keys: those that its payloads are sealed with.

    Raises:
        WrongPlace: the connection has no transaction, or is one to another database.
        StoreRejected: a record can never be stored.
        StoreMissing, StoreRefused, StoreUnavailable.
    """
    try:
        yield Statement("SAVEPOINT motet")
    except Exception as error:
        if sqlstate_of(error) == _NO_TRANSACTION:
            raise WrongPlace(
                "conn commits each statement by itself and has no transaction now; begin one first, so that what you "
                "write and what Motet writes are one fact"
            ) from error
        raise told(error, place) from error
    try:
        yield from _check(place, identity)
        yield from _check_keys(place, keys)
        receipt = yield from _write(unit, place)
    except GeneratorExit:
        raise  # nobody asks any more: whoever gave the connection takes it back
    except (StoreError, WrongPlace):
        yield from _take_back()
        raise
    except Exception as error:
        yield from _take_back()
        raise told(error, place) from error
    except BaseException:  # cancelled or interrupted: the user's transaction may go on all the same
        with contextlib.suppress(Exception):  # as far as the connection has survived it
            yield from _take_back()
        raise
    yield Statement("RELEASE SAVEPOINT motet")
    return receipt


def _take_back() -> Steps[None]:
    yield Statement("ROLLBACK TO SAVEPOINT motet")
    yield Statement("RELEASE SAVEPOINT motet")


def _check(place: str, identity: str | None) -> Steps[None]:
    ((there,),) = yield Statement(FIND_SCHEMA)
    found: Found | None = None
    if there:
        (row,) = yield Statement(READ_SCHEMA)
        found = Found(*row)
    if identity is not None and (found is None or found.identity != identity):
        raise WrongPlace(
            f"conn is a connection to another database than the store's, {place}; what is to be one transaction must "
            "be in one database: name that one, or publish without conn="
        )
    check_version(found, place)


def _check_keys(place: str, keys: Keyring | None) -> Steps[None]:
    known = yield Statement(SEALING)
    check_keys({row[0]: row[1] for row in known}, keys, place)
    name = None if keys is None else keys.current
    if keys is not None and name is not None and name not in {row[0] for row in known}:
        yield Statement(NOTE_KEY, (name, keys.proof(name), str(SYSTEM.now())))


def _write(unit: list[Mutation], place: str) -> Steps[Receipt]:
    by_kind = sorted_by_kind([unit])
    if unknown := by_kind.keys() - {RetireId, StartRun, AppendEvent, AppendOnce}:
        raise AssertionError(f"not to be written in a user's transaction: {unknown}")
    lost: dict[str, Run] = {}
    pruned: dict[str, Tombstone] = {}
    if retired := by_kind.get(RetireId):
        yield Statement(_retire(), (_json(retired, place),))
        yield Statement(_give_back(), (_json(retired, place),))
    if starts := by_kind.get(StartRun):
        started = yield Statement(_start(), (_json([run.unowned() for run in starts], place),))
        if len(started) < len(starts):
            lost = yield from _losers(starts, {row[0] for row in started}, place)
        pruned = yield from _too_late(starts, place)
        lost |= {uid: stone.as_run() for uid, stone in pruned.items()}
    for kind in (AppendEvent, AppendOnce):
        if events := by_kind.get(kind):
            yield Statement(_publish(kind), (_json(events, place),))
    yield Statement(TELL, (PUBLISHED if by_kind.keys() & {AppendEvent, AppendOnce} else STARTED,))
    return Receipt(lost, pruned=pruned)


def _too_late(starts: list[Run], place: str) -> Steps[dict[str, Tombstone]]:
    """As `pruning.too_late`."""
    rows = yield Statement(_taken(), (_json([run.unowned() for run in starts], place),))
    stones = {row[0]: Tombstone(*row) for row in rows}
    again = [run.unowned() for run in starts if run.id in stones]
    if again:
        yield Statement(_undo(), (_json(again, place),))
    return {run.uid: stones[run.id] for run in again if stones[run.id].uid != run.uid}


def _losers(starts: list[Run], started: set[str], place: str) -> Steps[dict[str, Run]]:
    lost: dict[str, Run] = {}
    for start in starts:
        if start.uid not in started:
            rows = yield Statement(f"SELECT {_RUN} FROM motet.run WHERE id = $1", (start.id,))
            if not rows:
                raise StoreUnavailable(
                    f"store {place}: run '{start.id}' was started by somebody whom this transaction cannot see; begin "
                    "another transaction and try again"
                )
            winner = Run(*rows[0])
            if winner.uid != start.uid:
                lost[start.uid] = winner
    return lost


def _json(rows: Sequence[Any], place: str) -> str:
    try:
        return msgspec.json.encode([row._asdict() for row in rows]).decode()
    except UnicodeEncodeError as error:
        raise StoreRejected(f"store {place} refuses a record: {error}") from error


@cache
def _given(kind: type) -> str:
    named = ", ".join(f"{name} {type}" for name, type in zip(fields(kind), types(kind), strict=True))
    return f"jsonb_to_recordset(CAST(CAST($1 AS text) AS jsonb)) AS v ({named})"


@cache
def _retire() -> str:
    change, where = RUN_CHANGES[RetireId]
    return f"UPDATE motet.run SET {change} FROM {_given(RetireId)} WHERE run.uid = v.uid AND {where} RETURNING 1"


@cache
def _give_back() -> str:
    return (
        f"DELETE FROM motet.tombstone USING {_given(RetireId)} WHERE tombstone.id = v.id AND tombstone.uid = v.uid "
        "AND tombstone.state IN ('failed', 'cancelled') RETURNING 1"
    )


@cache
def _taken() -> str:
    names = ", ".join(f"tombstone.{name}" for name in Tombstone._fields)
    return f"SELECT {names} FROM motet.tombstone JOIN {_given(Run)} ON v.id = tombstone.id"


@cache
def _undo() -> str:
    return f"DELETE FROM motet.run USING {_given(Run)} WHERE run.uid = v.uid RETURNING 1"


@cache
def _start() -> str:
    head = "coalesce((SELECT max(position) FROM motet.event), 0)"
    values = ", ".join(f"v.{name}" for name in Run._fields)
    return (
        f"INSERT INTO motet.run (since, {_RUN}) SELECT {head}, {values} FROM {_given(Run)} "
        "ORDER BY v.id ON CONFLICT DO NOTHING RETURNING uid"
    )


@cache
def _publish(kind: type) -> str:
    values = ", ".join(f"v.{name}" for name in EventRow._fields)
    if kind is AppendEvent:
        return f"INSERT INTO motet.outbox ({_EVENT}) SELECT {values} FROM {_given(kind)} RETURNING 1"
    # Only those whose id nobody has published lately; from now on somebody has.
    return f"""WITH v AS (SELECT * FROM {_given(kind)}),
        fresh AS (INSERT INTO motet.published (id, at) SELECT v.id, v.recorded_at FROM v ORDER BY v.id
            ON CONFLICT DO NOTHING RETURNING id)
        INSERT INTO motet.outbox ({_EVENT}) SELECT {values} FROM v JOIN fresh ON fresh.id = v.id RETURNING 1"""
