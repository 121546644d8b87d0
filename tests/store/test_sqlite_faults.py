"""Real faults on a real file: a stranger's lock, a stopped neighbour, a full disk, a failing fsync, kill -9, a fork.

Each tells the same of us: what was not durable was not acknowledged, we waited and went on, there is one copy of it.
"""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from motet.errors import StoreMissing, StoreUnavailable
from motet.model.clock import SYSTEM
from motet.store.sqlite import SqliteStore, connection
from motet.store.sqlite import store as store_module
from motet.testing.conformance.records import a_run, an_event
from motet.testing.conformance.setting import a_ticket
from tests.store.between import rig, until

ROOT = Path(__file__).parent.parent.parent


def stored(folder: Path) -> list[str]:
    """The events in the store, by another's eyes."""
    found = sqlite3.connect(folder / "motet.db")
    assert found.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    rows = [row[0].strip('"') for row in found.execute("SELECT data FROM event ORDER BY position")]
    found.close()
    return rows


class Child:
    """Another process of ours, spoken to line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def says(self, start: str) -> str:
        """Its next line, which begins so."""
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            line = (await self.process.stdout.readline()).decode().strip()
        assert line.startswith(start), f"{line!r} instead of {start!r}"
        return line

    def tell(self, *lines: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("".join(f"{line}\n" for line in lines).encode())

    async def ends(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(30):
            return await self.process.wait()


@asynccontextmanager
async def child(*arguments: str, **environment: str) -> AsyncGenerator[Child]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
        env={**os.environ, **environment},
    )  # fmt: skip
    try:
        yield Child(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        process._transport.close()  # type: ignore[attr-defined]


# --- locks ------------------------------------------------------------------------------------------------------

STRANGER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
print("free", flush=True)
"""


async def test_locked_by_a_stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.01)
    async with rig(tmp_path) as found:
        await found.register()
        async with child("-c", STRANGER, str(tmp_path / "motet.db")) as stranger:
            await stranger.says("locked")
            found.submit("a", an_event("a"))
            await until(lambda: found.committer.away_since)
            assert found.told == []
            with pytest.raises(StoreUnavailable, match="database is locked"):
                await found.store.commit([[an_event()]], a_ticket())
            assert await found.store.counts() == {}, "reading goes on"
            stranger.tell("let go")
            await stranger.says("free")
        assert await found.settled() == ["a"]
    assert stored(tmp_path) == ["a"]


NEIGHBOUR = """
import sys
from motet.store.sqlite.lock import FileLock
with FileLock(sys.argv[1] + "-lock"):
    print("locked", flush=True)
    sys.stdin.readline()
"""


async def test_a_stopped_neighbour_holds_the_writers_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can write past it, and nobody claims to: we wait, say so, and read on."""
    monkeypatch.setattr("motet.runtime.committer.SLOW_SECONDS", 0.01)
    async with rig(tmp_path) as found:
        await found.register()
        async with child("-c", NEIGHBOUR, str(tmp_path / "motet.db")) as neighbour:
            await neighbour.says("locked")
            neighbour.process.send_signal(signal.SIGSTOP)
            found.submit("a", an_event("a"))
            await until(lambda: found.committer.away_since)
            assert await found.store.counts() == {}
            assert found.told == []
            neighbour.process.send_signal(signal.SIGCONT)
            neighbour.tell("let go")
            assert await found.settled() == ["a"]
            assert await neighbour.ends() == 0
    assert stored(tmp_path) == ["a"]


async def test_closing_does_not_wait_for_a_stopped_neighbour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "CLOSING_SECONDS", 0.05)
    store = SqliteStore(str(tmp_path / "motet.db"), SYSTEM)
    await store.open(create=True)
    async with child("-c", NEIGHBOUR, store.path) as neighbour:
        await neighbour.says("locked")
        async with asyncio.timeout(10):
            await store.close()


async def test_the_lock_goes_with_its_process(tmp_path: Path) -> None:
    async with rig(tmp_path) as found:
        await found.register()
        async with child("-c", NEIGHBOUR, str(tmp_path / "motet.db")) as neighbour:
            await neighbour.says("locked")
            found.submit("a", an_event())
            neighbour.process.kill()
            assert await found.settled() == ["a"]


# --- the disk ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The library that fails calls on demand."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        assert os.environ.get("CI") != "true", "cc is missing: in CI nothing may be skipped"
        pytest.skip("needs a C compiler (cc)")
    target = tmp_path_factory.mktemp("shim") / "failing_calls.so"
    source = Path(__file__).parent / "failing_calls.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", target, source, "-ldl"], check=True)
    return str(target)


@pytest.mark.parametrize("flag", ["fsync", "full"])
async def test_a_disk_that_fails_on_demand(tmp_path: Path, shim: str, flag: str) -> None:
    await _fails_on_demand(tmp_path, shim, flag)


async def _fails_on_demand(folder: Path, shim: str, flag: str) -> None:
    flags = folder / "flags"
    flags.mkdir()
    async with child("-m", "tests.store.troubled", str(folder), LD_PRELOAD=shim, FAILING_FLAGS=str(flags)) as worker:
        await worker.says("ready")
        worker.tell("before")
        await worker.says("before")
        for turn in ("1", "2"):
            (flags / flag).touch()
            worker.tell(f"a{turn}", f"b{turn}")
            said = await worker.says("away")
            assert "waiting for it, nothing is lost" in said
            assert {"fsync": "SQLITE_IOERR_FSYNC", "full": "SQLITE_FULL"}[flag] in said
            assert not {f"a{turn}", f"b{turn}"} & set(stored(folder)), "and no reader has seen it"
            (flags / flag).unlink()
            await worker.says("back")
            await worker.says(f"a{turn}")
            await worker.says(f"b{turn}")
        assert await worker.ends() == 0
    assert stored(folder) == ["before", "a1", "b1", "a2", "b2"]


async def test_killed_while_the_disk_fails(tmp_path: Path, shim: str) -> None:
    """What was never acknowledged may be there or not; what was is, once."""
    flags = tmp_path / "flags"
    flags.mkdir()
    async with child("-m", "tests.store.troubled", str(tmp_path), LD_PRELOAD=shim, FAILING_FLAGS=str(flags)) as worker:
        await worker.says("ready")
        worker.tell("before")
        await worker.says("before")
        (flags / "fsync").touch()
        worker.tell("unknown")
        await worker.says("away")
        worker.process.kill()
        await worker.process.wait()
    assert stored(tmp_path) in (["before"], ["before", "unknown"])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path | None]:
    """A file system of a few megabytes; None where mounting is not permitted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk]
    if mount is None or subprocess.run(command, check=False, capture_output=True).returncode:
        yield None
        return
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


