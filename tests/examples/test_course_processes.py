"""Children of the demo: importable under the package's name, watched, killed, and gone when their parent
is."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from examples.course_purchase.processes import Child, ChildDied, Processes
from tests.examples.ledger_process import ROOT


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def start(processes: Processes, folder: Path, name: str = "ledger") -> Child:
    return await processes.start(name, "ledger", "--file", str(folder / f"{name}.jsonl"), variables={})


async def test_a_child_says_when_it_is_ready_and_ends_with_the_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # so that the package is found by its own means, not by the current folder
    async with Processes(tmp_path) as processes:
        child = await start(processes, tmp_path)
        assert child.first_line.startswith("127.0.0.1:")
        assert alive(child.pid)
    assert not alive(child.pid)


async def test_children_end_when_the_work_fails_or_is_cancelled(tmp_path: Path) -> None:
    pids: list[int] = []

    async def fail() -> None:
        async with Processes(tmp_path) as processes:
            pids.append((await start(processes, tmp_path)).pid)
            raise ValueError("the work failed")

    async def never_end(ready: asyncio.Event) -> None:
        async with Processes(tmp_path) as processes:
            pids.append((await start(processes, tmp_path)).pid)
            ready.set()
            await asyncio.Event().wait()

    with pytest.raises(ValueError, match="the work failed"):
        await fail()
    ready = asyncio.Event()
    endless = asyncio.create_task(never_end(ready))
    await ready.wait()
    endless.cancel()
    with pytest.raises(asyncio.CancelledError):
        await endless
    assert len(pids) == 2
    assert not any(alive(pid) for pid in pids)


async def test_work_is_given_up_when_a_child_dies_uncalled(tmp_path: Path) -> None:
    async with Processes(tmp_path) as processes:
        child = await start(processes, tmp_path)

        async def work() -> None:
            os.kill(child.pid, signal.SIGKILL)
            await asyncio.Event().wait()

        with pytest.raises(ChildDied, match="ledger ended by itself with code -9"):
            await processes.guard(work())


async def test_a_child_that_is_killed_on_purpose_disturbs_nobody(tmp_path: Path) -> None:
    async with Processes(tmp_path) as processes:
        child = await start(processes, tmp_path)

        async def work() -> str:
            await child.kill()
            successor = await start(processes, tmp_path, "successor")
            return successor.first_line

        assert (await processes.guard(work())).startswith("127.0.0.1:")
        assert not alive(child.pid)


async def test_a_child_that_cannot_start_is_reported_with_what_it_wrote(tmp_path: Path) -> None:
    async with Processes(tmp_path) as processes:
        with pytest.raises(ChildDied, match=r"(?s)nobody ended by itself with code 1; .*No module named .*nonsense"):
            await processes.start("nobody", "nonsense", variables={})


PARENT = """
import asyncio, importlib, pathlib, sys
Processes = importlib.import_module(sys.argv[2] + ".processes").Processes

async def main(folder):
    async with Processes(folder) as processes:
        file = str(folder / "ledger.jsonl")
        ledger = await processes.start("ledger", "ledger", "--file", file, variables={})
        print(ledger.first_line, flush=True)
        await asyncio.Event().wait()

asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


@contextmanager
def parent(
    folder: Path, package: str, importable_from: Path
) -> Generator[tuple["subprocess.Popen[str]", str], None, None]:
    """Start a process with a ledger as its child; give it and the ledger's address."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder), package],
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(importable_from)},
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent has died")
def test_a_child_that_stands_still_ends_too_when_the_demo_is_killed(tmp_path: Path) -> None:
    with parent(tmp_path, "examples.course_purchase", ROOT) as (process, address):
        host, _, port = address.partition(":")
        with socket.create_connection((host, int(port))) as to_child:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            for child in children:
                os.kill(int(child), signal.SIGSTOP)
            process.kill()
            assert to_child.recv(1) == b"", "the connection ends with the child"


def test_children_end_when_the_demo_is_killed(tmp_path: Path) -> None:
    with parent(tmp_path, "examples.course_purchase", ROOT) as (process, address):
        host, _, port = address.partition(":")
        with socket.create_connection((host, int(port))) as to_child:
            process.kill()
            assert to_child.recv(1) == b"", "the connection ends with the child"


def test_children_are_found_under_whatever_name_the_package_has(tmp_path: Path) -> None:
    """An installed wheel has it as `motet._examples.course_purchase`."""
    shutil.copytree(ROOT / "examples" / "course_purchase", tmp_path / "lib" / "other" / "_examples" / "course")
    with parent(tmp_path, "other._examples.course", tmp_path / "lib") as (_, address):
        assert address.startswith("127.0.0.1:")
