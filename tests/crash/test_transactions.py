"""kill -9 around the commits of transactions: at no moment do the user's own rows and the run's history disagree.

Looked at from outside, in the file alone, after each death and before anything recovers.
"""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from motet import App
from motet.testing.faults import EXIT_CODE, VARIABLE
from tests.crash.asking import ask

ROOT = Path(__file__).parent.parent.parent
COUNT = 12
SEED = int(os.environ.get("MOTET_SEED", random.SystemRandom().randrange(2**32)))
DEATHS = 3
"""More of them would bring those under suspicion that were at work each time."""


def live(store: Path, *, failpoint: str = "", kill_after: int | None = None, hang: int = 0) -> tuple[int, list[str]]:
    """One life of the program, killed after so many lines, or when the function that hangs has written: its exit code,
    and what it said."""
    said: list[str] = []
    command = [sys.executable, "-m", "tests.crash.transfers", store, str(COUNT), str(hang)]
    environment = {**os.environ, VARIABLE: failpoint}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line.strip())
            wrote = sum(line.startswith("wrote") for line in said)
            if len(said) == kill_after or (hang and wrote == hang):
                process.send_signal(signal.SIGKILL)
        code = process.wait(60)
    return code, said


TABLES = (
    "CREATE TABLE account (name TEXT PRIMARY KEY, cents INTEGER)",
    "CREATE TABLE transfer (run TEXT, operation TEXT, cents INTEGER)",
    "INSERT INTO account VALUES ('from', 0), ('to', 0)",
)
RECORDS = """SELECT run.id, history.op FROM {0}history JOIN {0}run ON run.uid = history.uid
    WHERE operation_kind IN ('transaction', 'compensation') AND kind = 'completed' ORDER BY 1, 2"""


def agree(store: str) -> Counter[str]:
    """Check that effects and records are the same; returns how many there are of each kind of operation."""
    effects = ask(store, "SELECT run, operation FROM transfer ORDER BY 1, 2")
    assert sorted(effects) == sorted(ask(store, RECORDS)), "each effect has its record, and each record its effect"
    assert len(set(effects)) == len(effects), "none happened twice"
    ((moved,),) = ask(store, "SELECT coalesce(sum(cents), 0) FROM transfer")
    assert dict(ask(store, "SELECT name, cents FROM account")) == {"from": -moved, "to": moved}
    return Counter(operation.partition("#")[0] for _, operation in effects)


def ended(store: str) -> None:
    """Check that all has come to its end, and nothing but that."""
    undone = len(range(0, COUNT, 3))
    assert agree(store) == {"move": 2 * COUNT, "move_back": 2 * undone}
    states = Counter(state for (state,) in ask(store, "SELECT state FROM {0}run"))
    ((moved,),) = ask(store, "SELECT cents FROM account WHERE name = 'to'")
    assert states == {"completed": COUNT - undone, "failed": undone}
    assert moved == sum(1001 * number for number in range(COUNT) if number % 3)


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """One whose tables are there, the user's and Motet's."""
    if request.param == "SQLite":
        found = f"sqlite:///{tmp_path / 'motet.db'}"
    else:
        found = request.getfixturevalue("postgres_address")
    app = App("bank", store=found)
    app.sync.runs()
    app.sync.close()
    ask(found, *TABLES)
    return found


@pytest.mark.parametrize("point", ["before RecordFact 3", "after RecordFact 5", "after RecordFact 30"])
def test_a_death_right_before_and_after_the_commit(store: str, point: str) -> None:
    code, _ = live(store, failpoint=point)
    assert code == EXIT_CODE, f"no commit reached {point}"
    agree(store)
    code, said = live(store)
    assert (code, said[-1]) == (0, "ended")
    ended(store)


@pytest.mark.parametrize("number", [1, 2])
def test_deaths_at_any_moment(store: str, number: int) -> None:
    """After a function has written and before its commit, in the middle of it, or after it."""
    print(f"MOTET_SEED={SEED}")
    chance = random.Random(SEED + number)
    for death in range(DEATHS):
        before = agree(store).total()
        if death == chance.randrange(DEATHS):
            code, said = live(store, kill_after=chance.randrange(1, 12))
        else:
            hang = chance.randrange(1, 5)
            code, said = live(store, hang=hang)
            if store.startswith("sqlite"):  # where they write one after the other
                assert agree(store).total() - before == hang - 1, "what was written last was taken back, and only that"
        assert code == -signal.SIGKILL
        agree(store)
    code, said = live(store)
    assert (code, said[-1]) == (0, "ended")
    ended(store)
