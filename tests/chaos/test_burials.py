"""The campaign's look at burials: what it calls wrong, and what it does not."""

import os
import subprocess
from pathlib import Path

from tests.chaos.burials import Burials
from tests.chaos.planted import SHAPES
from tests.planted_bugs.planting import bugs

LEASE = 2.0
ALIVE = os.getpid()


def watched(*looks: tuple[float, int, int], pid: int = ALIVE) -> list[str]:
    """What is wrong after these looks at one worker: when, its counter, whether it is buried."""
    burials = Burials(Path("nowhere"), LEASE)
    burials.look([(7, ALIVE, 0, 0)], 0.0, 0.0)
    for when, counter, buried in looks:
        burials.look([(1, pid, counter, buried)], when, when + 0.01)
    return burials.wrong


def test_a_burial_after_a_lease_is_right() -> None:
    assert watched((1.0, 4, 0), (1.5, 5, 0), (2.5, 5, 0), (3.5, 5, 1)) == []


def test_who_moved_a_moment_ago_is_buried_too_early() -> None:
    (wrong,) = watched((1.0, 4, 0), (3.4, 4, 0), (3.5, 5, 0), (3.6, 5, 1))
    words = "was buried although it lives and its counter had moved 0.21 s before"
    assert wrong.startswith(f"worker 1 (process {ALIVE}) {words}")


def test_between_two_looks_the_earliest_moment_counts() -> None:
    assert watched((1.0, 4, 0), (3.2, 5, 1)) == [], "it may have moved at 1.0 already"
    assert len(watched((1.0, 4, 0), (2.9, 5, 1))) == 1, "not even then"


def test_the_dead_are_buried_at_once() -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    assert watched((1.0, 4, 0), (1.1, 5, 1), pid=gone.pid) == []


def test_the_buried_write_nothing() -> None:
    (wrong,) = watched((1.0, 5, 0), (3.5, 5, 1), (3.6, 6, 1))
    assert wrong == f"worker 1 (process {ALIVE}) has committed a batch after it was buried"


def test_each_bug_that_campaigns_look_for_is_there() -> None:
    assert set(SHAPES) <= {bug.name for bug in bugs()}
