"""What the production guide speaks of is there: its SQL runs on a store that has seen something, its metrics and
settings exist, and so do the commands that it names."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import asyncpg

from motet import App, Event, Flow, Retry, Settings
from motet.cli.main import command
from motet.model.clock import SYSTEM
from motet.telemetry.metrics import Metrics

GUIDE = (Path(__file__).parents[2] / "docs" / "production.md").read_text()
QUERIES = re.findall(r"^```sql\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


async def seen(address: str, queries: list[str]) -> tuple[list[list[Any]], str]:
    """What the queries find in a store that has seen something, and its worker's metrics."""
    app = App("shop", store=address)
    metrics = Metrics(app.hooks, SYSTEM)

    @app.workflow
    async def wait(flow: Flow) -> None:
        await flow.wait("never.published")

    @app.workflow
    async def publish(flow: Flow) -> str:
        flow.publish("thing.published")
        return "published"

    @app.on("thing.published", retry=Retry(attempts=1))
    def fail(event: Event) -> None:
        raise OSError("broken")

    app.expect("thing.answered", after="thing.published", within=3600)
    async with app.worker():
        await app.start(wait, id="waiting")
        await (await app.start(publish, id="r")).result()
        written = app.client.listen()
        while not await app.dead_letters():
            await written.wait()
            written.clear()
        conn = await asyncpg.connect(address)
        found = [await conn.fetch(query) for query in queries]
        await conn.close()
        text = (await metrics.text(app.client.worker)).decode()
    return found, text


async def test_the_queries_and_the_metrics(postgres_address: str) -> None:
    found, text = await seen(postgres_address, QUERIES)
    assert len(QUERIES) >= 8
    answers = dict(zip((query.splitlines()[0] for query in QUERIES), found, strict=True))
    ((state, count, _),) = answers["-- what is open, and since when the first of it waits"]
    assert (state in ("running", "waiting"), count) == (True, 1)
    ((_, _, state, _, _),) = answers["-- workers, what they drive, and when each has last been heard of"]
    assert state == "running"
    reactions = answers["-- how far each reaction has come, and what failed"]
    assert {row["name"]: row["dead"] for row in reactions}["shop/fail"] == 1
    assert {row["relname"] for row in answers["-- how large Motet's tables are, and whether autovacuum keeps up"]} >= {
        "run", "history", "event", "outbox",
    }  # fmt: skip
    exposed = set(re.findall(r"^# HELP (\w+)", text, re.MULTILINE))
    assert set(re.findall(r"`(motet_\w+)`", GUIDE)) <= exposed


def test_the_settings_exist_with_their_defaults() -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([^|]+) \|", GUIDE, re.MULTILINE)
    defaults = {field.name: field.default for field in dataclasses.fields(Settings)}
    told = 0
    for names, values in rows:
        found = re.findall(r"`(\w+)`", names)
        if found[0].startswith("motet_"):
            continue
        for name, value in zip(found, re.split(r", (?!\d{3}\b)", values), strict=True):
            told += 1
            assert (None if value == "none" else float(value.replace(",", ""))) == defaults[name], name
    assert told >= 6


def test_the_commands_exist() -> None:
    named = set(re.findall(r"`motet ([a-z-]+)", GUIDE))
    assert len(named) >= 5
    assert named <= set(command().commands)
