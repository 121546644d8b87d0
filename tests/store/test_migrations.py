"""Migrations: an older store becomes what a new one is, whoever else migrates it and whenever the process dies."""

import multiprocessing
import os
import shutil
import sqlite3
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from motet.errors import StoreRefused
from motet.model.clock import SYSTEM
from motet.store.sqlite import SqliteStore, schema
from motet.store.sqlite.schema import SCHEMA_VERSION, check_schema, migrate
from motet.testing.conformance.records import a_run, a_worker
from motet.testing.conformance.setting import a_ticket

KEPT = Path(__file__).parents[1] / "data" / "stores"
FILES = sorted(KEPT.glob("schema_*.motet"))
PATIENCE_SECONDS = 60
ROUNDS = 25

spawning = multiprocessing.get_context("spawn")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the store of the first release."""
    return Path(shutil.copy(KEPT / "schema_1.motet", tmp_path / "motet.db"))


def version_of(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        version: int = connection.execute("SELECT version FROM schema").fetchone()[0]
    connection.close()
    return version


def tables(path: Path) -> list[tuple[str, str, str]]:
    """What the file says of itself, without differences in spaces."""
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master ORDER BY type, name")
        found = [(kind, name, " ".join(sql.split())) for kind, name, sql in rows]
    connection.close()
    return found


def content(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row, by the columns that the first schema had."""
    columns = {
        table: ", ".join(name for (name,) in first.execute("SELECT name FROM pragma_table_info(?)", (table,)))
        for first in [sqlite3.connect(KEPT / "schema_1.motet")]
        for (table,) in first.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'schema'")
    }
    with sqlite3.connect(path) as connection:
        found = {
            table: connection.execute(f"SELECT {names} FROM {table} ORDER BY 1, 2").fetchall()
            for table, names in columns.items()
        }
    connection.close()
    return found


async def opened(path: Path, *, create: bool = True) -> None:
    store = SqliteStore(str(path), SYSTEM)
    await store.open(create=create)
    await store.close()


# --- one process ------------------------------------------------------------------------------------------------


def test_every_schema_that_was_ever_released_is_kept() -> None:
    assert [file.name for file in FILES] == [f"schema_{number}.motet" for number in range(1, len(FILES) + 1)]
    assert [version_of(file) for file in FILES] == list(range(1, len(FILES) + 1))
    assert len(FILES) == SCHEMA_VERSION, "make a store of this schema while it is new: tests/data/stores/README.md"


@pytest.mark.parametrize("kept", FILES, ids=lambda path: path.stem)
async def test_an_older_store_becomes_what_a_new_one_is(kept: Path, tmp_path: Path) -> None:
    old, new = Path(shutil.copy(kept, tmp_path / "old.db")), tmp_path / "new.db"
    before = content(old)
    await opened(old)
    await opened(new)
    assert version_of(old) == version_of(new) == SCHEMA_VERSION
    assert tables(old) == tables(new)
    assert content(old) == before, "every row is there as it was"


async def test_a_look_never_migrates(old: Path) -> None:
    before = old.read_bytes()
    told = f"has schema 1, this program speaks schema {SCHEMA_VERSION}; .* start a worker of this Motet"
    with pytest.raises(StoreRefused, match=told):
        await opened(old, create=False)
    assert old.read_bytes() == before
    await opened(old)
    await opened(old, create=False)


