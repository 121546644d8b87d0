"""A folder as a user has it, the command line in this process and in others, a worker process, stores with stories."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.commanding import MOTET, Command, Outcome, WorkerProcess, invoke
from tests.cli.filling import fill

HERE = Path(__file__).parent


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder but for the user's modules, being the current one; no settings from outside."""
    for name in ("MOTET_STORE", "MOTET_DEBUG", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    for name in ("shop.py", "broken_module.py"):
        shutil.copy(HERE / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in ("shop", "broken_module"):
        sys.modules.pop(name, None)


@pytest.fixture
def motet(folder: Path) -> Command:
    """The command in this process: quick, and without a terminal."""
    return invoke


@pytest.fixture
def process(folder: Path) -> Command:
    """The command in a process of its own."""

    def run(*arguments: str, input: str | None = None) -> Outcome:
        done = subprocess.run(
            [MOTET, *arguments], input=input, capture_output=True, text=True, check=False, timeout=30, cwd=folder
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def worker(folder: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Starts `motet worker shop` and returns when it is ready; what still runs at the end is killed."""
    started: list[WorkerProcess] = []

    def start(*arguments: str) -> WorkerProcess:
        found = WorkerProcess(folder, *arguments)
        started.append(found)
        return found

    yield start
    for one in started:
        one.kill()


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store in which there is a run in each state; made once."""
    made = tmp_path_factory.mktemp("filled")
    fill(made / "motet.db", HERE / "shop.py")
    return made


@pytest.fixture
def stories(folder: Path, filled: Path) -> Path:
    """The store of `filled`, copied into the folder: for commands that need runs to look at."""
    for file in filled.glob("motet.db"):
        shutil.copy(file, folder / file.name)
    return folder / "motet.db"
