"""`motet workers`: who drives runs, and how they are; reading only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec
import typer
from rich.text import Text

from motet.cli.group import run_async
from motet.cli.layout import clean, table
from motet.cli.opening import existing_store
from motet.cli.options import JsonOption, StoreOption, chosen_store
from motet.cli.spans import ago
from motet.cli.terminal import out, say, say_json, width_of
from motet.model.clock import SECOND, SYSTEM, Micros
from motet.runtime.liveness import is_dead
from motet.status import iso
from motet.store.protocol import WorkerRow

SILENT_SECONDS: Final = 15.0
"""Half the default lease: a worker that is well moves its counter three times as often."""

Condition = Literal["running", "draining", "silent", "gone"]

STYLES: Final[dict[Condition, str]] = {"running": "green", "draining": "yellow", "silent": "bold red", "gone": "red"}


class WorkerView(msgspec.Struct, frozen=True):
    """One registered worker. `load`: the runs that it owns. `code`: the fingerprint of its workflows' code."""

    id: int
    name: str
    state: Condition
    load: int
    program: str
    code: str
    host: str
    pid: int
    started_at: str
    seen_at: str


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Look")(workers)


def workers(store: StoreOption = None, json: JsonOption = False) -> None:
    """List the workers: state, runs that they own, version, and when they were last seen.

    running: drives runs. draining: asked to stop, takes nothing new. silent: not seen for 15 s; others take its runs
    over when it is still for a full lease. gone: its process has ended without a word; the next worker that looks
    takes its runs over.
    """
    found = run_async(_workers(chosen_store(store)))
    if json:
        say_json({"workers": found})
        return
    console = out()
    if not found:
        say(["No worker is running here; start one with motet worker MODULE."], console)
        return
    say(_listed(found, SYSTEM.now(), width_of(console)), console)


async def _workers(store: str | None) -> list[WorkerView]:
    async with existing_store(store) as app:
        rows, shared = await app.client.store.workers(), app.client.store.shared
        loads = await app.client.store.loads()
    now = SYSTEM.now()
    return [
        WorkerView(
            row.id, row.name, condition(row, now, shared=shared), loads.get(row.id, 0), row.program, row.fingerprint,
            row.name.rpartition(":")[0], row.pid, iso(row.started_at) or "", iso(row.seen_at) or "",
        )
        for row in rows
    ]  # fmt: skip


def condition(worker: WorkerRow, now: Micros, *, shared: bool) -> Condition:
    """How a registered worker is, as far as can be seen from here; `shared`: workers of several machines are."""
    if is_dead(worker, shared=shared):
        return "gone"
    if now - worker.seen_at > SILENT_SECONDS * SECOND:
        return "silent"
    return worker.state


def _listed(found: Sequence[WorkerView], now: Micros, width: int) -> list[Text]:
    rows = [
        [
            Text(clean(one.name)), Text(one.state, style=STYLES[one.state]), Text(f"{one.load:,}"),
            Text(ago(one.seen_at, now)), Text(ago(one.started_at, now)), Text(one.code[:8]), Text(clean(one.program)),
        ]
        for one in found
    ]  # fmt: skip
    heads = ("WORKER", "STATE", "RUNS", "LAST SEEN", "STARTED", "CODE", "PROGRAM")
    return table(heads, rows, width, dispensable=(6, 5, 4))
