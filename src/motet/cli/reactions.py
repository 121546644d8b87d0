"""`motet reactions`, `pause`, `resume`, `replay`: how far each reaction has come, and steering it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

import msgspec
import typer
from rich.text import Text

from motet.app import App
from motet.cli.asking import YesOption, confirm, counted
from motet.cli.group import DefaultGroup, run_async
from motet.cli.inputs import moment_of
from motet.cli.layout import clean, table
from motet.cli.opening import existing_store
from motet.cli.options import JsonOption, StoreOption, argument, chosen_store
from motet.cli.spans import whole
from motet.cli.terminal import out, say, say_json, width_of
from motet.deliveries import ReactionStatus
from motet.model.clock import SYSTEM

MOMENT_SECONDS = 0.5

Rates = dict[str, float]

ReactionArgument = Annotated[
    str, argument(metavar="REACTION", about="Its name, with or without the app's in front: shop/send_receipt.")
]

group = typer.Typer(
    cls=DefaultGroup,
    help="How far each reaction has come, who delivers, what has failed; without a command: list.",
)


def add_to(app: typer.Typer) -> None:
    group.command("list")(listing)
    group.command()(forget)
    app.add_typer(group, name="reactions", rich_help_panel="Look")
    for command in (pause, resume):
        app.command(rich_help_panel="Steer")(command)


# --- looking ---------------------------------------------------------------------------------------------------


def listing(
    name: Annotated[str | None, argument(metavar="[NAME]", about="Only this one; without it, all.")] = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """List the reactions: who delivers, how far each has come, what failed.

    BEHIND is how many events of the log are still to be read, LAG since when the first of them is there, RATE how many
    deliveries came to their end per second, over a moment. Of one that is unattended, no worker that has its code runs.
    """
    run_async(_list(name, chosen_store(store), json))


async def _list(name: str | None, address: str | None, as_json: bool) -> None:
    async with existing_store(address) as app:
        found, rates = await _seen(app)
        if name is not None:
            full = (await app.client.deliveries.cursor(name)).name
            found = [one for one in found if one.name == full]
    if as_json:
        say_json({
            "reactions": [{**msgspec.to_builtins(one), "per_second": round(rates.get(one.name, 0), 1)} for one in found]
        })  # fmt: skip
        return
    if not found:
        say(["There are no reactions. They are declared with @app.on(...) and known once a worker has started."])
        return
    console = out()
    say(_table(found, rates, width_of(console)), console)


async def _seen(app: App) -> tuple[list[ReactionStatus], Rates]:
    """Two looks, where anything may have moved between them."""
    first = await app.reaction_status()
    if not any(one.state == "running" for one in first):
        return first, {}
    began = SYSTEM.monotonic()
    await asyncio.sleep(MOMENT_SECONDS)  # tidy: the moment over which the rate is taken
    second = await app.reaction_status()
    seconds = SYSTEM.monotonic() - began
    before = {one.name: one.delivered for one in first}
    return second, {one.name: (one.delivered - before.get(one.name, one.delivered)) / seconds for one in second}


def _table(found: Sequence[ReactionStatus], rates: Rates, width: int) -> list[Text]:
    rows = [
        [
            Text(clean(one.name)),
            Text(clean(", ".join(one.events))),
            Text(one.state, style="" if one.state == "running" else "yellow"),
            Text(clean(one.worker or "")),
            Text(f"{one.position:,}"),
            Text(f"{one.behind:,}"),
            Text(whole(one.lag_seconds) if one.behind else "-"),
            Text(f"{rates.get(one.name, 0):,.0f}/s"),
            Text(f"{one.failed:,}" if one.failed else ""),
            Text(f"{one.retrying:,}" if one.retrying else ""),
            Text(f"{one.waiting:,}" if one.waiting else ""),
            Text(f"{one.dead:,}", style="red" if one.dead else ""),
        ]
        for one in found
    ]
    heads = (
        "REACTION", "EVENTS", "STATE", "WORKER", "POSITION", "BEHIND", "LAG", "RATE", "FAILED", "RETRYING", "WAITING",
        "DEAD",
    )  # fmt: skip
    return table(heads, rows, width, dispensable=(3, 4, 7, 1, 8))


# --- steering --------------------------------------------------------------------------------------------------


def pause(reaction: ReactionArgument, store: StoreOption = None, json: JsonOption = False) -> None:
    """Deliver nothing more to a reaction until it is resumed. Nothing is lost: events stay in the log."""
    run_async(_pause(reaction, True, chosen_store(store), json))


def resume(reaction: ReactionArgument, store: StoreOption = None, json: JsonOption = False) -> None:
    """Go on with a reaction that was paused, where it stood."""
    run_async(_pause(reaction, False, chosen_store(store), json))


async def _pause(reaction: str, paused: bool, address: str | None, as_json: bool) -> None:
    async with existing_store(address) as app:
        name = await app.client.deliveries.pause(reaction, paused)
    if as_json:
        say_json({"reaction": name, "paused": paused})
    elif paused:
        say([f"{name} is paused; deliveries at work come to their end; go on with motet resume {name}"])
    else:
        say([f"{name} goes on"])


def replay_reaction(reaction: str, start: str, *, yes: bool, store: str | None, as_json: bool) -> None:
    """Deliver once more what a reaction has had already, its dead letters too; no other reaction notices."""
    run_async(_replay(reaction, _start(start), yes, store, as_json))


def _start(text: str) -> Literal["beginning"] | int | datetime:
    if text == "beginning":
        return "beginning"
    return int(text) if text.isdecimal() else moment_of(text, "--from")


async def _replay(
    reaction: str, start: Literal["beginning"] | int | datetime, yes: bool, address: str | None, as_json: bool
) -> None:
    async with existing_store(address) as app:
        deliveries = app.client.deliveries
        plan = await deliveries.plan_replay(reaction, start)
        confirm(f"deliver {counted(plan.events, 'event')} to {plan.reaction} anew", yes=yes)
        plan = await deliveries.replay(reaction, plan.position + 1)
    if as_json:
        say_json({"reaction": plan.reaction, "from": plan.position + 1, "events": plan.events})
    else:
        say([f"{plan.reaction} begins anew at position {plan.position + 1}: {counted(plan.events, 'event')} once more"])


def forget(
    reaction: ReactionArgument, yes: YesOption = False, store: StoreOption = None, json: JsonOption = False
) -> None:
    """Remove a reaction (or expectation) that no code declares any more, with its dead letters; the events stay."""
    run_async(_forget(reaction, yes, chosen_store(store), json))


async def _forget(reaction: str, yes: bool, address: str | None, as_json: bool) -> None:
    async with existing_store(address) as app:
        deliveries = app.client.deliveries
        row = await deliveries.cursor(reaction, of_any_kind=True)
        dead = await deliveries.count(await deliveries.meant(row.name)) if row.kind == "reaction" else 0
        confirm(f"forget {row.kind} {row.name} and its {counted(dead, 'dead letter')}", yes=yes)
        name = await deliveries.forget(reaction)
    if as_json:
        say_json({"reaction": name, "forgotten": True, "dead_letters": dead})
    else:
        say([f"{name} is forgotten, with {counted(dead, 'dead letter')}; code that declares it makes it anew"])
