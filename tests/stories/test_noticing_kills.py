"""kill -9 of the worker that notices, around the time at which things are missed; judged by an outside file."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from motet import App

PROGRAM = Path(__file__).with_name("noticing.py")
PATIENCE_SECONDS = 40
LEARNERS = [f"learner-{number:02}" for number in range(60)]
ENROLLED, SLOW, FORGOTTEN = (set(LEARNERS[first::3]) for first in range(3))


class Audit:
    """Where the worker lives, dies and lives again."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "motet.db"
        self._effects = folder / "effects"
        self._ahead = folder / "ahead"
        self.set_forward(0)

    def set_forward(self, seconds: int) -> None:
        self._ahead.write_text(str(seconds))

    @contextmanager
    def process(self, most: int = len(LEARNERS)) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, str(PROGRAM), str(self.store), str(self._effects), str(self._ahead), str(most)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                yield process
            finally:
                process.kill()

    def live_and_die(self, refunds: int) -> None:
        """Kill it -9 as soon as it has told of so many refunds."""
        with self.process(refunds) as process:
            assert process.stdout is not None
            for _ in range(refunds):
                assert process.stdout.readline().startswith("refunded")
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL

    def effects(self) -> list[list[str]]:
        return [line.split() for line in self._effects.read_text().splitlines()]

    def ask(self, query: str) -> list[tuple[str, ...]]:
        connection = sqlite3.connect(self.store)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    async def until(self, app: App, holds: Callable[[], Awaitable[bool]]) -> None:
        written = app.client.listen()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await holds():
                await written.wait()
                written.clear()


async def test_each_miss_is_announced_once_and_none_without_reading_the_log(tmp_path: Path) -> None:
    audit, app = Audit(tmp_path), App("desk", store=f"sqlite:///{tmp_path}/motet.db")

    async def armed() -> bool:
        return (await app.client.store.expected_counts()).get("audit/seat") == {"open": 40, "met": 20}

    async def refunded() -> bool:
        return len(await app.runs(workflow="give_back", state="completed", limit=100)) == len(FORGOTTEN)

    async with app.connect():
        with audit.process():
            for learner in LEARNERS:
                await app.publish("learner.charged", key=learner)
            for learner in ENROLLED:
                await app.publish("learner.enrolled", key=learner)
            await audit.until(app, armed)
        for learner in SLOW:  # in time, while nobody watches; the next to watch finds the hour over
            await app.publish("learner.enrolled", key=learner)
        audit.set_forward(2 * 3600)
        for refunds in (1, 5):  # a third death would make suspects of the remedies
            audit.live_and_die(refunds)
        with audit.process(), audit.process():
            await audit.until(app, refunded)

    announced = audit.ask("SELECT subject FROM event WHERE type = 'motet.expectation.missed'")
    assert sorted(key for (key,) in announced) == sorted(FORGOTTEN), "each once, and nobody who was enrolled in time"
    assert dict(audit.ask("SELECT state, count(*) FROM expected GROUP BY state")) == {"met": 40, "missed": 20}
    refunds = Counter(learner for learner, _ in audit.effects())
    assert set(refunds) == FORGOTTEN
    assert len({key for _, key in audit.effects()}) == len(FORGOTTEN), "one remedy each, which its key can tell"
    assert max(refunds.values()) <= 3, "a step in flight is repeated by a crash, one that is done is not"


async def test_a_kill_while_the_hour_ends(tmp_path: Path) -> None:
    """The worker watches as things become overdue, and dies at the first that it announces."""
    audit, app = Audit(tmp_path), App("desk", store=f"sqlite:///{tmp_path}/motet.db")

    async def announced() -> bool:
        return bool(audit.ask("SELECT 1 FROM event WHERE type = 'motet.expectation.missed'"))

    async def armed() -> bool:
        return (await app.client.store.expected_counts()).get("audit/seat") == {"open": 60}

    async def refunded() -> bool:
        return len(await app.runs(workflow="give_back", state="completed", limit=100)) == len(LEARNERS)

    async with app.connect():
        with audit.process() as process:
            for learner in LEARNERS:
                await app.publish("learner.charged", key=learner)
            await audit.until(app, armed)
            audit.set_forward(2 * 3600)
            await audit.until(app, announced)
            process.send_signal(signal.SIGKILL)
        with audit.process():
            await audit.until(app, refunded)
    found = audit.ask("SELECT subject FROM event WHERE type = 'motet.expectation.missed'")
    assert sorted(key for (key,) in found) == LEARNERS
    assert len({key for _, key in audit.effects()}) == len(LEARNERS)
