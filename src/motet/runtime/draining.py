"""Stopping in good order: steps at work may finish for a while, and everything else is handed over at once.

draining ──> no attempt begins any more
    run without a step at work ──> released, and taken up by the next worker that is free
    run with one               ──> released when it has ended, or when the time is over
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Protocol

from motet.model.clock import Clock
from motet.runtime.attempts import Attempts
from motet.runtime.driver import Driver

LOOK_SECONDS = 0.02


class Drained(Protocol):
    """What is drained: a worker that begins nothing any more."""

    clock: Clock
    attempts: Attempts
    drivers: dict[str, Driver]


async def drain(worker: Drained, seconds: float) -> Collection[str]:
    """Release every run as soon as none of its steps is at work, for so many seconds at most.

    Returns:
        The ids of the runs that have a step at work even now; they are not released yet.
    """
    end = worker.clock.monotonic() + seconds
    worker.attempts.begin_no_more()
    while True:
        at_work = [driver for driver in _present(worker) if not _let_go(driver, worker.clock)]
        if not at_work or worker.clock.monotonic() >= end:
            return [driver.run.id for driver in at_work]
        await asyncio.sleep(LOOK_SECONDS)  # tidy: between two looks


def release_rest(worker: Drained) -> None:
    """The time is over: what was at work is done again elsewhere."""
    for driver in _present(worker):
        driver.release(worker.clock.now())


def named(ids: Collection[str]) -> str:
    """The first few of them, for a log."""
    shown = ", ".join(sorted(ids)[:3])
    return shown if len(ids) <= 3 else f"{shown} ..."


def _present(worker: Drained) -> list[Driver]:
    return [driver for driver in worker.drivers.values() if not driver.leaving]


def _let_go(driver: Driver, clock: Clock) -> bool:
    """Release the run, unless one of its steps is at work, or has just been: what follows may be the run's end."""
    if driver.launching.withdraw() or driver.unwritten:
        return False
    driver.release(clock.now() if driver.launching.postponed else driver.next_due())
    return True
