"""The file: whose it is, what is asked of SQLite, when the log is brought home, and what happens when it vanishes."""

import asyncio
import fcntl
import os
import shutil
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path

import pytest

from motet.errors import StoreMissing, StoreRefused, StoreUnavailable
from motet.model.clock import SYSTEM
from motet.store.protocol import RunFence, Store
from motet.store.sqlite import SqliteStore, writing
from motet.store.sqlite.lock import FileLock
from motet.testing.conformance.records import a_run, an_event, owned_run
from motet.testing.conformance.setting import Scribe, a_ticket
from tests.store.between import Rig, rig, until


async def write(store: Store, id: str = "r", **changes: object) -> None:
    await store.commit([[a_run(id, **changes)]], a_ticket())


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[SqliteStore]:
    store = SqliteStore(str(tmp_path / "motet.db"), SYSTEM)
    await store.open(create=True)
    yield store
    await store.close()


def connection_of(store: SqliteStore) -> sqlite3.Connection:
    assert store._writer is not None and store._writer._connection is not None
    return store._writer._connection


def folder_of(store: SqliteStore) -> list[str]:
    return sorted(path.name for path in Path(store.path).parent.iterdir())


# --- settings ---------------------------------------------------------------------------------------------------


async def test_what_is_asked_of_sqlite(store: SqliteStore) -> None:
    connection = connection_of(store)

    def pragma(name: str) -> object:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]

    assert pragma("journal_mode") == "wal"
    assert pragma("synchronous") == 2, "FULL: with NORMAL a commit succeeds although its fsync fails"
    assert pragma("wal_autocheckpoint") == 0, "checkpoints are made under the lock only"
    assert pragma("busy_timeout") == 5000


async def test_who_reads_cannot_write(store: SqliteStore) -> None:
    with pytest.raises(StoreRefused, match="cannot be written"):
        await store._read(lambda connection: connection.execute("DELETE FROM run"))


async def test_who_only_reads_leaves_nothing_behind(store: SqliteStore) -> None:
    await write(store)
    await store.close()
    os.unlink(store.path + "-lock")
    before = folder_of(store)
    reader = SqliteStore(store.path, SYSTEM)
    await reader.open(create=False)
    assert await reader.run("r") is not None
    await reader.changed()
    await reader.close()
    assert folder_of(store) == before == ["motet.db"]


async def test_a_store_is_opened_once(store: SqliteStore) -> None:
    with pytest.raises(StoreRefused, match="is open already"):
        await store.open(create=True)


# --- whose file it is -------------------------------------------------------------------------------------------


async def test_text_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary, " * 1000)
    for create in (True, False):
        with pytest.raises(StoreRefused, match="is not a SQLite database; choose another path"):
            await SqliteStore(str(path), SYSTEM).open(create=create)
    assert path.read_text() == "dear diary, " * 1000


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("CREATE TABLE schema (version INTEGER)", ", and what it calls schema is in the way of a store"),
        ("CREATE TABLE person (name TEXT); CREATE INDEX event_key ON person (name)", ", and what it calls event_key"),
        ("PRAGMA application_id = 0x47504B47; CREATE TABLE place (x)", "; choose another path for the store"),
    ],
)
async def test_the_database_of_something_else_is_left_alone(tmp_path: Path, statement: str, reason: str) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as theirs:
        theirs.executescript(statement)
    for create in (True, False):
        with pytest.raises(StoreRefused, match=f"is a database of something else{reason}"):
            await SqliteStore(str(path), SYSTEM).open(create=create)


