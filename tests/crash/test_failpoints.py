"""A process killed at every kind of mutation, before and after its commit, then started again until all has ended.

Checked against the effects file, which the steps themselves write: never against the engine's own records. Two
processes run at a time; a failpoint that no commit reaches fails its test. On PostgreSQL at those where its commits
differ: what is written under the log's lock, and what belongs to deliveries and expectations.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from motet.errors import ConfigError
from motet.runtime.hooks import Hooks
from motet.store.mutations import KIND_NAMES
from motet.testing.faults import EXIT_CODE, FAILPOINTS, VARIABLE, Failpoint, arm, reached_in
from tests.crash import effects
from tests.crash.asking import ask
from tests.crash.effects import Line
from tests.postgres_server import Databases

ROOT = Path(__file__).parent.parent.parent
SQLITE, POSTGRES = "SQLite", "PostgreSQL"
LATER = (
    Failpoint("after", "RecordFact", 4),
    Failpoint("before", "RecordFact", 9),
    Failpoint("after", "StartRun", 4),
    Failpoint("after", "AppendEvent", 3),
    Failpoint("before", "EndRun", 4),
    Failpoint("after", "EndRun", 6),
)
"""Deeper into the lives of the runs, where the first of a kind does not lead."""

ON_POSTGRES = tuple(
    point
    for point in FAILPOINTS
    if point.kind in ("RecordFact", "AppendEvent", "RegisterWait", "KeepDelivery", "MissExpected")
)
POINTS = (*((SQLITE, point) for point in (*FAILPOINTS, *LATER)), *((POSTGRES, point) for point in ON_POSTGRES))
"""Of which store, and where."""


class Life(NamedTuple):
    """What one store has been through."""

    codes: list[int]
    outcomes: dict[str, Any]
    lines: list[Line]
    events: list[tuple[str, str, str]]


Place = tuple[Path, str]
"""A folder, and the store's address."""
Point = tuple[str, Failpoint]


