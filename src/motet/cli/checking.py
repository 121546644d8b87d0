"""`motet check`: the histories of all runs in flight against new code, before it is deployed; reading only."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from motet.app import App
from motet.cli import exits
from motet.cli.bars import bar
from motet.cli.group import UsageError, leave, run_async
from motet.cli.layout import clean, hanging
from motet.cli.opening import existing_store, load_app
from motet.cli.options import JsonOption, ModuleArgument, StoreOption, argument, chosen_store, option
from motet.cli.terminal import err, out, say, say_json, state_text, width_of
from motet.cli.view import short
from motet.model.history import Recorded
from motet.model.run import Run, RunState
from motet.rehearsal.differences import Difference, Rehearsal
from motet.rehearsal.exported import read
from motet.rehearsal.rehearsing import rehearse
from motet.store.protocol import RunFilter, Store

PAGE = 200
OPEN: tuple[RunState, ...] = ("pending", "running", "waiting", "compensating", "blocked")
SHOWN = 20

KIND_STYLES = {"arguments": "yellow"}


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Deploy")(check)


def check(
    module: ModuleArgument,
    files: Annotated[
        list[Path] | None, argument(metavar="[FILE]...", about="Exported runs to check instead of the store's.")
    ] = None,
    everything: Annotated[bool, option("--all", about="Show all runs that differ, not the first 20.")] = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Replay the histories of all runs in flight with this code, before it is deployed, and tell where they differ.

    No step runs and nothing is written; workers may be at work on the store meanwhile. Exits with 1 if a run would
    block, or would lose what it has in flight; other arguments of recorded operations are shown and are no error.
    """
    app = load_app(module, chosen_store(store))
    app.registry.prepare()
    with _quiet():
        found, others = run_async(_checked(app, chosen_store(store), files or []))
    differing = [rehearsal for rehearsal in found if rehearsal.differences]
    bad = [rehearsal for rehearsal in differing if not rehearsal.fits]
    if json:
        say_json(
            {"checked": len(found), "fit": len(found) - len(bad), "of_other_apps": others, "runs": differing}
        )  # fmt: skip
    else:
        console = out()
        chosen = sorted(differing, key=lambda one: one.fits)
        say(_report(found, chosen if everything else chosen[:SHOWN], len(bad), others, width_of(console)), console)
        if len(chosen) > SHOWN and not everything:
            say([Text(f"{len(chosen) - SHOWN:,} more differ: add --all", style="dim")], console)
    leave(exits.FAILED if bad else exits.OK)


@contextmanager
def _quiet() -> Generator[None]:
    """What bodies print is no part of the report."""
    with redirect_stdout(sys.stderr):
        yield


async def _checked(app: App, address: str | None, files: Sequence[Path]) -> tuple[list[Rehearsal], int]:
    """All rehearsals, and how many runs belong to other apps."""
    found: list[Rehearsal] = []
    others = 0
    with bar(err(), "replaying", "runs") as report:
        async for run, history, total in _given(files) if files else _in_flight(address):
            if run.workflow in app.registry.workflows or run.workflow.startswith(f"{app.name}/"):
                found.append(rehearse(run, history, app.registry))
            else:
                others += 1
            if report is not None:
                report(len(found) + others, total)
    return found, others


async def _given(files: Sequence[Path]) -> AsyncIterator[tuple[Run, list[Recorded], int]]:
    for file in files:
        exported = read(read_bytes(file), str(file))
        yield exported.run, exported.history, len(files)


async def _in_flight(address: str | None) -> AsyncIterator[tuple[Run, list[Recorded], int]]:
    """The runs that have not ended, newest first, page by page: those that start meanwhile are on this code's side."""
    async with existing_store(address) as app:
        store: Store = app.client.store
        counts = await store.counts()
        total = sum(counts.get(state, 0) for state in OPEN)
        before: str | None = None
        while True:
            page = await store.runs(RunFilter(states=OPEN, limit=PAGE, before=before))
            histories = await store.histories([(run.uid, run.generation) for run in page])
            for run in page:
                yield run, histories[run.uid], total
            if len(page) < PAGE:
                return
            before = page[-1].uid


def read_bytes(file: Path) -> bytes:
    """Raises UsageError: it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror or error}") from error


def _report(found: Sequence[Rehearsal], shown: Sequence[Rehearsal], bad: int, others: int, width: int) -> list[Text]:
    lines: list[Text] = []
    for rehearsal in shown:
        line = Text.assemble(
            (clean(rehearsal.id), "bold"), f"   {clean(short(rehearsal.workflow))} v{rehearsal.version}   "
        )
        lines.append(line.append_text(state_text(rehearsal.state)))
        for difference in rehearsal.differences:
            lines += difference_lines(difference, width)
    elsewhere = f"; {others:,} of other apps were left out" if others else ""
    if not found:
        return [Text(f"No run of this app is in flight{elsewhere}.")]
    count = f"{len(found):,} run{'' if len(found) == 1 else 's'}"
    if bad:
        lines.append(
            Text(f"{bad:,} of {count} would block or lose something with this code{elsewhere}.", style="bold red")
        )
        advice = "Keep the old code beside the new one: @app.workflow(version=...) or flow.changed(...)."
        lines.append(Text(advice))
    else:
        lines.append(Text(f"{count} in flight: all fit{elsewhere}.", style="green"))
    return lines


def difference_lines(difference: Difference, width: int) -> list[Text]:
    """What is recorded, and what the code does."""
    style = "bold red" if difference.fatal else KIND_STYLES.get(difference.kind, "yellow")
    place = f"  ({clean(difference.site)})" if difference.site else ""
    first = Text.assemble("  ", (f"{difference.kind:<11}", style))
    return [
        *hanging(first.append("recorded: "), Text(clean(difference.recorded) + place), width),
        *hanging(Text(" " * 13 + "code:     "), Text(clean(difference.code)), width),
    ]
