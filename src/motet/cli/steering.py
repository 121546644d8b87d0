"""`motet cancel`, `retry`, `skip`: what a person tells a run.

It is written down at once; the run's worker acts on it.
"""

from __future__ import annotations

from typing import Annotated

import typer

from motet.app import App
from motet.cli.group import run_async
from motet.cli.opening import existing_store, living_workers
from motet.cli.options import JsonOption, RunArgument, StoreOption, chosen_store, option
from motet.cli.terminal import out, say, say_json

OperationOption = Annotated[
    str | None,
    option(metavar="OP", about="Only this operation, as status names it; by default all that is stuck."),
]


def add_to(app: typer.Typer) -> None:
    for command in (cancel, retry, skip):
        app.command(rich_help_panel="Steer")(command)


def cancel(
    id: RunArgument,
    compensate: Annotated[
        bool, option("--compensate/--no-compensate", about="Whether what the run has done is undone.")
    ] = True,
    reason: Annotated[str | None, option(metavar="TEXT", about="Why; kept in the run's history.")] = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Ask a run to stop: steps in flight are awaited, then what was done is undone."""

    async def work() -> None:
        async with existing_store(chosen_store(store)) as app:
            await app.cancel(id, compensate=compensate, reason=reason)
            await _told(app, id, "cancel", f"{id} is asked to stop", json)

    run_async(work())


def retry(
    id: RunArgument,
    operation: OperationOption = None,
    note: Annotated[str | None, option(metavar="TEXT", about="What was done about it; kept in the history.")] = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Try again what blocks a run."""

    async def work() -> None:
        async with existing_store(chosen_store(store)) as app:
            await app.retry(id, operation, note=note)
            await _told(app, id, "retry", f"{id} tries {operation or 'what blocks it'} again", json)

    run_async(work())


def skip(
    id: RunArgument,
    note: Annotated[str, option(metavar="TEXT", about="What was done by hand instead; kept in the history.")],
    operation: OperationOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Go on without what blocks a run, because a person has dealt with it."""

    async def work() -> None:
        async with existing_store(chosen_store(store)) as app:
            await app.skip(id, operation, note=note)
            await _told(app, id, "skip", f"{id} goes on without {operation or 'what blocks it'}", json)

    run_async(work())


async def _told(app: App, id: str, asked: str, text: str, as_json: bool) -> None:
    driven = bool(await living_workers(app))
    if as_json:
        say_json({"id": id, "asked": asked, "driven": driven})
        return
    then = f"see it with motet watch {id}" if driven else "no worker is running here, so nothing moves before one does"
    say([f"{text}; {then}"], out())
