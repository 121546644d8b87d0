"""`motet prune`: what was over long ago goes, in small batches, while everything runs."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

import typer

from motet.app import App
from motet.cli.asking import YesOption, confirm, counted
from motet.cli.bars import bar
from motet.cli.care import in_bytes
from motet.cli.group import UsageError, run_async
from motet.cli.layout import clean
from motet.cli.opening import existing_store
from motet.cli.options import JsonOption, StoreOption, chosen_store, option
from motet.cli.terminal import err, out, say, say_json
from motet.model.clock import SYSTEM, micros
from motet.runtime.pruning import Holding, Prunable, Pruned, Pruner, retaining

_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Care")(prune)


def age_of(text: str, option: str) -> timedelta:
    """A length of time as `30d`. Raises UsageError."""
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{option} {text}: give a number and a unit, as 30d, 12h, 8w (s, m, h, d or w)")
    return timedelta(**{_UNITS[found[2]]: float(found[1])})


def prune(
    older_than: Annotated[
        str, option("--older-than", metavar="AGE", about="What was over so long ago goes: 30d, 12h, 8w.")
    ],
    dry_run: Annotated[bool, option("--dry-run", about="Only say what would go, and what holds the rest.")] = False,
    compact: Annotated[
        bool,
        option("--compact", about="Then give the free space back to the system; everybody waits while that is done."),
    ] = False,
    yes: YesOption = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Remove runs that ended long ago, with their histories, and old events; their ids stay taken.

    What is open stays, with its whole conversation, and so do events that somebody still needs. It says first how much
    would go and which reaction holds back the log, and asks.
    """
    age = age_of(older_than, "--older-than")
    run_async(_prune(age, dry_run, compact, yes, chosen_store(store), json))


async def _prune(age: timedelta, dry_run: bool, compact: bool, yes: bool, address: str | None, as_json: bool) -> None:
    async with existing_store(address) as app:
        store = app.client.store
        pruner = Pruner(store, SYSTEM, SYSTEM.now() - micros(age), app.client.keys)
        found = await _counted(pruner)
        if not as_json:
            say(_found(found), out())
        done, sizes = Pruned(), None
        if found.total and not dry_run:
            words = f"remove {counted(found.runs, 'run')} and {counted(found.events, 'event')}"
            confirm(f"{words} for good", yes=yes)
        if not dry_run:
            with bar(err(), "pruning", "records") as report:
                done = await pruner.prune(found.total, report)
            sizes = await compacted(app) if compact else None
    if as_json:
        say_json({"found": found, "dry_run": dry_run, "pruned": done, "compacted": sizes})
    elif not dry_run:
        say(_done(done, sizes), out())


async def _counted(pruner: Pruner) -> Prunable:
    console = err()
    if not console.is_terminal:
        return await pruner.count()
    with console.status("counting"):
        return await pruner.count()


async def compacted(app: App) -> dict[str, int]:
    """Give the free space back; the sizes before and after."""
    console = err()
    if not console.is_terminal:
        return dict(await retaining(app.client.store).compact())
    with console.status("giving the free space back; everybody waits"):
        return dict(await retaining(app.client.store).compact())


def _found(found: Prunable) -> list[str]:
    what = (counted(found.runs, "run"), counted(found.events, "event"), counted(found.expected, "settled expectation"))
    lines = [f"To prune: {', '.join(what)}"]
    if found.kept_runs:
        lines.append(f"  {counted(found.kept_runs, 'old run')} stay: something in their conversation is open")
    if found.kept_events:
        lines.append(
            f"  {counted(found.kept_events, 'old event')} stay: of an open conversation, or needed by a dead letter, "
            "a delivery, an expectation or a wait"
        )
    if found.held_events:
        lines.append(f"  {counted(found.held_events, 'old event')} stay: not everybody has read them")
    return lines + [f"  {_holder(one)}" for one in found.holders]


def _holder(one: Holding) -> str:
    name = clean(one.name)
    if one.kind == "run":
        return f"run '{name}' has been open since position {one.position}, and may wait for events behind it"
    if one.kind == "expectation":
        return (
            f"expectation {name} holds the log back at position {one.position}; start a worker that follows it, or "
            f"motet reactions forget {name} if no code declares it any more"
        )
    if one.paused:
        way = f"it is paused: motet reactions resume {name}"
    else:
        way = f"start a worker that delivers to it, or motet reactions forget {name} if no code declares it any more"
    return f"reaction {name} holds the log back at position {one.position}; {way}"


def _done(done: Pruned, sizes: dict[str, int] | None) -> list[str]:
    what = (
        f"{counted(done.runs, 'run')} with {counted(done.facts, 'fact')}", counted(done.events, "event"),
        counted(done.expected, "settled expectation"), counted(done.workers, "ended worker"),
    )  # fmt: skip
    lines = [f"Pruned: {', '.join(what)}"]
    return lines + sizes_in_words(sizes)


def sizes_in_words(sizes: dict[str, int] | None) -> list[str]:
    """What compacting has come to."""
    if sizes is None:
        return []
    return [f"The store takes {in_bytes(sizes['after'])} now, {in_bytes(sizes['before'])} before"]
