"""`motet versions`: what is in flight on which version of the code, and who could drive it; reading only."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import typer
from rich.text import Text

from motet.app import App
from motet.cli.group import run_async
from motet.cli.layout import clean, table
from motet.cli.opening import existing_store, living_workers
from motet.cli.options import JsonOption, StoreOption, chosen_store
from motet.cli.spans import micros_of, whole
from motet.cli.terminal import out, say, say_json, width_of
from motet.model.clock import SECOND, SYSTEM, Micros
from motet.model.run import STATES, Version
from motet.status import iso
from motet.store.protocol import OpenVersion


class Line(msgspec.Struct, frozen=True):
    """One version of a workflow that has runs in flight, or that a worker has.

    Args:
        code: fingerprints of the code that has started its runs or, of blocked ones, that has tried last.
        runs: how many are in flight, by state.
        oldest: when the first of them was started.
        workers: how many living workers have it.
    """

    workflow: str
    version: int
    code: list[str]
    runs: dict[str, int]
    oldest: str | None
    workers: int

    @property
    def stranded(self) -> bool:
        """Whether nobody can drive its runs."""
        return bool(self.runs) and not self.workers


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Deploy")(versions)


def versions(store: StoreOption = None, json: JsonOption = False) -> None:
    """List the versions of workflows: what is in flight on each, since when, and how many living workers have it.

    A run stays with the version that it began with. Without a worker that has it, it waits.
    """
    run_async(_versions(chosen_store(store), json))


async def _versions(store: str | None, as_json: bool) -> None:
    async with existing_store(store) as app:
        found = await _gathered(app)
    if as_json:
        say_json({"versions": found})
        return
    console = out()
    width = width_of(console)
    if not found:
        say(["There are no runs in flight, and no workers."], console)
        return
    say(_listed(found, SYSTEM.now(), width), console)
    for line in found:
        if line.stranded:
            text = (
                f"Nobody drives {clean(line.workflow)} v{line.version}: start a worker whose code keeps this version."
            )
            say([Text(text, style="bold red")], console)


async def _gathered(app: App) -> list[Line]:
    living = {worker.id for worker in await living_workers(app)}
    seen = await app.client.store.versions()
    rows: dict[Version, list[OpenVersion]] = {}
    for row in seen.open:
        rows.setdefault(Version(row.workflow, row.version), []).append(row)
    workers = {version: len(living.intersection(ids)) for version, ids in seen.known.items()}
    wanted = sorted({*rows, *(version for version, count in workers.items() if count)})
    return [_line(version, rows.get(version, []), workers.get(version, 0)) for version in wanted]


def _line(version: Version, rows: Sequence[OpenVersion], workers: int) -> Line:
    counts = {state: sum(row.runs for row in rows if row.state == state) for state in STATES}
    return Line(
        *version, sorted({row.fingerprint for row in rows}), {state: count for state, count in counts.items() if count},
        iso(min((row.since for row in rows), default=None)), workers,
    )  # fmt: skip


def _listed(found: Sequence[Line], now: Micros, width: int) -> list[Text]:
    rows = [
        [
            Text(clean(line.workflow)),
            Text(f"v{line.version}"),
            Text(f"{sum(line.runs.values()):,}"),
            Text(", ".join(f"{count:,} {state}" for state, count in line.runs.items()) or "-"),
            Text(_age(line, now)),
            Text("nobody" if line.stranded else f"{line.workers}", style="bold red" if line.stranded else ""),
            Text(", ".join(line.code)),
        ]
        for line in found
    ]
    header = ("WORKFLOW", "VERSION", "RUNS", "IN FLIGHT", "OLDEST", "WORKERS", "BEGUN BY CODE")
    return table(header, rows, width, dispensable=(6, 3, 4))


def _age(line: Line, now: Micros) -> str:
    if line.oldest is None:
        return "-"
    return whole((now - micros_of(line.oldest)) / SECOND)
