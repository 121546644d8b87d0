"""The campaign's faults are real ones: each is looked at from outside, by programs that know nothing of Motet."""

from __future__ import annotations

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.faults.clock import SHARED_MEMORY, FakeClock
from tests.chaos.faults.disk import SmallDisk
from tests.chaos.faults.fsync import FailingFsync
from tests.chaos.faults.preload import merge
from tests.chaos.faults.stranger import Stranger

ROOT = Path(__file__).parent.parent.parent
HOUR = 3600.0
SLACK_SECONDS = 60.0

ASKED = """
import json, sys
for line in sys.stdin:
    try:
        print(json.dumps(eval(line)), flush=True)
    except OSError as error:
        print(json.dumps([type(error).__name__, error.errno]), flush=True)
    except sqlite3.Error as error:
        print(json.dumps([type(error).__name__, error.sqlite_errorname]), flush=True)
"""


class Child:
    """A program that is told a line and answers with one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, expression: str) -> Any:
        self.tell(expression)
        return json.loads(self.says())


@contextmanager
def child(program: str, environment: Mapping[str, str]) -> Generator[Child]:
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env=merge(os.environ, environment),
    )  # fmt: skip
    try:
        with process:
            yield Child(process)
    finally:
        process.kill()


@contextmanager
def asked(modules: str, environment: Mapping[str, str]) -> Generator[Child]:
    """One that evaluates what it is asked."""
    with child(f"import sqlite3, {modules}\n{ASKED}", environment) as found:
        yield found


def required(reason: str | None) -> None:
    """Skip where a fault is not available; never in CI."""
    if reason is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}; in CI nothing may be skipped")
        pytest.skip(reason)


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[FakeClock]:
    required(FakeClock.available())
    yield FakeClock(tmp_path)
    FakeClock.sweep()


@pytest.fixture
def fsync(tmp_path: Path) -> FailingFsync:
    required(FailingFsync.available())
    return FailingFsync(tmp_path)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    required(SmallDisk.available())
    with SmallDisk(tmp_path / "disk", 4) as mounted:
        yield mounted
    assert not os.path.ismount(mounted.folder)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A database as the store's: one table, a log ahead of it."""
    return database(tmp_path / "some.db")


def database(file: Path) -> Path:
    with closing(sqlite3.connect(file)) as made:
        made.execute("PRAGMA journal_mode=WAL")
        made.execute("CREATE TABLE t (x)")
    return file


def wall() -> float:
    return time.time()  # tidy: the true time, to compare a child's with


# --- the clock --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("look", [
    "time.time()", "time.time_ns() / 1e9", "time.clock_gettime(time.CLOCK_REALTIME)",
    "datetime.datetime.now(datetime.UTC).timestamp()",
    "float(sqlite3.connect(':memory:').execute(\"SELECT strftime('%s')\").fetchone()[0])",
])  # fmt: skip
def test_the_time_of_day_jumps_while_a_process_runs(clock: FakeClock, look: str) -> None:
    with asked("time, datetime", clock.environment) as process:
        for shift in (0.0, HOUR, -HOUR, 0.5 * HOUR, 0.0):
            clock.set(shift)
            assert process.ask(look) - wall() == pytest.approx(shift, abs=SLACK_SECONDS)


def test_the_shift_has_fractions(clock: FakeClock) -> None:
    with asked("time", clock.environment) as process:
        clock.set(0.0)
        process.ask("time.time()")
        clock.set(1000.25)
        before, seen, after = wall(), process.ask("time.time()"), wall()
        assert before + 1000.249 <= seen <= after + 1000.251


def test_the_monotonic_clock_stays(clock: FakeClock) -> None:
    with asked("time", clock.environment) as process:
        for shift in (0.0, HOUR, -HOUR):
            clock.set(shift)
            for look in ("time.monotonic()", "time.perf_counter()"):
                here = time.monotonic()  # tidy: the true one, to compare a child's with
                assert process.ask(look) - here == pytest.approx(0, abs=SLACK_SECONDS)


@pytest.mark.parametrize("wait", [
    "threading.Event().wait(0.3)", "time.sleep(0.3)", "select.select([], [], [], 0.3)", "loops.run(asyncio.sleep(0.3))",
    "asyncio.run(asyncio.sleep(0.3))",
])  # fmt: skip
def test_waiting_lasts_as_long_as_ever(clock: FakeClock, wait: str) -> None:
    with asked("asyncio, select, threading, time, motet.runtime.loops as loops", clock.environment) as process:
        for shift in (HOUR, -HOUR):
            clock.set(shift)
            took = process.ask(f"-time.monotonic() + ({wait} and 0 or 0) + time.monotonic()")
            assert 0.25 < took < SLACK_SECONDS


def test_what_the_killed_leave_behind_is_swept(clock: FakeClock) -> None:
    def left(process: subprocess.Popen[str]) -> list[Path]:
        return list(SHARED_MEMORY.glob(f"*faketime_s*_{process.pid}"))

    with asked("time", clock.environment) as living, asked("time", clock.environment) as killed:
        assert living.ask("1") == killed.ask("1") == 1
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait()
        assert left(killed.process) and left(living.process)
        FakeClock.sweep()
        assert not left(killed.process) and left(living.process)


# --- the disk ---------------------------------------------------------------------------------------------------


def test_a_full_disk_takes_nothing_and_a_freed_one_does(disk: SmallDisk) -> None:
    other = disk.folder / "other"
    for _ in range(2):
        disk.fill()
        assert os.statvfs(disk.folder).f_bavail == 0
        with pytest.raises(OSError, match="No space left") as refused:
            other.write_bytes(b"x")
        assert refused.value.errno == errno.ENOSPC
        disk.free()
        assert other.write_bytes(b"x" * 100_000) == 100_000
        other.unlink()


