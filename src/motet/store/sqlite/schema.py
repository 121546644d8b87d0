"""The file's schema, as numbered steps: `migrations/0001_*.sql` makes the first, each later one changes the last.

A new store goes through all steps, an older one through those that it lacks; so both come to the same. Each step is
one transaction that also reads and moves the version, under the writers' lock: of two processes one makes the step
and the other finds it made, and a process that dies in the middle leaves the version that was there. A new store's
steps are one transaction: who looks for it finds none, or a whole one.

Only who opens a store for its work migrates it. A program that has it open and finds it migrated writes nothing more.
A step that others have used is never edited; the next one is added.
"""

from __future__ import annotations

import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from functools import cache
from importlib import resources

from motet.errors import StoreMissing, StoreRefused
from motet.store.sqlite.connection import connect, unavailable

APPLICATION_ID = 0x4D6F7465  # "Mote": in the file's header, where `file` and others can see whose it is


@cache
def migrations() -> tuple[str, ...]:
    """The steps' scripts; the first leads to schema 1."""
    folder = resources.files("motet.store.sqlite").joinpath("migrations")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1)), f"a step is missing among {names}"
    return tuple(folder.joinpath(name).read_text(encoding="utf-8") for name in names)


SCHEMA_VERSION = len(migrations())
"""The schema that this program speaks."""


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Create the tables in a file that has none of them, or bring those of an earlier Motet up to date. The caller
    holds the writers' lock.

    Raises:
        StoreRefused: the file is the database of a program with a mark of its own, or has other tables by our names;
            or a schema that is newer than this program.
    """
    while _step(connection, path):
        pass


def _step(connection: sqlite3.Connection, path: str) -> bool:
    """Go one version on; False when there is nothing left to do."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection, path)
        if version == 0:
            for script in migrations():
                _run(connection, script)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute("INSERT INTO schema VALUES (?)", (SCHEMA_VERSION,))
        elif version < SCHEMA_VERSION:
            _run(connection, migrations()[version])
            connection.execute("UPDATE schema SET version = ?", (version + 1,))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return 0 < version < SCHEMA_VERSION


def _run(connection: sqlite3.Connection, script: str) -> None:
    for statement in _statements(script):
        connection.execute(statement)


def _statements(script: str) -> Iterator[str]:
    """One by one: the driver's own `executescript` would commit before it begins."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    assert not statement.strip(), f"a script ends in the middle of a statement: {statement}"


def check_unchanged(connection: sqlite3.Connection, path: str) -> None:
    """Inside a transaction that is to write. Raises StoreRefused: a newer Motet has migrated the store meanwhile."""
    (version,) = connection.execute("SELECT version FROM schema").fetchone()
    if version != SCHEMA_VERSION:
        raise _newer(path, version)


def check_schema(connection: sqlite3.Connection, path: str) -> None:
    """Raises StoreMissing: there is no store in it. Raises StoreRefused: this program cannot use the file."""
    version = _version(connection, path)
    if not version:
        raise StoreMissing(f"there is no store in the database {path} yet; start a worker to make one there")
    if version < SCHEMA_VERSION:
        raise StoreRefused(
            f"{path} has schema {version}, this program speaks schema {SCHEMA_VERSION}; a look at a store never "
            "changes it: start a worker of this Motet, which brings the store up to date, then try again"
        )


def found_version(path: str) -> int | None:
    """The schema of the file's store; None: there is none in it. Raises StoreRefused, StoreUnavailable."""
    if not os.path.exists(path):
        return None
    connection = connect(path, create=False, readonly=True)
    try:
        return _version(connection, path, newest=sys.maxsize) or None
    except sqlite3.Error as error:
        raise unavailable(path, error) from error
    finally:
        connection.close()


def _version(connection: sqlite3.Connection, path: str, newest: int | None = None) -> int:
    """0: there is no store in it yet. Raises StoreRefused: something else, or newer than this program."""
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application == 0:
        _check_room(tables, path)
        return 0
    row = connection.execute("SELECT version FROM schema").fetchone() if "schema" in tables else None
    if application != APPLICATION_ID or row is None:
        raise StoreRefused(f"{path} is a database of something else; choose another path for the store")
    version = int(row[0])
    if version > (newest or SCHEMA_VERSION):
        raise _newer(path, version)
    return version


def _check_room(names: set[str], path: str) -> None:
    """A database that its user has made is welcome: what is written there and here can be one transaction."""
    if taken := sorted(names & _our_names()):
        raise StoreRefused(
            f"{path} is a database of something else, and what it calls {', '.join(taken)} is in the way of a store; "
            "choose another path for the store"
        )


@cache
def _our_names() -> frozenset[str]:
    """Of all tables and indexes that a store has or has had."""
    return frozenset(re.findall(r"(?:TABLE|INDEX) (\w+)", "".join(migrations())))


def _newer(path: str, version: int) -> StoreRefused:
    return StoreRefused(
        f"{path} has schema {version}, this program speaks schema {SCHEMA_VERSION}: a newer Motet has brought it up to "
        "date; upgrade Motet here and start anew, or use the newer one that is installed elsewhere"
    )