async def test_a_database_of_the_users_own_takes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as theirs, theirs:
        theirs.execute("CREATE TABLE person (name TEXT)")
        theirs.execute("INSERT INTO person VALUES ('Ada')")
    with pytest.raises(StoreMissing, match="there is no store in the database .*theirs.db yet; start a worker"):
        await SqliteStore(str(path), SYSTEM).open(create=False)
    for create in (True, False):
        store = SqliteStore(str(path), SYSTEM)
        await store.open(create=create)
        if create:
            await write(store, "mine")
        await store.close()
    with closing(sqlite3.connect(path)) as theirs:
        assert theirs.execute("SELECT name FROM person").fetchall() == [("Ada",)]
        assert theirs.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_an_empty_database_is_no_store_yet(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    with sqlite3.connect(path) as empty:
        empty.execute("CREATE TABLE t (x)")
        empty.execute("DROP TABLE t")
    empty.close()
    with pytest.raises(StoreMissing, match="there is no store in the database .*empty.db yet; start a worker"):
        await SqliteStore(str(path), SYSTEM).open(create=False)
    store = SqliteStore(str(path), SYSTEM)
    await store.open(create=True)
    await store.close()


# --- the file under our feet ------------------------------------------------------------------------------------


async def test_a_removed_file_takes_nothing_and_is_not_made_anew(store: SqliteStore, tmp_path: Path) -> None:
    await write(store, "before")
    aside = tmp_path / "aside.db"
    for end in ("", "-wal", "-shm"):
        os.rename(store.path + end, str(aside) + end)
    with pytest.raises(StoreUnavailable, match="has been removed since it was opened; put it back, or restart"):
        await write(store, "meanwhile")
    assert "motet.db" not in folder_of(store)
    for end in ("", "-wal", "-shm"):
        os.rename(str(aside) + end, store.path + end)
    await write(store, "after")
    assert await store.counts() == {"pending": 2}


async def test_another_file_in_its_place_takes_nothing(store: SqliteStore, tmp_path: Path) -> None:
    other = SqliteStore(str(tmp_path / "other.db"), SYSTEM)
    await other.open(create=True)
    await other.close()
    os.replace(other.path, store.path)
    with pytest.raises(StoreUnavailable, match="has been replaced by another file since it was opened"):
        await write(store)


async def test_a_worker_waits_for_its_file(tmp_path: Path) -> None:
    async with rig(tmp_path) as found:
        await found.register()
        path, aside = tmp_path / "motet.db", tmp_path / "aside"
        path.rename(aside)
        found.submit("a", an_event())
        await until(lambda: found.committer.away_since)
        assert found.told == []
        aside.rename(path)
        assert await found.settled() == ["a"]
        assert len(await found.store.events(0, 10)) == 1


async def test_a_removed_lock_file_is_taken_anew_by_all(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    one, other = FileLock(path), FileLock(path)
    with one:
        os.unlink(path)
        with other:
            assert os.fstat(other._fd or 0).st_ino == os.stat(path).st_ino
    with one:
        assert os.fstat(one._fd or 0).st_ino == os.stat(path).st_ino, "the old one would exclude nobody"
    one.close()
    other.close()


# --- the log ----------------------------------------------------------------------------------------------------


def log_size(store: SqliteStore) -> int:
    try:
        return os.stat(store.path + "-wal").st_size
    except FileNotFoundError:
        return 0


@pytest.fixture
def small_log(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(writing, "CHECKPOINT_BYTES", 256 * 1024)
    return 256 * 1024


async def test_the_log_is_brought_home_under_the_lock(small_log: int, store: SqliteStore, monkeypatch) -> None:
    made: list[str] = []
    checkpoint = writing.Writer._checkpoint

    def watched(self, connection, mode):
        made.append(mode)
        fd = os.open(store.path + "-lock", os.O_RDWR)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(fd)
        return checkpoint(self, connection, mode)

    monkeypatch.setattr(writing.Writer, "_checkpoint", watched)
    sizes: list[int] = []
    for number in range(60):
        await write(store, f"r{number}", input="x" * 50_000)
        sizes.append(log_size(store))
    assert max(sizes) < small_log + 100_000
    assert made.count("TRUNCATE") > 5
    await store.close()
    assert made[-1] == "TRUNCATE", "closing brings it home too"
    assert folder_of(store) == ["motet.db", "motet.db-lock"]


async def test_a_long_reader_delays_the_log_but_no_writer(small_log: int, store: SqliteStore) -> None:
    await write(store, "first")
    reader = sqlite3.connect(store.path, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM run").fetchone() == (1,)
    for number in range(30):
        await write(store, f"r{number}", input="x" * 50_000)
    grown = log_size(store)
    assert grown > 2 * small_log, "what the reader may still need is kept"
    assert reader.execute("SELECT count(*) FROM run").fetchone() == (1,), "it sees its own moment"
    reader.execute("COMMIT")
    reader.close()
    for number in range(30):
        await write(store, f"s{number}", input="x" * 50_000)
    assert log_size(store) < grown, "once it is gone the log is cut"


async def test_trouble_with_the_log_is_no_news_of_the_commit(
    small_log: int, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = os.stat

    def vanishing(path, *args, **kwargs):
        if str(path).endswith("-wal"):
            raise FileNotFoundError(path)
        return stat(path, *args, **kwargs)

    monkeypatch.setattr(writing.os, "stat", vanishing)
    await write(store, "r")
    monkeypatch.undo()
    assert await store.run("r") is not None


async def test_a_copy_without_the_log_is_older_but_sound(store: SqliteStore, tmp_path: Path) -> None:
    """What an operator's `cp` of the bare file gives: not the latest, which is why there is `motet backup`."""
    await write(store, "r")
    bare = tmp_path / "bare.db"
    shutil.copy(store.path, bare)
    copy = sqlite3.connect(bare)
    assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    copy.close()
    backup = tmp_path / "backup.db"
    await store.backup(str(backup))
    assert folder_of(store) == ["backup.db", "bare.db", "motet.db", "motet.db-lock", "motet.db-shm", "motet.db-wal"]
    copy = sqlite3.connect(backup)
    assert copy.execute("SELECT id FROM run").fetchall() == [("r",)]
    copy.close()


async def test_findings(store: SqliteStore, tmp_path: Path) -> None:
    os.link(store.path, tmp_path / "second.db")
    found = "\n".join(await store.findings())
    assert "has 2 names (hard links)" in found
    if sqlite3.sqlite_version_info < (3, 51, 3):
        assert "can corrupt a file when checkpoints race with writers" in found


async def test_damage_is_found(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "motet.db"), SYSTEM)
    await store.open(create=True)
    for number in range(200):
        await write(store, f"r{number}", input="x" * 1000)
    await store.close()
    hurt(store.path)
    broken = SqliteStore(store.path, SYSTEM)
    await broken.open(create=False)
    assert any(finding.startswith("integrity:") for finding in await broken.findings())
    await broken.close()


def hurt(path: str) -> None:
    """Overwrite a page in the middle."""
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) // 2 // 4096 * 4096)
        file.write(b"\xff" * 4096)


async def test_tickets_are_kept_in_a_window(client: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "TICKETS_KEPT", 10)
    for _ in range(25):
        await client.committer.write([an_event()])
    store = client.store
    assert isinstance(store, SqliteStore)
    assert await store._read(lambda connection: connection.execute("SELECT count(*) FROM ticket").fetchone()) == (10,)


async def test_a_rollback_that_has_begun_frees_the_lock_although_all_tasks_are_cancelled(store: SqliteStore) -> None:
    """As `asyncio.run` does at its end, in a process that lives on."""
    worker = await Scribe.register(store)
    run = owned_run(worker.id)
    await worker.write(run)
    transaction = store.step_transaction(RunFence(run.uid, run.epoch, worker.id))
    await transaction.begin()
    rolling_back = asyncio.create_task(transaction.roll_back())
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.wait([rolling_back])
    async with asyncio.timeout(20):
        await write(store, "next")
