"""The database's schema, as numbered steps: `migrations/0001_*.sql` makes the first, each later one changes the last.

Each step is one transaction under a lock of its own, which also reads and moves the version: of two processes one makes
the step and the other finds it made. A step that others have used is never edited; the next one is added.

While a new version is rolled out, programs of both run side by side. So each step says in its first line which is the
oldest schema whose programs may go on with what it makes (`-- oldest: 3`): for a step that only adds what older
programs need not know of, that is an old one. A program goes on as long as its own schema is not older than that, and
each of its batches asks anew (`STILL_SPOKEN`); from then on it writes nothing more.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from functools import cache
from importlib import resources
from typing import NamedTuple

from motet.errors import StoreMissing, StoreRefused, StoreUnavailable
from motet.store.postgres.connections import Connections
from motet.store.postgres.link import Link
from motet.store.postgres.meaning import sqlstate_of

_MIGRATING = 0x4D6F7401  # advisory locks of ours: "Mot" and a number
_LOCK_TIMEOUT = "55P03"
LOCKING_SECONDS = 2
ATTEMPTS = 30


class Step(NamedTuple):
    """What leads to one version."""

    script: str
    oldest: int


class Found(NamedTuple):
    """Which schema a database has, the oldest whose programs may use it, and which store this is."""

    version: int
    oldest: int
    identity: str


@cache
def steps() -> tuple[Step, ...]:
    """The first leads to schema 1."""
    folder = resources.files("motet.store.postgres").joinpath("migrations")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1)), f"a step is missing among {names}"
    return tuple(_step(name, folder.joinpath(name).read_text(encoding="utf-8")) for name in names)


def _step(name: str, script: str) -> Step:
    said = re.match(r"-- oldest: (\d+)\n", script)
    assert said is not None, f"{name} does not say in its first line which is the oldest schema that may go on"
    return Step(script, int(said[1]))


SCHEMA_VERSION = len(steps())
"""The schema that this program speaks."""

STILL_SPOKEN = f"(SELECT oldest FROM motet.schema) <= {SCHEMA_VERSION}"
"""The condition that this program may go on; for the statement that begins a worker's batch."""


async def migrate(connections: Connections) -> None:
    """Create the tables in a database that has none of them, or bring those of an earlier Motet up to date.

    Raises:
        StoreRefused: a schema `motet` of something else; one that is newer than this program and not for it.
        StoreUnavailable: somebody holds a lock on the tables for long; nothing is half done.
    """
    attempts = 0
    while True:
        try:
            if not await _migrate_one(connections):
                return
        except StoreUnavailable as error:
            attempts += 1
            if sqlstate_of(error) != _LOCK_TIMEOUT or attempts == ATTEMPTS:
                raise
            await asyncio.sleep(LOCKING_SECONDS)  # tidy: whoever holds the lock is to get on first


async def _migrate_one(connections: Connections) -> bool:
    """Go one version on; False when there is nothing left to do. The lock that a step needs is not waited for long:
    behind whoever waits for it, everybody else would stand in line."""
    async with connections.transaction(f"SELECT pg_advisory_xact_lock({_MIGRATING})") as (link, _):
        found = await read_version(link)
        number = found.version if found is not None else 0
        if number >= SCHEMA_VERSION:
            return False
        step = steps()[number]
        if found is None:
            await _make_room(link, connections.address.shown)
            await link.script(step.script)
            await link.do("INSERT INTO motet.schema VALUES (1, $1, $2)", step.oldest, secrets.token_hex(16))
        else:
            await link.script(f"SET LOCAL lock_timeout = '{LOCKING_SECONDS}s'; {step.script}")
            await link.do("UPDATE motet.schema SET version = $1, oldest = $2", number + 1, step.oldest)
        return number + 1 < SCHEMA_VERSION


async def _make_room(link: Link, place: str) -> None:
    if not await link.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'motet'"):
        await link.script("CREATE SCHEMA motet")  # whoever may not create schemas has had one made for it
    taken = await link.value(
        "SELECT string_agg(relname, ', ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'motet'::regnamespace"
    )
    if taken:
        raise StoreRefused(
            f"the database {place} has a schema 'motet' of something else, with {taken}; choose another database"
        )


async def read_version(link: Link) -> Found | None:
    """None: there is no store in the database yet."""
    if await link.value("SELECT to_regclass('motet.schema') IS NULL"):
        return None
    row = await link.row("SELECT version, oldest, identity FROM motet.schema")
    return Found(*row) if row is not None else None


def check_version(found: Found | None, place: str) -> Found:
    """Raises StoreMissing: there is no store in it. Raises StoreRefused: this program cannot use it."""
    if found is None:
        raise StoreMissing(
            f"there is no store at {place} yet; start a worker to make one there, or run 'motet migrate'"
        )
    if found.version < SCHEMA_VERSION:
        raise StoreRefused(
            f"{place} has schema {found.version}, this program speaks schema {SCHEMA_VERSION}; a look at a store never "
            "changes it: run 'motet migrate', or start a worker of this Motet, which brings the store up to date"
        )
    if found.oldest > SCHEMA_VERSION:
        raise newer(place, found)
    return found


def newer(place: str, found: Found) -> StoreRefused:
    """This program is too old."""
    return StoreRefused(
        f"{place} has schema {found.version}, which programs of schema {found.oldest} and later understand; this one "
        f"speaks schema {SCHEMA_VERSION}: a newer Motet has brought it up to date; upgrade Motet here and start anew"
    )
