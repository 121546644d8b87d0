"""What a run costs a PostgreSQL server: log, place on disk, and its processor's time beside the worker's.

Three workflows that differ by steps or by events alone, each on a database of its own: so what one step or one event
more costs is told by the differences. These counts do not depend on the machine; the processor's time does, a little.
"""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.frame import Found, Frame, address
from benchmarks.postgres import served
from motet import App, Flow

TITLE = "PostgreSQL: what a run costs the server"
SHAPES = {"2 steps, 1 event": (2, 1), "6 steps, 1 event": (6, 1), "2 steps, 5 events": (2, 5)}
RUNS = 3_000
IN_FLIGHT = 500
TEXT = "x" * 98
SIZES = """SELECT relname, pg_total_relation_size(oid) FROM pg_class
    WHERE relnamespace = 'motet'::regnamespace AND relname IN ('run', 'history', 'event')"""


def an_app(store: str, steps: int, events: int) -> App:
    app = App("cost", store=address(store))

    @app.step
    async def note(text: str) -> str:
        return text

    @app.workflow
    async def work(flow: Flow, text: str) -> None:
        for _ in range(steps):
            await flow.step(note, text)
        for _ in range(events):
            flow.publish("noted", text)

    return app


async def spend(given: Found) -> Found:
    """The probe: `store`, `steps`, `events`, `runs`; `postmaster`, if the server is ours."""
    app = an_app(given["store"], given["steps"], given["events"])
    looking = await asyncpg.connect(given["store"])
    places = asyncio.Semaphore(IN_FLIGHT)

    async def one(number: int) -> None:
        async with places:
            await (await app.start("work", TEXT, id=f"run-{number}")).result()

    async with app.worker():
        await asyncio.gather(*(one(-number) for number in range(1, IN_FLIGHT + 1)))  # caches, statements, plans
        await looking.execute("CHECKPOINT")
        sizes = await _sizes(looking)
        log, used, server = await looking.fetchval(_LOG), time.process_time(), _server_seconds(given["postmaster"])
        await asyncio.gather(*(one(number) for number in range(given["runs"])))
        written = await looking.fetchval(f"SELECT {_POSITION} - $1::numeric", log)
        own = time.process_time() - used
        server = _server_seconds(given["postmaster"]) - server
        after = await _sizes(looking)
    await looking.close()
    runs = given["runs"]
    return {
        "log": float(written) / runs,
        "disk": {name: (after[name] - sizes[name]) / runs for name in after},
        "worker_us": own / runs * 1e6,
        "server_us": server / runs * 1e6,
    }


_POSITION = "pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"
_LOG = f"SELECT {_POSITION}"


async def _sizes(connection: Any) -> dict[str, int]:
    return {row[0]: row[1] for row in await connection.fetch(SIZES)}


def _server_seconds(postmaster: int) -> float:
    """What the server's processes have used of cores, those that have ended with it."""
    ticks = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        own = int(folder.name) == postmaster
        if own or int(fields[1]) == postmaster:
            ticks += sum(map(int, fields[11:15] if own else fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(frame: Frame) -> Found:
    runs = 1_000 if frame.quick else RUNS
    found: Found = {"runs": runs}
    with served(frame) as fresh:
        for name, (steps, events) in SHAPES.items():
            with fresh() as store:
                given = {"store": store, "steps": steps, "events": events, "runs": runs, "postmaster": fresh.pid or 0}
                found[name] = frame.probe("postgres_cost:spend", given)
    return found


def show(found: Found) -> list[str]:
    lines = [f"{found['runs']:,} runs, {IN_FLIGHT} at a time, payloads of 100 bytes; bytes and microseconds per run"]
    for name in SHAPES:
        one = found[name]
        disk = ", ".join(f"{table} {size:,.0f}" for table, size in sorted(one["disk"].items()))
        lines.append(
            f"{name:<18} log {one['log']:>7,.0f}   disk {sum(one['disk'].values()):>7,.0f} ({disk})   "
            f"worker {one['worker_us']:,.0f} us, server {one['server_us']:,.0f} us"
        )
    base, steps, events = (found[name] for name in SHAPES)
    for what, more in (("a step", steps), ("an event", events)):
        disk = sum(more["disk"].values()) - sum(base["disk"].values())
        lines.append(f"{what} more: log {(more['log'] - base['log']) / 4:,.0f}, disk {disk / 4:,.0f}")
    return lines