async def test_an_older_program_refuses_a_newer_store(tmp_path: Path) -> None:
    path = tmp_path / "motet.db"
    await opened(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE schema SET version = 99")
    connection.close()
    told = f"has schema 99, this program speaks schema {SCHEMA_VERSION}: .*; upgrade Motet here and start anew, or use"
    for create in (True, False):
        with pytest.raises(StoreRefused, match=told):
            await opened(path, create=create)
    assert version_of(path) == 99


async def test_a_program_that_has_it_open_writes_nothing_more(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "motet.db"), SYSTEM)
    await store.open(create=True)
    try:
        await store.commit([[a_run("before")]], a_ticket())
        with sqlite3.connect(store.path) as connection:
            connection.execute("UPDATE schema SET version = 99")
        connection.close()
        with pytest.raises(StoreRefused, match=f"has schema 99, this program speaks schema {SCHEMA_VERSION}: .* anew"):
            await store.commit([[a_run("after")]], a_ticket())
        with pytest.raises(StoreRefused, match="has schema 99"):
            await store.register(a_worker(), {}, 0)
        assert await store.counts() == {"pending": 1}, "it may still be looked at"
    finally:
        await store.close()


def test_a_step_that_fails_changes_nothing(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, *later = schema.migrations()
    broken = (first, second + "CREATE TABLE half (x);\nCREATE TABLE half (x);\n", *later)
    before = tables(old)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "migrations", lambda: broken)
        connection = sqlite3.connect(old, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="already exists"):
            migrate(connection, "old")
    assert not connection.in_transaction
    assert (version_of(old), tables(old)) == (1, before)
    migrate(connection, "old")
    connection.close()
    assert version_of(old) == SCHEMA_VERSION


# --- many processes ---------------------------------------------------------------------------------------------


def open_at_once(path: str, together: Barrier, rounds: int) -> None:
    """Migrate each round's copy at the same moment as the other processes."""
    import asyncio

    for number in range(rounds):
        together.wait(PATIENCE_SECONDS)
        asyncio.run(opened(Path(f"{path}-{number}")))


def test_many_may_migrate_at_once(old: Path) -> None:
    for number in range(ROUNDS):
        if number % 5 != 4:  # every fifth store is a new one, which they all create at once
            shutil.copy(old, f"{old}-{number}")
    before = content(old)
    together = spawning.Barrier(3)
    processes = [spawning.Process(target=open_at_once, args=(str(old), together, ROUNDS)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_SECONDS)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    found = [tables(Path(f"{old}-{number}")) for number in range(ROUNDS)]
    assert all(each == found[0] for each in found)
    assert {version_of(Path(f"{old}-{number}")) for number in range(ROUNDS)} == {SCHEMA_VERSION}
    assert content(Path(f"{old}-0")) == before


def die_at(path: str, statement: int) -> None:
    """Migrate, and end as `kill -9` would when the given statement begins."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    begun = 0

    def count(_text: str) -> None:
        nonlocal begun
        begun += 1
        if begun == statement:
            os._exit(137)

    connection.set_trace_callback(count)
    migrate(connection, path)
    os._exit(0)


def test_a_kill_leaves_one_version_or_the_other(old: Path, tmp_path: Path) -> None:
    before, rows = {version_of(file): tables(file) for file in FILES}, content(old)
    whole = Path(shutil.copy(old, tmp_path / "whole.db"))
    connection = sqlite3.connect(whole, isolation_level=None)
    migrate(connection, "whole")
    connection.close()
    before[SCHEMA_VERSION] = tables(whole)
    seen: set[int] = set()
    for statement in range(1, 200):
        copy = Path(shutil.copy(old, tmp_path / f"killed-{statement}.db"))
        process = multiprocessing.get_context("fork").Process(target=die_at, args=(str(copy), statement))
        process.start()
        process.join(PATIENCE_SECONDS)
        if process.exitcode == 0:
            break
        assert process.exitcode == 137
        version = version_of(copy)
        seen.add(version)
        assert tables(copy) == before[version]
        assert content(copy) == rows
        survivor = sqlite3.connect(copy, isolation_level=None)
        migrate(survivor, "killed")
        check_schema(survivor, "killed")
        survivor.close()
        assert tables(copy) == before[SCHEMA_VERSION]
    else:
        pytest.fail("the migration never came to its end")
    assert statement > 8, "it was killed at every statement"
    assert seen >= {1}
