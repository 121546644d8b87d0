"""A branch behind `flow.changed` is put into random workflows while they run: whenever that is, none diverges."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.model.history import Recorded
from motet.model.run import ENDED
from motet.orchestration.machine import Identity, Machine
from motet.orchestration.replaying import replay
from tests.property.house import House, Plan
from tests.property.programs import Code, Program, app, rounds
from tests.property.test_crashes import crashes, plans


@pytest.fixture(autouse=True)
def _code_of_today() -> Generator[None]:
    yield
    Code.knows_changes = True


class Redeployed(House):
    """Its process runs the old code until it has crashed so many times, and the new code from then on."""

    def __init__(self, plan: Plan, programs: list[Program], after: int) -> None:
        Code.knows_changes = False
        self.after = after
        super().__init__(plan, programs)

    def restart(self) -> None:
        super().restart()
        Code.knows_changes = self.crashed >= self.after


@settings(max_examples=settings().max_examples // 3)  # each is a whole story, and replayed twice
@given(rounds, plans, crashes, st.integers(1, 3))
def test_new_code_takes_over_whatever_the_old_has_begun(
    programs: list[Program], plan: Plan, crashes: frozenset[int], after: int
) -> None:
    """The house asserts at each claim that no run is parked."""
    house = Redeployed(Plan(**{**vars(plan), "crashes": crashes}), programs, after)
    house.run()
    assert all(run.state in ENDED for run in house.store.runs.values())
    Code.knows_changes = True
    for (uid, generation), rows in house.store.history.items():
        run = house.store.runs[uid]
        if generation == run.generation and house.crashed >= after:
            once, twice = (_changes(run.workflow, uid, generation, run.input, run.started_at, rows) for _ in "12")
            marked = {row.op.removeprefix("changed:").removesuffix("#1") for row in rows if row.kind == "changed"}
            assert once == twice
            assert {name for name, new in once.items() if new} >= marked & set(once), "what is recorded stays"


def _changes(
    workflow: str, uid: str, generation: int, input: str | None, at: int, rows: list[Recorded]
) -> dict[str, bool]:
    machine = Machine(
        app.registry.workflow(workflow), app.registry, Identity(uid, generation, uid, uid), input, at, 2**20, True
    )
    for _ in replay(machine, rows):
        pass
    changes = dict(machine.changes)
    machine.close()
    return changes
