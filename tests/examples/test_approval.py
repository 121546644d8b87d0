"""The approval, as its README tells it: real processes, the real command line, and what the budget's book says."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from examples.approval.buying import NobodyAnswered, Order, buy, buying
from motet.testing import virtual
from tests.cli.commanding import MOTET, eventually

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MOTET_STORE", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """The first of the two commands; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "examples.approval", *arguments]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield run
    for process in started:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate()


def motet(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MOTET, *arguments], cwd=folder, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip


def until_asked(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if "approval.refused --to" in line:
            return
    raise AssertionError(f"it has ended before it asked: {process.communicate()}")


def book(folder: Path) -> list[tuple[str, str, int]]:
    with closing(sqlite3.connect(folder / "budget.db")) as connection:
        return connection.execute("SELECT purchase, entry, cents FROM entry ORDER BY rowid").fetchall()


def test_a_person_approves(folder: Path, start: Start) -> None:
    first = start()
    until_asked(first)
    answer = motet(folder, "publish", "approval.given", "--to", "purchase-42", "--data", '{"by": "Ann"}')
    assert answer.returncode == 0, answer.stderr
    said, complaints = first.communicate(timeout=PATIENCE_SECONDS)
    assert (first.returncode, said.splitlines()[-1]) == (0, "a projector is ordered; Ann approved"), complaints
    assert book(folder) == [("purchase-42", "reserved", 79_900), ("purchase-42", "spent", 79_900)]
    story = motet(folder, "conversation", "purchase-42").stdout
    assert "└╌╌ *   approval.given  (to purchase-42)" in story
    status = motet(folder, "status", "purchase-42").stdout
    assert "approval.given  {'by': 'Ann'}" in status
    again = motet(folder, "publish", "approval.given", "--to", "purchase-42")
    assert again.returncode != 0 and "has ended as completed" in again.stderr


def test_a_person_refuses_while_nobody_works(folder: Path, start: Start) -> None:
    first = start()
    until_asked(first)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert motet(folder, "publish", "approval.refused", "--to", "purchase-42").returncode == 0
    second = start()
    said, complaints = second.communicate(timeout=PATIENCE_SECONDS)
    assert (second.returncode, said.splitlines()[-1]) == (3, "not bought: somebody refused"), complaints
    assert book(folder) == [("purchase-42", "reserved", 79_900), ("purchase-42", "released", 79_900)]


def test_with_the_workers_own_command(folder: Path) -> None:
    worker = subprocess.Popen(
        [MOTET, "worker", "examples.approval.buying:buying"], cwd=folder, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        order = '{"item": "a chair", "cents": 5000}'
        begun = motet(folder, "start", "examples.approval.buying:buying", "buy", "--id", "purchase-1", "--input", order)
        assert begun.returncode == 0, begun.stderr
        other = motet(folder, "publish", "approval.given", "--to", "purchase-2")
        assert other.returncode != 0 and "no run 'purchase-2'" in other.stderr
        assert motet(folder, "publish", "approval.given", "--to", "purchase-1").returncode == 0
        eventually(lambda: "COMPLETED" in motet(folder, "status", "purchase-1").stdout, "its end")
        assert book(folder) == [("purchase-1", "reserved", 5_000), ("purchase-1", "spent", 5_000)]
    finally:
        worker.kill()
        worker.wait()


async def test_nobody_answers_for_two_days(folder: Path) -> None:
    async with virtual(buying, store=f"sqlite:///{folder}/motet.db") as kit:
        await buying.start(buy, Order("a desk", 100), id="purchase-7")
        await kit.advance(timedelta(days=1, hours=23))
        assert (await buying.status("purchase-7")).state in ("running", "waiting")
        assert book(folder) == [("purchase-7", "reserved", 100)]
        await kit.advance(timedelta(hours=2))
        with pytest.raises(NobodyAnswered, match="within 2 days"):
            await buying.result("purchase-7")
    assert book(folder) == [("purchase-7", "reserved", 100), ("purchase-7", "released", 100)]


@pytest.mark.parametrize("data", [None, [], "Ann", {"by": 7}, {"by": ""}])
async def test_an_answer_may_say_anything(folder: Path, data: object) -> None:
    async with virtual(buying, store=f"sqlite:///{folder}/motet.db") as kit:
        run = await buying.start(buy, Order("a desk", 100), id="purchase-7")
        await kit.advance(1)
        await buying.publish("approval.given", data, to="purchase-7")
        await kit.idle()
        assert await run.result() == "a desk is ordered; somebody approved"
