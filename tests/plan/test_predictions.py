"""Over random executions of the fixture workflows: operations are on the plan, and what came next was predicted."""

from __future__ import annotations

import os

from tests.plan.drill import Drill, Tally, drawn
from tests.plan.fixtures import called, straight, together
from tests.plan.fixtures.crew import app

RUNS = int(os.environ.get("MOTET_PLAN_RUNS", "40"))
FIXTURES = (straight, together, called)
NAMES = tuple(app.registry.workflows)


def test_what_comes_next_is_what_was_predicted() -> None:
    whole = Tally()
    for name, workflow in app.registry.workflows.items():
        plan = drawn(workflow)
        tally = Tally()
        for seed in range(RUNS):
            tally.add(Drill(workflow, plan, seed).run())
        print(
            f"{name:32} {tally.operations:6} operations, {tally.landed / tally.operations:7.1%} on the plan; "
            f"{tally.positions:6} positions: {tally.predicted / tally.positions:7.1%} predicted, "
            f"{tally.unknown / tally.positions:6.1%} cannot be known"
        )
        whole.add(tally)
    known = whole.positions - whole.unknown
    print(
        f"{len(NAMES)} workflows; {whole.operations} operations: {whole.landed / whole.operations:.2%} "
        f"on the plan; {whole.positions} positions: {whole.unknown / whole.positions:.2%} cannot be known, "
        f"{whole.predicted / known:.2%} of the others predicted"
    )
    print(f"{whole.options / whole.positions:.2f} predicted per position, if nothing fails")
    print("\n".join(whole.misses[:60]))
    assert whole.landed >= 0.95 * whole.operations
    assert whole.predicted == known
    assert whole.options <= 2.5 * whole.positions, "who predicts everything has said nothing"
    assert whole.unknown <= 0.10 * whole.positions
