"""A PostgreSQL that has grown: what claims, timers, waits and reactions take beside a million waiting runs.

The rows are loaded by SQL, in the form in which runs and publishers would have left them: half of the runs sleep until
some time in the next weeks, half wait for an event that has not come; each has its history; the log is full of events
of fifty types. Then one worker serves, idle between two things, and the same is measured as on an empty database. Runs
leave memory as soon as they wait, so that each timer and each wait is found in the database.
"""

import asyncio
import random
import time
from typing import Any

import asyncpg

from benchmarks.frame import Found, Frame, address, median, percentile
from benchmarks.postgres import served
from motet import App, Event, Flow, Settings, Workflow

TITLE = "PostgreSQL: flat with many waiting runs and a long log"
FULL = (1_000_000, 10_000_000)
SHORT = (50_000, 500_000)
FLAT_GOAL = 2.0
"""Times may be so much longer than on an empty database: what grows with the logarithm, or with what a cache holds."""
KINDS = ("step of a claimed run", "timer too late", "event to waiting run", "event to reaction", "publish", "start")
SCHEMA = "motet"

RUNS = """INSERT INTO motet.run (uid, id, workflow, version, state, generation, epoch, input, conversation, created_at,
    started_at, wake_at, crashes, python, fingerprint, since)
    SELECT uid(n), 'far-' || n, CASE WHEN n % 2 = 0 THEN 'large/far_timer' ELSE 'large/far_event' END, 1, 'waiting',
        1, 1, '"far"', 'far-' || n, 1, 1, CASE WHEN n % 2 = 0 THEN (extract(epoch FROM now()) * 1e6)::bigint
        + (86400 + n) * 1000000::bigint END, 0, '3.11', 'code', 0
    FROM generate_series($1::bigint, $2::bigint) AS n"""
HISTORY = """INSERT INTO motet.history
    (uid, generation, position, applied, op, operation_kind, kind, at, payload, attempt)
    SELECT uid(n), 1, 1, 0, 'note#1', 'step', 'completed', 1, '"noted"', 1
    FROM generate_series($1::bigint, $2::bigint) AS n"""
WAITS = """INSERT INTO motet.wait (uid, op, type, key, after) SELECT uid(n), '1.wait#1', 'far.come', 'far-' || n, 0
    FROM generate_series($1::bigint, $2::bigint) AS n WHERE n % 2 = 1"""
EVENTS = """INSERT INTO motet.event (position, id, source, type, subject, time, recorded_at, correlationid, data)
    SELECT n, 'old-' || n, 'large', 'old.type_' || n % 50, 'key-' || n % 100000, 1, 1, 'key-' || n % 100000,
        '{"number":1}'
    FROM generate_series($1::bigint, $2::bigint) AS n"""
UID = "CREATE FUNCTION pg_temp.uid(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT lpad(n::text, 26, '0') $$"
CHUNK = 250_000
NAP_SECONDS = 0.5


class Large:
    """A fresh app whose parts tell when they began, on a clock that all processes of the machine share."""

    def __init__(self, store: str) -> None:
        self.begun: dict[str, int] = {}
        self.changed = asyncio.Event()
        settings = Settings(store=address(store), idle_seconds=0.05)
        self.app = app = App("large", settings=settings)

        @app.step
        async def note(name: str) -> str:
            self.begin(name)
            return name

        @app.workflow
        async def look(flow: Flow, name: str) -> None:
            await flow.step(note, name)

        @app.workflow
        async def nap(flow: Flow, name: str) -> None:
            await flow.sleep(NAP_SECONDS)
            await flow.step(note, name)

        @app.workflow
        async def await_it(flow: Flow, name: str) -> None:
            await flow.wait("near.come", key=name)
            await flow.step(note, name)

        @app.workflow
        async def far_timer(flow: Flow, name: str) -> None:
            await flow.step(note, name)
            await flow.sleep(86_400)

        @app.workflow
        async def far_event(flow: Flow, name: str) -> None:
            await flow.step(note, name)
            await flow.wait("far.come", key=name)

        @app.on("near.published")
        async def react(event: Event[Any]) -> None:
            assert event.key is not None
            self.begin(event.key)

        self.look: Workflow[str, None] = look
        self.nap: Workflow[str, None] = nap
        self.await_it: Workflow[str, None] = await_it

    def begin(self, name: str) -> None:
        self.begun[name] = time.monotonic_ns()
        self.changed.set()


