"""`motet worker --processes N`, with real processes: replaced when killed, drained by a signal, ended with their
supervisor. What they do is judged by a file that their steps write."""

import json
import os
import shutil
import signal
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from motet.cli import exits
from motet.model.clock import SYSTEM
from tests.cli.commanding import MOTET, Command, eventually

HERE = Path(__file__).parent
TAKEOVER_SECONDS = 2.0


class Crew:
    """A real `motet worker crew --processes N`, and what can be seen of it from outside."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.log = folder / "crew.log"
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [MOTET, "worker", "crew", "--json", *arguments],
                stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder, start_new_session=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        self.ready: dict[str, Any] = json.loads(self.process.stdout.readline() or "{}")

    @property
    def pids(self) -> list[int]:
        return [one["pid"] for one in self.ready["workers"]]

    def logged(self, words: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if words in line]

    def ended(self) -> int:
        return self.process.wait(60)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def crew(folder: Path) -> Iterator[Callable[..., Crew]]:
    shutil.copy(HERE / "crew.py", folder)
    started: list[Crew] = []

    def start(*arguments: str) -> Crew:
        started.append(Crew(folder, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.close()
        eventually(lambda one=one: not any(map(alive, one.ready.get("workers", []))), "the workers to end")


def alive(worker: "dict[str, Any] | int") -> bool:
    """Whether the process runs: what is left of one that nobody has waited for does not count."""
    pid = worker if isinstance(worker, int) else worker["pid"]
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def effects(folder: Path, what: str) -> dict[str, list[int]]:
    """By run, the processes that have noted this."""
    found: dict[str, list[int]] = defaultdict(list)
    file = folder / "effects"
    for line in file.read_text().splitlines() if file.exists() else []:
        name, noted, pid = line.split()
        if noted == what:
            found[name].append(int(pid))
    return found


def begin(motet: Command, folder: Path, *names: str) -> dict[str, list[int]]:
    """Start runs that hold; returns who runs them, as soon as all have begun."""
    (folder / "hold").touch()
    for name in names:
        assert motet("start", "crew", "walk", "--id", name, "--input", json.dumps(name)).code == 0
    return eventually(lambda: found if len(found := effects(folder, "begun")) == len(names) else None, "the steps")


def test_all_say_that_they_are_ready(crew: Callable[..., Crew], folder: Path) -> None:
    served = crew("--processes", "3")
    workers = served.ready.pop("workers")
    assert served.ready == {
        "app": "crew", "workflows": ["crew/walk"], "store": "sqlite:///motet.db", "pid": served.process.pid,
    }  # fmt: skip
    assert [one["number"] for one in workers] == [1, 2, 3]
    assert len({one["pid"] for one in workers} | {served.process.pid}) == 4
    for number in (1, 2, 3):
        assert served.logged(f"motet.worker[{number}]: worker {workers[number - 1]['pid']} drives app 'crew'")


def test_a_killed_worker_is_replaced_and_its_runs_go_on_at_once(
    crew: Callable[..., Crew], motet: Command, folder: Path
) -> None:
    served = crew("--processes", "3")
    names = [f"run-{number}" for number in range(9)]
    begun = begin(motet, folder, *names)
    victim = max(served.pids, key=lambda pid: sum(pids == [pid] for pids in begun.values()))
    orphans = [name for name, pids in begun.items() if pids == [victim]]
    assert orphans
    os.kill(victim, signal.SIGKILL)
    killed = SYSTEM.monotonic()
    again = eventually(
        lambda: found if all(len((found := effects(folder, "begun"))[name]) == 2 for name in orphans) else None,
        "others to go on with its runs",
    )
    seconds = SYSTEM.monotonic() - killed
    print(f"{len(orphans)} runs were taken over in {seconds:.2f} s")
    busy = os.getloadavg()[0] > (os.cpu_count() or 1)
    assert seconds < TAKEOVER_SECONDS * (5 if busy else 1)
    assert all(again[name][1] != victim for name in orphans)
    number = served.pids.index(victim) + 1
    eventually(lambda: len(served.logged(f"motet.supervisor: worker {number} is ready")) == 2, "a new worker")
    assert served.logged(f"motet.supervisor: worker {number} was ended by SIGKILL; starting another")
    (folder / "hold").unlink()
    ended = eventually(lambda: found if len(found := effects(folder, "ended")) == len(names) else None, "the ends")
    assert all(len(pids) == 1 for pids in ended.values()), "each was driven to its end by one alone"
    assert all(begun[name] == again[name] for name in names if name not in orphans)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_supervisor_drains_all(
    crew: Callable[..., Crew], motet: Command, folder: Path, number: signal.Signals
) -> None:
    served = crew("--processes", "2")
    begin(motet, folder, "a", "b", "c")
    served.process.send_signal(number)
    eventually(lambda: len(served.logged("stopping: running steps may finish")) == 2, "both to drain")
    (folder / "hold").unlink()
    assert served.ended() == exits.OK
    assert not any(map(alive, served.pids))
    assert len(effects(folder, "ended")) == 3, "the steps that ran could finish"
    assert served.logged("all workers have stopped")
    assert not served.logged("starting another")


def test_a_second_signal_stops_at_once(crew: Callable[..., Crew], motet: Command, folder: Path) -> None:
    served = crew("--processes", "2")
    begin(motet, folder, "a", "b", "c")
    served.process.send_signal(signal.SIGTERM)
    eventually(lambda: len(served.logged("stopping: running steps may finish")) == 2, "both to drain")
    served.process.send_signal(signal.SIGTERM)
    assert served.ended() == exits.INTERRUPTED
    assert not any(map(alive, served.pids))
    assert not effects(folder, "ended")


def test_no_worker_outlives_a_killed_supervisor(crew: Callable[..., Crew], motet: Command, folder: Path) -> None:
    served = crew("--processes", "2")
    begin(motet, folder, "a", "b", "c")
    served.process.send_signal(signal.SIGKILL)
    eventually(lambda: len(served.logged("the supervisor is gone; stopping")) == 2, "both to notice")
    (folder / "hold").unlink()
    eventually(lambda: not any(map(alive, served.pids)), "both to end")
    assert len(effects(folder, "ended")) == 3, "they end in good order"


def test_workers_that_cannot_start_are_given_up(crew: Callable[..., Crew], folder: Path) -> None:
    served = crew("--processes", "2")
    (folder / "broken").touch()
    os.kill(served.pids[0], signal.SIGKILL)
    assert served.ended() == exits.FAILED
    assert not any(map(alive, served.pids)), "the other one is stopped as well"
    assert len(served.logged("worker 1 ended with code 2 before it was ready; trying again")) == 4
    error = json.loads(served.log.read_text().splitlines()[-1])
    assert error["error"]["type"] == "WorkerDied"
    assert "worker 1 ended with code 2 before it was ready, 5 times in a row" in error["error"]["message"]
    assert served.logged("this module is broken now"), "why is in the log"


def test_what_is_asked_wrongly_is_told_once(process: Command) -> None:
    asked = process("worker", "broken_module", "--processes", "4")
    assert (asked.code, asked.stderr.count("error: ")) == (exits.USAGE, 1)
    assert process("worker", "shop", "--processes", "0").code == exits.USAGE
