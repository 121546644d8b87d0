"""From publishing to a reaction, in one process that is idle; and what reactions cost whoever publishes: nothing."""

import asyncio
import random
import sqlite3
import subprocess
import sys
import time
from typing import Any

from benchmarks.frame import Found, Frame, median, percentile, say, span, verdict
from motet import App, Event

TITLE = "Publishing, with and without reactions"
MEDIAN_GOAL_MS = 10
SLOWER_GOAL_PERCENT = 10
REACTIONS = (0, 5)


def shop(store: str, reactions: int, begun: list[int]) -> App:
    """Its reactions tell when they began."""
    app = App("shop", store=f"sqlite:///{store}")
    for number in range(reactions):

        async def react(event: Event[Any]) -> None:
            begun.append(time.monotonic_ns())

        app.on("order.placed", name=f"react-{number}")(react)
    return app


async def react(given: Found) -> Found:
    """The probe of one process: `store`, `events`, `seed`. Each event is published when all is quiet."""
    begun: list[int] = []
    chance = random.Random(given["seed"])
    app = shop(given["store"], 1, begun)
    took: list[float] = []
    committed = asyncio.Event()
    app.hooks.batch_committed(lambda *_: committed.set())
    async with app.worker():
        for number in range(given["events"]):
            await asyncio.sleep(0.03 + 0.05 * chance.random())
            at = time.monotonic_ns()
            await app.publish("order.placed", {"number": number}, key=f"order-{number}")
            while len(begun) <= number:
                committed.clear()
                await committed.wait()
            took.append((begun[number] - at) / 1e6)
    return {"begun_ms": took}


async def serve(given: Found) -> Found:
    """The probe that reacts: `store`, `reactions`. Ends when its input does."""
    begun: list[int] = []
    async with shop(given["store"], given["reactions"], begun).worker():
        say({"ready": True})
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    return {"deliveries": len(begun)}


async def publish(given: Found) -> Found:
    """The probe that publishes, and knows of no reaction: `store`, `events`, `seed`."""
    app, chance = shop(given["store"], 0, []), random.Random(given["seed"])
    commits: list[int] = []
    took: list[float] = []
    app.hooks.batch_committed(lambda *_: commits.append(1))
    async with app.connect():
        for number in range(given["events"]):
            await asyncio.sleep(0.01 + 0.02 * chance.random())
            at = time.perf_counter()
            await app.publish("order.placed", {"number": number}, key=f"order-{number}")
            took.append((time.perf_counter() - at) * 1e3)
    return {"took_ms": took, "commits": len(commits)}


def measure(frame: Frame) -> Found:
    repeats: list[Found] = []
    for repeat in range(frame.repeats):
        with frame.fresh() as store:
            given = {"store": store, "events": 50 if frame.quick else 300, "seed": repeat}
            found: Found = {"begun_ms": frame.probe("publishing:react", given)["begun_ms"]}
        for reactions in REACTIONS if repeat % 2 == 0 else REACTIONS[::-1]:
            found[str(reactions)] = _published(frame, reactions, repeat)
        bare, observed = (found[str(reactions)] for reactions in REACTIONS)
        assert (bare["commits"], bare["rows"]) == (observed["commits"], observed["rows"]), (
            "reactions cost the publisher"
        )
        repeats.append(found)
    return {"repeats": repeats}


def _published(frame: Frame, reactions: int, seed: int) -> Found:
    """What publishing cost, beside a worker with so many reactions, and the rows that the publisher left."""
    events = 100 if frame.quick else 600
    asked: list[Found] = []
    with frame.fresh() as store:

        def heard(process: subprocess.Popen[str], said: Found) -> None:
            if said.get("ready"):
                asked.append(frame.probe("publishing:publish", {"store": store, "events": events, "seed": seed}))
                assert process.stdin is not None
                process.stdin.write("enough\n")
                process.stdin.flush()

        frame.probe("publishing:serve", {"store": store, "reactions": reactions}, heard=heard)
        connection = sqlite3.connect(store)
        (rows,) = connection.execute("SELECT count(*) FROM event WHERE type = 'order.placed'").fetchone()
        (left,) = connection.execute("SELECT count(*) FROM delivery").fetchone()
        connection.close()
    assert left == 0, "a healthy reaction leaves no rows"
    return {"rows": rows, **asked[0]}


def show(found: Found) -> list[str]:
    repeats = found["repeats"]
    begun = [percentile(one["begun_ms"], 50) for one in repeats]
    late = [percentile(one["begun_ms"], 99) for one in repeats]
    bare, observed = ([percentile(one[str(n)]["took_ms"], 50) for one in repeats] for n in REACTIONS)
    slower = (median(observed) / median(bare) - 1) * 100
    last = repeats[-1]["5"]
    return [
        f"publish to reaction:  p50 {span(begun, '.1f')} ms; {verdict(median(begun), MEDIAN_GOAL_MS, at_least=False)}",
        f"                      p99 {span(late, '.1f')} ms",
        f"publish, 0 reactions: p50 {span(bare, '.2f')} ms",
        f"publish, 5 reactions: p50 {span(observed, '.2f')} ms in another process, {slower:+.0f} %; "
        + verdict(slower, SLOWER_GOAL_PERCENT, " %", at_least=False),
        f"the publisher's rows and commits are the same with both: {last['rows']} and {last['commits']}",
    ]
