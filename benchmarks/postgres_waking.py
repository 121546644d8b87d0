"""On PostgreSQL: a run that is started in one process and driven in another, both idle; and what idling costs.

Beside it, after each repeat and on the same server: the least that bare statements need for the same. One process
inserts a row and notifies, another one hears of it and updates the row, each commit synced. Both have been idle as long
as ours. What makes these late, other programs or the disk, makes ours late as well.
"""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg

from benchmarks import waking
from benchmarks.frame import Found, Frame, percentile, say, span
from benchmarks.postgres import served

TITLE = "PostgreSQL: waking a worker in another process, both idle"
P99_GOAL_MS = 30


async def listen(given: Found) -> Found:
    """The probe that hears: `store`. Ends when its input does."""
    connection = await asyncpg.connect(given["store"])
    writing = await asyncpg.connect(given["store"])
    work: asyncio.Queue[int] = asyncio.Queue()
    heard: list[tuple[int, int]] = []

    def hear(_connection: Any, _pid: int, _channel: str, payload: str) -> None:
        heard.append((int(payload), time.monotonic_ns()))
        work.put_nowait(int(payload))

    await connection.execute("CREATE TABLE bare (id integer PRIMARY KEY, taken boolean NOT NULL DEFAULT false)")
    await connection.add_listener("bare", hear)
    say({"ready": True})
    over = asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    taken: list[tuple[int, int]] = []
    while True:
        next_one = asyncio.ensure_future(work.get())
        await asyncio.wait({next_one, over}, return_when=asyncio.FIRST_COMPLETED)
        if not next_one.done():
            next_one.cancel()
            break
        await writing.fetch("UPDATE bare SET taken = true WHERE id = $1 RETURNING id", next_one.result())
        taken.append((next_one.result(), time.monotonic_ns()))
    await connection.close()
    await writing.close()
    return {"heard": heard, "taken": taken}


async def tell(given: Found) -> Found:
    """The probe that writes and notifies: `store`, `runs`, `seed`."""
    connection = await asyncpg.connect(given["store"])
    chance = random.Random(given["seed"])
    begun: list[int] = []
    committed: list[float] = []
    for number in range(given["runs"]):
        await asyncio.sleep(0.03 + 0.07 * chance.random())
        began = time.monotonic_ns()
        await connection.execute("INSERT INTO bare (id) VALUES ($1)", number)
        committed.append((time.monotonic_ns() - began) / 1e6)
        await connection.execute(f"NOTIFY bare, '{number}'")
        begun.append(began)
    await connection.close()
    return {"begun": begun, "committed_ms": committed}


def bare(frame: Frame, store: str, seed: int) -> Found:
    """What bare statements need: until the insert is synced, until it is heard, until the update is synced, too."""
    told: list[Found] = []

    def heard(process: subprocess.Popen[str], said: Found) -> None:
        if said.get("ready"):
            runs = 50 if frame.quick else 300
            told.append(frame.probe("postgres_waking:tell", {"store": store, "runs": runs, "seed": seed}))
            assert process.stdin is not None
            process.stdin.write("enough\n")
            process.stdin.flush()

    found = frame.probe("postgres_waking:listen", {"store": store}, heard=heard)
    begun = told[0]["begun"]
    return {
        "committed_ms": told[0]["committed_ms"],
        "heard_ms": [(at - begun[number]) / 1e6 for number, at in found["heard"]],
        "taken_ms": [(at - begun[number]) / 1e6 for number, at in found["taken"]],
    }


def measure(frame: Frame) -> Found:
    beside: list[Found] = []
    with served(frame) as fresh:

        @contextmanager
        def stores() -> Iterator[str]:
            with fresh() as store:
                yield store
                beside.append(bare(frame, store, len(beside)))

        found = waking.wake(frame, stores)
    return found | {"bare": beside}


def show(found: Found) -> list[str]:
    beside = found["bare"]
    lines = waking.show(found, P99_GOAL_MS)
    ours = [percentile(one["begun_ms"], 50) for one in found["repeats"]]
    least = [percentile(one["taken_ms"], 50) for one in beside]
    for name, said in (
        ("committed_ms", "an insert is synced"), ("heard_ms", "and notified"), ("taken_ms", "and an update synced"),
    ):  # fmt: skip
        middle, late = ([percentile(one[name], percent) for one in beside] for percent in (50, 99))
        lines.append(f"bare, until {said + ':':<22} p50 {span(middle, '.1f')} ms, p99 {span(late, '.1f')} ms")
    ratios = [mine / bare for mine, bare in zip(ours, least, strict=True)]
    return [*lines, f"start to first step is {span(ratios, '.1f')} times the bare statements' median"]