def live(place: Place, point: Failpoint | None) -> Life:
    """Run the scenario, killed at the point, and again until it has come to its end."""
    folder, store = place
    codes: list[int] = []
    output = ""
    for failpoint in (point, None) if point is not None else (None,):
        environment = {**os.environ, VARIABLE: str(failpoint) if failpoint is not None else ""}
        process = subprocess.run(
            [sys.executable, "-m", "tests.crash.scenario", str(folder), store],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        codes.append(process.returncode)
        if process.returncode not in (0, EXIT_CODE):
            raise AssertionError(f"{failpoint}: exit code {process.returncode}\n{process.stderr}")
        output = process.stdout
    rows = ask(store, "SELECT type, subject, data FROM {0}event WHERE type NOT IN ('motet.worker.lost')")
    return Life(codes, json.loads(output), effects.read(folder / "effects"), sorted(rows))


Places = Callable[[str], Place]


@pytest.fixture(scope="module")
def places(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Places:
    """A new place of this kind."""

    def make(kind: str) -> Place:
        folder = tmp_path_factory.mktemp("life")
        if kind == SQLITE:
            return folder, f"sqlite:///{folder / 'motet.db'}"
        databases: Databases = request.getfixturevalue("postgres")
        return folder, databases.make()

    return make


@pytest.fixture(scope="module")
def uncrashed(places: Places) -> Life:
    return live(places(SQLITE), None)


@pytest.fixture(scope="module")
def lives(request: pytest.FixtureRequest, places: Places) -> Iterator[dict[Point, Future[Life]]]:
    """Those whose tests were asked for, two at a time."""
    asked = [item.callspec.params["point"] for item in request.session.items if _has_point(item)]
    with ThreadPoolExecutor(2) as pool:
        futures = {point: pool.submit(live, places(point[0]), point[1]) for point in asked}
        yield futures
        for future in futures.values():
            future.cancel()


def _has_point(item: Any) -> bool:
    return item.fspath == __file__ and "point" in getattr(getattr(item, "callspec", None), "params", {})


@pytest.mark.parametrize("point", POINTS, ids=lambda point: f"{point[0]} {point[1]}")
def test_a_life_with_a_crash_ends_as_one_without(
    point: Point, lives: dict[Point, Future[Life]], uncrashed: Life
) -> None:
    """Whatever the store: it ends as on SQLite."""
    life = lives[point].result()
    assert life.codes == [EXIT_CODE, 0], f"no commit reached the failpoint {point}"
    assert life.outcomes == uncrashed.outcomes
    assert life.events == uncrashed.events, "no event is lost or doubled"
    assert _done(life) == _done(uncrashed), "the same effects, and no other"
    assert repeated_after_acknowledgement(life.lines) == [], "a completed step never runs again"
    tries = Counter((line.key, line.attempt) for line in life.lines if line.kind == "effect")
    assert max(tries.values()) <= 2, "one crash repeats an effect once at most"
    assert sum(tries.values()) - len(tries) <= 12, "only what was in flight is repeated"


def _done(life: Life) -> set[tuple[str, str]]:
    return {(line.operation, line.step) for line in life.lines if line.kind == "effect"}


def repeated_after_acknowledgement(lines: list[Line]) -> list[Line]:
    """Effects of steps whose completion had been acknowledged before."""
    acknowledged: set[str] = set()
    repeated: list[Line] = []
    for line in lines:
        if line.kind == "acknowledged":
            acknowledged.add(line.key)
        elif line.key in acknowledged:
            repeated.append(line)
    return repeated


def test_the_life_without_a_crash(uncrashed: Life) -> None:
    """What the others are compared with: every effect once, and all that the scenario promises."""
    assert {id: outcome for id, (outcome, _) in uncrashed.outcomes.items()} == {
        "buy": "completed", "decline": "Declined", "rounds": "completed", "outer": "completed",
        "waiting": "RunCancelled", "stuck": "RunFailed", "second": "completed", "told": "published",
        "missed": "completed", "reacted": "reacted", "asked": "completed",
    }  # fmt: skip
    keys = [line.key for line in uncrashed.lines if line.kind == "effect"]
    assert len(set(keys)) == len(keys) == 24
    assert Counter(name for name, _, _ in uncrashed.events) == {
        "purchase.charged": 2, "purchase.completed": 2, "round.ended": 2, "day.begun": 1,
        "day.thanked": 1, "day.echoed": 1, "question.asked": 2, "answer.given": 2,
        "parcel.sent": 2, "parcel.arrived": 1, "motet.expectation.missed": 1,
        "motet.run.completed": 7, "motet.run.failed": 4, "motet.run.cancelled": 1, "motet.run.blocked": 1,
    }  # fmt: skip


def test_repetitions_are_seen() -> None:
    done = Line("effect", "k", "r", "s", 1)
    told = Line("acknowledged", "k", "", "s", 1)
    assert repeated_after_acknowledgement([done, done, told]) == []
    assert repeated_after_acknowledgement([done, told, done]) == [done]


def test_there_is_a_failpoint_on_both_sides_of_every_kind() -> None:
    assert {point[:2] for point in FAILPOINTS} == {
        (when, kind) for when in ("before", "after") for kind in KIND_NAMES.values()
    }
    assert len(KIND_NAMES) == len(set(KIND_NAMES.values())) == 19


def test_failpoints_are_written_as_they_are_read() -> None:
    for _, point in POINTS:
        assert Failpoint.parse(str(point)) == point
    assert Failpoint.parse("before EndRun") == Failpoint("before", "EndRun", 1)


@pytest.mark.parametrize(
    "text", ["between EndRun 1", "before Nothing 1", "before EndRun 0", "before EndRun x", "EndRun"]
)
def test_a_failpoint_that_cannot_be_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="write 'before KIND COUNT' or 'after KIND COUNT'; KIND is one of RetireId"):
        arm(Hooks(), {VARIABLE: text})


def test_of_several_failpoints_the_first_that_is_reached_is_the_end() -> None:
    program = """if True:
        from motet.runtime.hooks import Hooks
        from motet.testing.faults import arm
        hooks = Hooks()
        arm(hooks)
        for kinds in ({"StartRun"}, {"RecordFact", "EndRun"}, {"StartRun"}):
            for when in ("before", "after"):
                hooks.failpoint(when, frozenset(kinds))
                print(when, *sorted(kinds), flush=True)
    """
    points = "before StartRun 2, after RecordFact, after EndRun 1, before RecordFact 2"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, VARIABLE: points},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == EXIT_CODE
    assert done.stdout.splitlines() == ["before StartRun", "after StartRun", "before EndRun RecordFact"]
    assert reached_in(done.stderr) == (Failpoint("after", "RecordFact"), Failpoint("after", "EndRun"))
    assert reached_in("Traceback") == ()


def test_who_is_not_armed_is_left_alone() -> None:
    hooks = Hooks()
    assert arm(hooks, {}) == ()
    assert hooks.failpoint is None