async def fill(given: Found) -> Found:
    """The probe that loads: `store`, `runs`, `events`."""
    async with Large(given["store"]).app.connect():
        pass  # makes the schema
    connection = await asyncpg.connect(given["store"], server_settings={"synchronous_commit": "off"})
    began = time.perf_counter()
    await connection.execute(UID)
    await connection.execute("SET search_path = motet, pg_temp, public")
    await connection.execute(
        "INSERT INTO motet.waited_type (type, since) VALUES ('far.come', 0) ON CONFLICT DO NOTHING"
    )
    for statement, count in (
        (RUNS, given["runs"]),
        (HISTORY, given["runs"]),
        (WAITS, given["runs"]),
        (EVENTS, given["events"]),
    ):
        for first in range(1, count + 1, CHUNK):
            text = statement.replace("uid(n)", "pg_temp.uid(n)")
            await connection.execute(text, first, min(first + CHUNK - 1, count), timeout=3_600)
    await connection.execute("VACUUM ANALYZE", timeout=3_600)
    await connection.execute("CHECKPOINT", timeout=3_600)  # what is measured is not to share the disk with it
    size = await connection.fetchval("SELECT pg_database_size(current_database())")
    await connection.close()
    return {"seconds": time.perf_counter() - began, "bytes": size}


async def look(given: Found) -> Found:
    """The probe that measures: `store`, `times`, `seed`. Milliseconds of each kind."""
    large = Large(given["store"])
    app, begun = large.app, large.begun
    chance = random.Random(given["seed"])
    took: dict[str, list[float]] = {kind: [] for kind in KINDS}

    async def quiet() -> None:
        await asyncio.sleep(0.02 + 0.03 * chance.random())

    async def since(name: str, at: int) -> float:
        while name not in begun:
            large.changed.clear()
            await large.changed.wait()
        return (begun[name] - at) / 1e6

    async with app.worker(), other(given["store"]) as outside:
        for number in range(given["times"] + 3):
            await quiet()
            at = time.monotonic_ns()
            await outside.start("look", f"look-{number}", id=f"look-{number}")
            took["start"].append((time.monotonic_ns() - at) / 1e6)
            took["step of a claimed run"].append(await since(f"look-{number}", at))
            await quiet()
            at = time.monotonic_ns()
            await outside.start("nap", f"nap-{number}", id=f"nap-{number}")
            took["timer too late"].append(await since(f"nap-{number}", at) - NAP_SECONDS * 1000)
            await outside.start("await_it", f"wait-{number}", id=f"wait-{number}")
            await asyncio.sleep(0.2)
            at = time.monotonic_ns()
            await outside.publish("near.come", {}, key=f"wait-{number}")
            took["event to waiting run"].append(await since(f"wait-{number}", at))
            await quiet()
            at = time.monotonic_ns()
            await outside.publish("near.published", {}, key=f"react-{number}")
            took["publish"].append((time.monotonic_ns() - at) / 1e6)
            took["event to reaction"].append(await since(f"react-{number}", at))
    return {kind: values[3:] for kind, values in took.items()}  # the first ones meet cold caches


def other(store: str) -> Any:
    """A client of its own, as another process would have one."""
    return Large(store).app.connect()


def measure(frame: Frame) -> Found:
    runs, events = FULL if frame.large else SHORT
    times = 15 if frame.quick else 60
    found: Found = {"runs": runs, "events": events}
    with served(frame) as fresh:
        for name, size in (("empty", (0, 0)), ("full", (runs, events))):
            with fresh() as store:
                given = {"store": store, "runs": size[0], "events": size[1], "times": times, "seed": 1}
                found[name] = frame.probe("postgres_large:fill", given)
                if size[0]:
                    frame.say(
                        f"  {runs:,} runs and {events:,} events loaded in {found[name]['seconds']:.0f} s, "
                        f"{found[name]['bytes'] / 1e9:.1f} GB"
                    )
                found[name] |= {"took": frame.probe("postgres_large:look", given)}
    return found


def show(found: Found) -> list[str]:
    size = f"{found['runs']:,} runs, {found['events']:,} events"
    lines = [f"ms: median and p99{'':28}  empty database   {size}"]
    worst = 0.0
    for kind in KINDS:
        empty, full = found["empty"]["took"][kind], found["full"]["took"][kind]
        worst = max(worst, median(full) / max(median(empty), 1.0))
        lines.append(
            f"{kind:<45}  {median(empty):>6.1f} {percentile(empty, 99):>7.1f}   "
            f"{median(full):>6.1f} {percentile(full, 99):>7.1f}"
        )
    reached = "reached" if worst <= FLAT_GOAL else "MISSED"
    lines.append(
        f"the worst median is {worst:.2f} of that on an empty database; goal: at most {FLAT_GOAL:g}: {reached}"
    )
    if found["runs"] < FULL[0]:
        lines.append(f"CAVEAT: the goal is for {FULL[0]:,} runs and {FULL[1]:,} events: --large")
    return lines
