"""kill -9 of the process that drives a run, judged by an outside file of effects, never by the engine's records."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from motet import App, RunStatus

PROGRAM = Path(__file__).with_name("dying.py")


class Folder:
    """Where one run lives, dies and lives again."""

    def __init__(self, path: Path, what: str) -> None:
        self.store = path / "motet.db"
        self._effects = path / "effects"
        self._what = what

    @contextmanager
    def process(self, mode: str) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, str(PROGRAM), str(self.store), str(self._effects), self._what, mode]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    def live_and_die(self, last_words: str) -> None:
        """Start the run, and kill its process -9 as soon as it has told this effect."""
        with self.process("start") as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.strip() == last_words:
                    break
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL

    def live_again(self) -> str:
        """Resume it, to its end; the last line."""
        with self.process("resume") as process:
            output, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        return output.strip().splitlines()[-1]

    @property
    def effects(self) -> list[str]:
        return [line.rpartition(" ")[0] for line in self._effects.read_text().splitlines()]

    @property
    def keys(self) -> list[str]:
        return [line.rpartition(" ")[2] for line in self._effects.read_text().splitlines()]

    def cancel(self) -> RunStatus:
        async def cancelled() -> RunStatus:
            app = App("dying", store=f"sqlite:///{self.store}")
            async with app.connect():
                await app.cancel("run")
                return await app.status("run")

        return asyncio.run(cancelled())


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Folder:
    return Folder(tmp_path, request.param)


@pytest.mark.parametrize("folder", ["undo"], indirect=True)
def test_a_kill_in_mid_unwinding_goes_on_undoing_where_it_stood(folder: Folder) -> None:
    folder.live_and_die("unbook b b")
    assert folder.live_again() == "ended RunFailed run 'run' failed: ValueError: undo it all; see 'motet status run'"
    assert folder.effects == [
        *("book a", "book b", "book c"), "unbook c c", "unbook b b", "unbook b b", "unbook a a",
    ]  # fmt: skip
    assert folder.keys[4] == folder.keys[5], "the same effect again, which its key can tell"
    assert len(set(folder.keys)) == 6


@pytest.mark.parametrize("folder", ["cancel"], indirect=True)
def test_a_kill_and_a_cancel_leave_an_unknown_outcome_which_is_undone_with_none(folder: Folder) -> None:
    folder.live_and_die("book hang")
    assert folder.cancel().state == "running"
    assert folder.live_again() == "ended RunCancelled run 'run' was cancelled"
    assert folder.effects == ["book a", "book hang", "unbook None hang", "unbook a a"]


@pytest.mark.parametrize("folder", ["publish"], indirect=True)
def test_a_kill_repeats_no_completed_step_and_loses_or_doubles_no_event(folder: Folder) -> None:
    folder.live_and_die("book hang")
    assert folder.live_again() == "result all"
    assert folder.effects == [*(f"book {number}" for number in range(50)), "book hang", "book hang"]
    connection = sqlite3.connect(folder.store)
    events = [row[0] for row in connection.execute("SELECT data FROM event WHERE source <> 'motet' ORDER BY position")]
    connection.close()
    assert events == [f'{{"number":{number}}}' for number in range(50)]
