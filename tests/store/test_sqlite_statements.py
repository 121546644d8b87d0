"""What applying mutations tells: how many rows were changed, exactly, for all that follows from it is looked up."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from motet.model.clock import SYSTEM
from motet.store.mutations import EndRun, EnterState, PutInbox, RecordFact, StartRun, TakeInbox
from motet.store.sqlite import applying
from motet.store.sqlite.schema import migrate
from motet.store.sqlite.statements import apply
from motet.store.sqlite.writing import Writer
from motet.testing.conformance.records import NOW, a_fact, a_message, a_run, an_event


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, "memory")
    yield connection
    connection.close()


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 100, 255, 501, 513])
def test_changes_are_counted(database: sqlite3.Connection, count: int) -> None:
    runs = [a_run(state="running") for _ in range(count)]
    steps: list[tuple[type, list[Any], int]] = [
        (StartRun, runs, 0),
        (RecordFact, [a_fact(run, 1) for run in runs], 0),
        (PutInbox, [a_message(run) for run in runs], 0),
        (TakeInbox, [TakeInbox(run.uid, "cancel") for run in runs], 0),
        (EnterState, [EnterState(run.uid, "compensating", None, None, "f") for run in runs], count),
        (EndRun, [EndRun(run.uid, "failed", None, None, NOW) for run in runs], 0),
    ]
    for kind, rows, again in steps:
        head = (0,) if kind is StartRun else ()
        assert apply(database, kind, rows, head) == count, f"{kind.__name__}, for the first time"
        assert apply(database, kind, rows, head) == again, f"{kind.__name__}, again"


def test_what_goes_well_is_not_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusals and losers cost their statements only where there are some."""
    writer = Writer(str(tmp_path / "motet.db"), SYSTEM)
    writer.migrate()
    runs = [a_run(state="running") for _ in range(300)]

    def unexpected(*_: object) -> None:
        raise AssertionError("nothing was refused or lost")

    monkeypatch.setattr(applying, "refused", unexpected)
    monkeypatch.setattr(applying, "losers", unexpected)
    writer.commit([[run] for run in runs], None)
    writer.commit(
        [[a_fact(run, 1), EnterState(run.uid, "compensating", None, None, "f"), an_event()] for run in runs], None
    )
    writer.commit([[EndRun(run.uid, "failed", None, None, NOW)] for run in runs], None)
    writer.close()