async def test_a_full_disk(small_disk: Path | None, tmp_path: Path, shim: str) -> None:
    if small_disk is None:  # not skipped: a disk that says that it is full is the next best
        await _fails_on_demand(tmp_path, shim, "full")
        return
    async with rig(small_disk) as found:
        await found.register()
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"x" * 1_500_000)
        names = [str(number) for number in range(40)]
        for name in names:
            found.submit(name, an_event(name, data=f'"{name}"'), a_run(input="x" * 60_000))
            if found.committer.away_since is None:
                await until(lambda name=name: name in found.told or found.committer.away_since)
        assert found.committer.away_since is not None, "the disk was large enough"
        acknowledged = list(found.told)
        assert acknowledged == names[: len(acknowledged)] and len(acknowledged) < len(names)
        assert stored(small_disk) == acknowledged
        ballast.unlink()
        assert await found.settled() == names
        await found.store.close()
    assert stored(small_disk) == names


async def test_no_room_for_the_store_itself(small_disk: Path | None, tmp_path: Path) -> None:
    folder, refusal = small_disk or tmp_path / "none", StoreUnavailable if small_disk else StoreMissing
    if small_disk is not None:
        (small_disk / "ballast").write_bytes(b"x" * 4 * 1024 * 1024)
    store = SqliteStore(str(folder / "motet.db"), SYSTEM)
    with pytest.raises(refusal):
        await store.open(create=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    await store.open(create=True)
    await store.close()


# --- processes --------------------------------------------------------------------------------------------------


async def test_killed_again_and_again(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    for turn in range(4):
        async with child("-m", "tests.store.troubled", str(tmp_path)) as worker:
            await worker.says("ready")
            worker.tell(*(f"{turn}.{number}" for number in range(400)))
            acknowledged += [await worker.says(f"{turn}.{number}") for number in range(20 + 30 * turn)]
            worker.process.kill()
            await worker.process.wait()
    found = stored(tmp_path)
    assert [name for name in found if name in set(acknowledged)] == acknowledged
    assert len(set(found)) == len(found)


FORKING = """
import asyncio, os, sys
from motet.errors import StoreRefused
from motet.model.clock import SYSTEM
from motet.store.sqlite import SqliteStore
from motet.testing.conformance.records import a_run
from motet.testing.conformance.setting import a_ticket

async def refused(store):
    uses = store.counts(), store.changed(), store.commit([], None), store.backup("x"), store.claim(1, [], "", 1, 1)
    for work in uses:
        try:
            await work
        except StoreRefused as error:
            assert "opened before a fork and cannot be used in the child; open it after the fork" in str(error)
        else:
            return 1
    await store.close()
    return 0

async def main():
    store = SqliteStore(sys.argv[1], SYSTEM)
    await store.open(create=True)
    pid = os.fork()
    if pid == 0:
        os._exit(asyncio.new_event_loop().run_until_complete(refused(store)))
    assert os.waitpid(pid, 0)[1] == 0
    await store.commit([[a_run("r")]], a_ticket())
    await store.close()

asyncio.run(main())
print("fine", flush=True)
"""


async def test_a_handle_carried_over_a_fork_is_refused(tmp_path: Path) -> None:
    async with child("-W", "ignore", "-c", FORKING, str(tmp_path / "motet.db")) as forking:
        await forking.says("fine")
        assert await forking.ends() == 0


ORPHANING = """
import os, sys
from motet.store.sqlite.lock import FileLock
with FileLock(sys.argv[1] + "-lock"):
    if os.fork() == 0:
        print("forked", flush=True)
        sys.stdin.readline()
        os._exit(0)
    os.wait() if len(sys.argv) > 2 else os._exit(0)
"""


async def test_the_lock_of_a_dead_parent_does_not_live_on_in_its_child(tmp_path: Path) -> None:
    async with rig(tmp_path) as found:
        await found.register()
        async with child("-W", "ignore", "-c", ORPHANING, str(tmp_path / "motet.db")) as parent:
            await parent.says("forked")
            found.submit("a", an_event())
            assert await found.settled() == ["a"]
            parent.tell("end")