def test_a_database_on_a_full_disk(disk: SmallDisk) -> None:
    with closing(sqlite3.connect(database(disk.folder / "some.db"), isolation_level=None)) as writer:
        writer.execute("INSERT INTO t VALUES (1)")  # its shared memory is on this disk too
        disk.fill()
        with pytest.raises(sqlite3.OperationalError) as refused:
            writer.execute("INSERT INTO t VALUES (zeroblob(100000))")
        assert refused.value.sqlite_errorname == "SQLITE_FULL"
        disk.free()
        writer.execute("INSERT INTO t VALUES (zeroblob(100000))")
        assert writer.execute("SELECT count(*) FROM t").fetchone() == (2,)


# --- the stranger -----------------------------------------------------------------------------------------------


def locked(store: Path) -> bool:
    """Whether SQLite tells others that the file is busy."""
    with closing(sqlite3.connect(store, isolation_level=None, timeout=0)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY":
                raise
            return True
        return False


def test_a_stranger_holds_for_its_time(store: Path) -> None:
    stranger = Stranger(store)
    before = time.monotonic()  # tidy: how long it holds
    stranger.hold(3)
    assert locked(store)
    stranger.wait()
    assert time.monotonic() - before >= 3  # tidy: how long it held
    assert not locked(store)


def test_strangers_wait_for_each_other(store: Path) -> None:
    first, second = Stranger(store), Stranger(store)
    first.hold(2)
    second.hold(HOUR)  # comes back when it has it: after the first
    assert locked(store)
    first.wait()
    assert locked(store)
    second.close()
    assert not locked(store)


def test_a_stranger_finds_files_and_makes_none(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="unable to open"):
        Stranger(tmp_path / "none.db").hold(1)
    assert not list(tmp_path.iterdir())


# --- fsync ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["os.fsync", "os.fdatasync"])
def test_fsync_fails_while_it_is_told_to(fsync: FailingFsync, tmp_path: Path, call: str) -> None:
    sync = f"{call}(os.open({str(tmp_path / 'file')!r}, os.O_CREAT | os.O_RDWR))"
    with asked("os", fsync.environment) as process:
        for count in (0, 1):
            assert process.ask(sync) is None
            assert fsync.fired() == count
            fsync.begin()
            assert process.ask(sync) == ["OSError", errno.EIO]
            assert fsync.fired() == count + 1
            fsync.end()
        assert process.ask(sync) is None


def test_a_database_whose_fsync_fails(fsync: FailingFsync, store: Path) -> None:
    insert = f"sqlite3.connect({str(store)!r}, isolation_level=None).execute('INSERT INTO t VALUES (1)').fetchall()"
    with asked("os", fsync.environment) as process:
        fsync.begin()
        assert process.ask(insert) == ["OperationalError", "SQLITE_IOERR_FSYNC"]
        assert fsync.fired() >= 1
        fsync.end()
        assert process.ask(insert) == []


# --- together ---------------------------------------------------------------------------------------------------


def test_merging() -> None:
    assert merge({"A": "1", "LD_PRELOAD": ""}, {"LD_PRELOAD": "x", "A": "2"}, {"B": "3"}, {"LD_PRELOAD": "y"}) == {
        "A": "2", "B": "3", "LD_PRELOAD": "x:y"
    }  # fmt: skip
    assert merge({"A": "1"}) == {"A": "1"}


WORKER = """
import asyncio, sys
from motet import App, Flow
from motet.runtime import loops

app = App("faulty", store=f"sqlite:///{sys.argv[1]}")

@app.step
async def one(name: str) -> str:
    return name

@app.workflow
async def walk(flow: Flow, name: str) -> str:
    await flow.sleep(0.1)
    flow.publish("walked", name)
    return await flow.step(one, name)

async def main() -> None:
    async with app.worker():
        print(type(asyncio.get_running_loop()).__module__, flush=True)
        while name := (await asyncio.to_thread(sys.stdin.readline)).strip():
            await app.start(walk, name, id=name)
            print(await app.result(name), flush=True)

loops.run(main())
"""


@pytest.mark.parametrize("turned", [False, True])
def test_a_worker_with_both_at_once(clock: FakeClock, fsync: FailingFsync, tmp_path: Path, turned: bool) -> None:
    file = tmp_path / "motet.db"
    faults = [clock.environment, fsync.environment]
    program = f"import sys; sys.argv.append({str(file)!r})\n{WORKER}"
    with child(program, merge(*reversed(faults) if turned else faults)) as worker:
        assert worker.says() == "uvloop"
        worker.tell("plain")
        assert worker.says() == "plain"

        clock.set(HOUR)
        worker.tell("later")
        assert worker.says() == "later"

        fsync.begin()
        worker.tell("broken")
        until = time.monotonic() + SLACK_SECONDS  # tidy: a limit
        while not fsync.fired() and time.monotonic() < until:  # tidy: a limit
            time.sleep(0.05)  # tidy: between two looks at another process
        assert fsync.fired()
        fsync.end()
        assert worker.says() == "broken"

        clock.set(-HOUR)
        worker.tell("earlier")
        assert worker.says() == "earlier"
        worker.tell("")
    assert worker.process.returncode == 0
    with closing(sqlite3.connect(file)) as found:
        rows = found.execute("SELECT data, time / 1e6 FROM event WHERE type = 'walked' ORDER BY position").fetchall()
    shifts = {json.loads(name): at - wall() for name, at in rows}
    assert shifts == pytest.approx({"plain": 0, "later": HOUR, "broken": HOUR, "earlier": -HOUR}, abs=SLACK_SECONDS * 5)
