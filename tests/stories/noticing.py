"""A program that its test kills: a worker that notices what has not come, on a clock that the test sets forward.

Arguments: the store, the file of effects, the file that says by how many seconds the clock is ahead, and how many
effects it may make before it waits to be killed. Each effect of the remedy goes to the outside file, fsynced, and is
then told on stdout.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from pathlib import Path

from motet import App, Flow, Missed, Retry, Settings, attempt
from motet.model.clock import SECOND, SYSTEM, Micros

STORE, EFFECTS, AHEAD, MOST = sys.argv[1:]
made = itertools.count(1)


class SetForward:
    """The system's clock, and what the file says."""

    def now(self) -> Micros:
        return SYSTEM.now() + int(Path(AHEAD).read_text()) * SECOND

    def monotonic(self) -> float:
        return SYSTEM.monotonic()


def write(line: str) -> None:
    with Path(EFFECTS).open("a") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


app = App("audit", store=f"sqlite:///{STORE}", settings=Settings(poll_seconds=0.05), clock=SetForward())


@app.step(retry=Retry(attempts=1_000, first=0.01))
async def refund(learner: str) -> None:
    if next(made) > int(MOST):
        await asyncio.Event().wait()  # so that there is something left to do for whoever comes after it
    write(f"{learner} {attempt().key}\n")
    print("refunded", learner, flush=True)


@app.workflow
async def give_back(flow: Flow, missed: Missed) -> None:
    await flow.step(refund, missed.key)


app.expect("learner.enrolled", after="learner.charged", within=3600, name="seat", on_missed=give_back)


async def main() -> None:
    async with app.worker():
        print("ready", flush=True)
        await asyncio.Event().wait()


asyncio.run(main())
