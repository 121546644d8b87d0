"""A recorded history leads to the same commands in another process, whatever its hash seed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from tests.property.house import House, Plan
from tests.property.programs import Program, rounds
from tests.property.replaying import replay, send
from tests.property.test_crashes import plans

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def others() -> Iterator[list[Any]]:
    """Processes with other hash seeds."""
    with ExitStack() as stack:
        yield [stack.enter_context(_process(seed)) for seed in ("1", "4242")]


def _process(seed: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.property.replaying"]
    around = {**os.environ, "PYTHONHASHSEED": seed}
    return subprocess.Popen(command, cwd=ROOT, env=around, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


@given(rounds, plans)
def test_replay_asks_for_the_same_in_every_process(others: list[Any], programs: list[Program], plan: Plan) -> None:
    house = House(plan, programs)
    store = house.run()
    for (uid, generation), rows in store.history.items():
        run = store.runs[uid]
        if generation != run.generation:
            continue  # its input is gone
        told = replay(run, rows)
        for other in others:
            assert send(other, run, rows) == told
