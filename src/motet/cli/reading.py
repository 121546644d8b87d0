"""`motet status` and `motet runs`: reading only, never creating anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import click
import typer
from rich.console import Console
from rich.text import Text

from motet.app import App
from motet.cli.group import run_async
from motet.cli.layout import clean, flowing, table
from motet.cli.opening import existing_store, living_workers
from motet.cli.options import JsonOption, RunArgument, StoreOption, chosen_store, option
from motet.cli.spans import ago, micros_of, span
from motet.cli.story import story
from motet.cli.terminal import out, say, say_json, state_text, width_of
from motet.cli.view import View
from motet.model.clock import SECOND, SYSTEM, Micros
from motet.model.run import STATES, RunState
from motet.status import RunSummary
from motet.store.protocol import RunFilter


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Look")(status)
    app.command(rich_help_panel="Look")(runs)


async def look(app: App, console: Console, store: str | None = None) -> View:
    """How the run is to be shown here and now."""
    driven = bool(await living_workers(app))
    return View(SYSTEM.now(), width_of(console), store, driven)


def status(id: RunArgument, store: StoreOption = None, json: JsonOption = False) -> None:
    """What step a run is in, what failed, what happens next, and what would be undone if it failed now."""
    run_async(_status(id, chosen_store(store), json))


async def _status(id: str, store: str | None, as_json: bool) -> None:
    async with existing_store(store) as app:
        found = await app.status(id)
        if as_json:
            say_json(found)
        else:
            console = out()
            say(story(found, await look(app, console, store)), console)


def runs(
    workflow: Annotated[
        str | None, option(metavar="NAME", about="Only of this workflow, named with or without its app.")
    ] = None,
    state: Annotated[
        list[str] | None,
        option(
            metavar="STATE",
            click_type=click.Choice(STATES),
            about=f"Only in this state: {', '.join(STATES)}. May be given more than once.",
        ),
    ] = None,
    conversation: Annotated[str | None, option(metavar="ID", about="Only of this conversation.")] = None,
    limit: Annotated[int, option(min=1, max=10_000, metavar="N", about="At most so many.")] = 50,
    before: Annotated[str | None, option(metavar="UID", about="The next page: only runs older than this one.")] = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """List runs, the newest first, and count all of them by state."""
    chosen: tuple[RunState, ...] = tuple(known for known in STATES if known in (state or ()))
    run_async(_runs(RunFilter(workflow, chosen, conversation, limit, before), chosen_store(store), json))


async def _runs(wanted: RunFilter, store: str | None, as_json: bool) -> None:
    async with existing_store(store) as app:
        # One more than asked for tells whether there is another page.
        found = await app.client.runs(wanted._replace(limit=wanted.limit + 1))
        counts = await app.client.store.counts()
    shown = found[: wanted.limit]
    more = shown[-1].uid if len(found) > len(shown) else None
    if as_json:
        say_json({"runs": shown, "counts": counts, "next": more})
        return
    console = out()
    say(_listed(shown, SYSTEM.now(), width_of(console)), console)
    say(counted(counts, width_of(console)), console)
    if more is not None:
        say([Text(f"More: add --before {more}", style="dim")], console)


def _listed(found: Sequence[RunSummary], now: Micros, width: int) -> list[Text]:
    rows: list[list[Text]] = []
    for run in found:
        end = micros_of(run.ended_at) if run.ended_at is not None else now
        said = run.note or ""
        if run.error_type is not None:
            said = f"{run.error_type}: {run.error}" if run.error else run.error_type
        rows.append(
            [
                Text(clean(run.id)),
                Text(clean(run.workflow)),
                state_text(run.state),
                Text(ago(run.created_at, now)),
                Text(span((end - micros_of(run.created_at)) / SECOND)),
                Text(clean(said)),
            ]
        )
    return table(
        ("RUN", "WORKFLOW", "STATE", "STARTED", "TOOK", "ERROR OR NOTE"), rows, width, dispensable=(4, 1, 5, 3)
    )


def counted(counts: dict[str, int], width: int, indent: int = 2) -> list[Text]:
    """`12 running   1,204 completed   1,216 in all`."""
    parts = [
        Text.assemble(f"{counts[state]:,} ", (state, state_text(state).style)) for state in STATES if counts.get(state)
    ]
    total = sum(counts.values())
    return (
        flowing([*parts, Text(f"{total:,} in all")], width, indent=indent)
        if total
        else [Text("There are no runs yet.")]
    )
