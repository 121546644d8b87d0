"""The supervisor alone, over small programs instead of workers; with real workers it is tested in tests/cli."""

import asyncio
import sys
from pathlib import Path

import pytest

from motet.errors import WorkerDied
from motet.runtime import supervisor
from motet.runtime.supervisor import Document, Supervisor, told

READY = """
import asyncio, sys
from motet.runtime.lifeline import lifeline
line = lifeline()
print(line.number, file=open(sys.argv[1], "a"))
line.tell_ready(b'{"number": %d}' % line.number)
"""
STAYS = READY + "import signal; signal.pause()"


def program(text: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", text, *arguments]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE", 0.02)


async def test_all_are_told_to_stop_when_all_are_ready(tmp_path: Path) -> None:
    lives = str(tmp_path / "lives")
    heard: list[list[Document]] = []

    def ready(documents: list[Document]) -> None:
        heard.append(documents)
        crew.stop()

    crew = Supervisor([program(STAYS, lives)] * 3, patience_seconds=30, on_ready=ready)
    await crew.run()
    assert heard == [[{"number": 1}, {"number": 2}, {"number": 3}]]
    assert sorted((tmp_path / "lives").read_text().split()) == ["1", "2", "3"]


async def test_one_that_ends_by_itself_is_replaced_however_often(tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    crew = Supervisor([program(READY, str(lives))], patience_seconds=30, on_ready=lambda documents: None)
    running = asyncio.create_task(crew.run())
    async with asyncio.timeout(60):
        while not lives.exists() or len(lives.read_text().split()) < supervisor.STARTS_LIMIT + 2:
            await asyncio.sleep(0.01)  # tidy: until it has lived so often
    crew.stop()
    await running


@pytest.mark.parametrize(
    ("command", "how"),
    [(program("raise SystemExit(3)"), "ended with code 3"), (["/nowhere/python"], "ended with code 71")],
)
async def test_one_that_never_gets_ready_is_given_up_and_takes_the_others_with_it(
    tmp_path: Path, command: list[str], how: str
) -> None:
    others = program(STAYS, str(tmp_path / "lives"))
    crew = Supervisor([others, command], patience_seconds=30, on_ready=lambda documents: None)
    with pytest.raises(WorkerDied, match=f"worker 2 {how} before it was ready, 5 times in a row"):
        await crew.run()


async def test_one_that_takes_too_long_to_stop_is_killed(tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + STAYS
    crew = Supervisor(
        [program(deaf, str(tmp_path / "lives"))], patience_seconds=0.2, on_ready=lambda documents: crew.stop()
    )
    async with asyncio.timeout(60):
        await crew.run()


def test_ends_in_words() -> None:
    assert told(0) == "ended with code 0"
    assert told(-9) == "was ended by SIGKILL"
    assert told(-200) == "was ended by signal 200"
