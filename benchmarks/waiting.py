"""100,000 runs that wait: what they cost a worker in memory.

One process is client and worker. It starts runs that make one step and then sleep for an hour, 1,000 starts in
flight. A run that only waits leaves memory after a while, or at once when too many do (`Settings.idle_seconds`,
`Settings.resident_limit`: the defaults). The parent reads the process's memory from /proc; nothing is subtracted.
"""

import asyncio
import itertools
import sqlite3
import sys
import time
from contextlib import closing
from datetime import timedelta
from subprocess import Popen

from benchmarks import meters
from benchmarks.frame import Found, Frame, say, verdict
from motet import App, Flow, Workflow

TITLE = "100,000 waiting runs"
GOAL_MB = 200
IN_FLIGHT = 1_000
SETTLED_SECONDS = 3.0
PATIENCE_SECONDS = 120.0


def sleeper(store: str) -> tuple[App, Workflow[str, None]]:
    """A fresh app, and a workflow that makes one step and sleeps for an hour."""
    app = App("sleeper", store=f"sqlite:///{store}")

    @app.step
    async def take_note(text: str) -> str:
        return text

    @app.workflow
    async def wait_an_hour(flow: Flow, text: str) -> None:
        await flow.step(take_note, text)
        await flow.sleep(timedelta(hours=1))

    return app, wait_an_hour


async def fill(given: Found) -> Found:
    """The probe: `store`, `runs`. Ends when its input does."""
    app, workflow = sleeper(given["store"])
    runs: int = given["runs"]
    numbers = itertools.count()
    async with app.worker():
        say({"ready": True})
        began = time.perf_counter()

        async def start() -> None:
            while (number := next(numbers)) < runs:
                await app.start(workflow, f"note {number}", id=f"wait-{number}")
                if number % 1_000 == 0:
                    say({"started": number})

        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(start())
        seconds = time.perf_counter() - began
        say({"all": True})
        await asyncio.to_thread(sys.stdin.read)
    return {"start_seconds": seconds}


class Observer:
    """The parent's side: reads memory when the probe speaks, and ends it when all runs have left memory."""

    def __init__(self, frame: Frame, store: str, runs: int) -> None:
        self._frame = frame
        self._store = store
        self._runs = runs
        self.found: Found = {"runs": runs}

    def heard(self, process: "Popen[str]", said: Found) -> None:
        if "ready" in said:
            self.found["base_mb"] = self._now(process)
        elif "started" in said:
            self._frame.progress(said["started"] / self._runs, "starting")
        elif "all" in said:
            self._settle(process)
            assert process.stdin is not None
            process.stdin.close()

    def _settle(self, process: "Popen[str]") -> None:
        self.found["all_started_mb"] = self._now(process)
        began = time.perf_counter()
        with closing(sqlite3.connect(f"file:{self._store}?mode=ro", uri=True)) as connection:
            while (held := self._held(connection)) > 0:
                if time.perf_counter() - began > PATIENCE_SECONDS:
                    break
                self._frame.progress(1 - held / self._runs, "leaving memory")
                time.sleep(0.5)
            waiting = connection.execute("SELECT count(*) FROM run WHERE state = 'waiting'").fetchone()[0]
        self.found |= {"waiting": waiting, "still_held": held, "leaving_seconds": time.perf_counter() - began}
        time.sleep(SETTLED_SECONDS)
        memory = meters.memory(process.pid)
        self.found["settled_mb"], self.found["peak_mb"] = memory or (None, None)

    @staticmethod
    def _held(connection: sqlite3.Connection) -> int:
        return int(connection.execute("SELECT count(*) FROM run WHERE owner IS NOT NULL").fetchone()[0])

    @staticmethod
    def _now(process: "Popen[str]") -> float | None:
        memory = meters.memory(process.pid)
        return memory[0] if memory is not None else None


def measure(frame: Frame) -> Found:
    runs = 10_000 if frame.quick else 100_000
    with frame.fresh() as store:
        observer = Observer(frame, store, runs)
        done = frame.probe("waiting:fill", {"store": store, "runs": runs}, heard=observer.heard)
    return observer.found | done


def show(found: Found) -> list[str]:
    rate = found["runs"] / found["start_seconds"]
    lines = [
        f"{found['runs']:,} runs, started in {found['start_seconds']:.1f} s ({rate:,.0f}/s, one step each)",
        f"{found['leaving_seconds']:.0f} s later {found['waiting']:,} in the store, {found['still_held']:,} in memory",
    ]
    if found["peak_mb"] is None:
        return [*lines, "memory: not measured (no /proc here)"]
    peak = found["peak_mb"]
    lines += [
        f"whole process: {found['base_mb']:.0f} MB before the first run, {found['all_started_mb']:.0f} at the last,",
        f"{found['settled_mb']:.0f} MB settled, {peak:.0f} MB at its peak",
    ]
    if found["runs"] == 100_000:
        lines[-1] += f"; {verdict(peak, GOAL_MB, ' MB', at_least=False)}"
    else:
        lines.append("CAVEAT: the goal is for 100,000 runs; this was the short version")
    return lines
