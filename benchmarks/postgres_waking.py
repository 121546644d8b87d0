"""On PostgreSQL: a run that is started in one process and driven in another, both idle; and what idling costs."""

from benchmarks import waking
from benchmarks.frame import Found, Frame
from benchmarks.postgres import served

TITLE = "PostgreSQL: waking a worker in another process, both idle"
P99_GOAL_MS = 30


def measure(frame: Frame) -> Found:
    with served(frame) as fresh:
        return waking.wake(frame, fresh)


def show(found: Found) -> list[str]:
    return waking.show(found, P99_GOAL_MS)
