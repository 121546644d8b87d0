"""A run that is started in one process and driven in another, both idle before; and what idling costs."""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from benchmarks.frame import Found, Frame, address, percentile, say, span, verdict
from motet import App, Flow, Workflow

TITLE = "Waking a worker in another process, both idle"
MEDIAN_GOAL_MS = 10
P99_GOAL_MS = 50
IDLE_GOAL_PERCENT = 1


def clockwork(store: str) -> tuple[App, Workflow[str, int]]:
    """A fresh app whose only step tells when it began, by a clock that all processes of the machine share."""
    app = App("clockwork", store=address(store))

    @app.step
    async def tell_time(_: str) -> int:
        return time.monotonic_ns()

    @app.workflow
    async def look(flow: Flow, text: str) -> int:
        return await flow.step(tell_time, text)

    return app, look


async def serve(given: Found) -> Found:
    """The probe that drives: `store`. Ends when its input does; tells how busy it was when idle."""
    app, _ = clockwork(given["store"])
    async with app.worker():
        await asyncio.sleep(2)  # the first seconds of a process are not idle ones
        began, used = time.monotonic(), time.process_time()
        await asyncio.sleep(given["idle_seconds"])
        idle = (time.process_time() - used) / (time.monotonic() - began)
        say({"ready": True})
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    return {"idle_percent": idle * 100}


async def ask(given: Found) -> Found:
    """The probe that starts: `store`, `runs`, `seed`."""
    app, look = clockwork(given["store"])
    chance = random.Random(given["seed"])
    begun: list[float] = []
    known: list[float] = []
    async with app.connect():
        for number in range(given["runs"]):
            await asyncio.sleep(0.03 + 0.07 * chance.random())  # until all is quiet again
            started = time.monotonic_ns()
            run = await app.start(look, "now", id=f"look-{number}")
            at = await run.result()
            begun.append((at - started) / 1e6)
            known.append((time.monotonic_ns() - started) / 1e6)
    return {"begun_ms": begun, "known_ms": known}


def measure(frame: Frame) -> Found:
    return wake(frame, frame.fresh)


def wake(frame: Frame, fresh: Callable[[], AbstractContextManager[str]]) -> Found:
    """On stores that are not there yet."""
    repeats: list[Found] = []
    for repeat in range(frame.repeats):
        with fresh() as store:
            asked: list[Found] = []

            def heard(
                process: subprocess.Popen[str], said: Found, store: str = store, asked: list[Found] = asked,
                seed: int = repeat,
            ) -> None:  # fmt: skip
                if said.get("ready"):
                    runs = 50 if frame.quick else 300
                    asked.append(frame.probe("waking:ask", {"store": store, "runs": runs, "seed": seed}))
                    assert process.stdin is not None
                    process.stdin.write("enough\n")
                    process.stdin.flush()

            served = frame.probe("waking:serve", {"store": store, "idle_seconds": frame.seconds * 2}, heard=heard)
            repeats.append(served | asked[0])
    return {"repeats": repeats}


def show(found: Found, p99_goal_ms: float = P99_GOAL_MS) -> list[str]:
    repeats = found["repeats"]
    middle = [percentile(one["begun_ms"], 50) for one in repeats]
    late = [percentile(one["begun_ms"], 99) for one in repeats]
    known = [percentile(one["known_ms"], 50) for one in repeats]
    idle = [one["idle_percent"] for one in repeats]
    half, most, least = (sorted(values)[len(values) // 2] for values in (middle, late, idle))
    return [
        f"start to first step:   p50 {span(middle, '.1f')} ms; {verdict(half, MEDIAN_GOAL_MS, at_least=False)}",
        f"                       p99 {span(late, '.1f')} ms; {verdict(most, p99_goal_ms, at_least=False)}",
        f"start to result known: p50 {span(known, '.1f')} ms",
        f"an idle worker uses {span(idle, '.2f')} % of a core; {verdict(least, IDLE_GOAL_PERCENT, at_least=False)}",
    ]
