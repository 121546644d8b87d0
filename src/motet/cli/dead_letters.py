"""`motet dead-letters`: deliveries that failed for good, and what a person does about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import msgspec
import typer
from rich.text import Text

from motet.cli.asking import YesOption, confirm, counted
from motet.cli.group import DefaultGroup, UsageError, run_async
from motet.cli.inputs import given_json
from motet.cli.layout import clean, table
from motet.cli.opening import existing_store
from motet.cli.options import JsonOption, StoreOption, argument, chosen_store, option
from motet.cli.spans import ago
from motet.cli.terminal import out, say, say_json, width_of
from motet.cli.view import labelled, said
from motet.deliveries import DeadLetter, Deliveries
from motet.model.clock import SYSTEM, Micros
from motet.store.protocol import DeliveryFilter

ReactionOption = Annotated[
    str | None, option("--reaction", metavar="NAME", about="Only of this reaction, named with or without its app.")
]
TypeOption = Annotated[
    str | None, option("--type", metavar="PATTERN", about="Only events of this type; * stands for any characters.")
]
KeyOption = Annotated[str | None, option("--key", metavar="KEY", about="Only events about this key.")]
ConversationOption = Annotated[
    str | None, option("--conversation", metavar="ID", about="Only events of this conversation.")
]
ReactionArgument = Annotated[str, argument(metavar="REACTION", about="The reaction, with or without the app's name.")]
PositionArgument = Annotated[int, argument(metavar="POSITION", about="The event's position, as list shows it.")]
OneReaction = Annotated[
    str | None, argument(metavar="[REACTION]", about="For one dead letter: its reaction; without it, by the options.")
]
OnePosition = Annotated[int | None, argument(metavar="[POSITION]", about="For one dead letter: its position.")]
AllOption = Annotated[bool, option("--all", about="All dead letters of the store.")]

group = typer.Typer(
    cls=DefaultGroup,
    help="Deliveries that failed for good and need a person; without a command: list.",
)


class Chosen(NamedTuple):
    """Which dead letters are meant, as the command line says it."""

    reaction: str | None = None
    position: int | None = None
    type: str | None = None
    key: str | None = None
    conversation: str | None = None

    async def filter(self, deliveries: Deliveries) -> DeliveryFilter:
        """Raises ReactionNotFound."""
        return await deliveries.meant(
            self.reaction, self.position, type=self.type, key=self.key, conversation=self.conversation
        )


def add_to(app: typer.Typer) -> None:
    group.command("list")(listing)
    for command in (show, edit, redrive, discard):
        group.command()(command)
    app.add_typer(group, name="dead-letters", rich_help_panel="Steer")


# --- looking ---------------------------------------------------------------------------------------------------


def listing(
    reaction: ReactionOption = None, type: TypeOption = None, key: KeyOption = None,
    conversation: ConversationOption = None,
    limit: Annotated[int, option("--limit", metavar="NUMBER", min=0, about="At most so many.")] = 50,
    store: StoreOption = None, json: JsonOption = False,
) -> None:  # fmt: skip
    """List dead letters, by reaction and position; held ones let later events of their key wait."""
    run_async(_list(Chosen(reaction, None, type, key, conversation), limit, chosen_store(store), json))


async def _list(chosen: Chosen, limit: int, address: str | None, as_json: bool) -> None:
    async with existing_store(address) as app:
        deliveries = app.client.deliveries
        wanted = await chosen.filter(deliveries)
        count = await deliveries.count(wanted)
        found = await deliveries.listed(wanted._replace(limit=limit))
    if as_json:
        say_json({"dead_letters": [_brief(one) for one in found], "count": count})
        return
    console = out()
    if not count:
        say(["There are no dead letters."], console)
        return
    say(_listed(found, SYSTEM.now(), width_of(console)), console)
    shown = "" if len(found) == count else f", of which {len(found):,} are shown"
    say([f"  {counted(count, 'dead letter')}{shown}"], console)


def _brief(letter: DeadLetter) -> dict[str, object]:
    """Without what `show` is for."""
    return {name: value for name, value in msgspec.to_builtins(letter).items() if name != "trace"}


def _listed(found: Sequence[DeadLetter], now: Micros, width: int) -> list[Text]:
    rows = [
        [
            Text(clean(one.reaction)),
            Text(str(one.position)),
            Text(clean(one.type)),
            Text(clean(one.key or "")),
            Text("held" if one.held else ""),
            Text("edited" if one.edited else ""),
            Text(ago(one.parked_at, now)),
            Text(str(one.attempts)),
            Text(said(_error(one))),
        ]
        for one in found
    ]
    heads = ("REACTION", "POSITION", "TYPE", "KEY", "HELD", "EDITED", "SINCE", "ATTEMPTS", "ERROR")
    return table(heads, rows, width, dispensable=(7, 6, 3))


def _error(letter: DeadLetter) -> str:
    return f"{letter.error_type}: {letter.error}" if letter.error else letter.error_type


def show(
    reaction: ReactionArgument, position: PositionArgument, store: StoreOption = None, json: JsonOption = False
) -> None:
    """Show one dead letter: its event and data, why and where it failed, what waits behind it."""
    run_async(_show(reaction, position, chosen_store(store), json))


async def _show(reaction: str, position: int, address: str | None, as_json: bool) -> None:
    async with existing_store(address) as app:
        deliveries = app.client.deliveries
        letter = await deliveries.letter(reaction, position)
        behind = await deliveries.behind(letter)
    if as_json:
        say_json({**msgspec.to_builtins(letter), "behind": behind})
        return
    console = out()
    say(_shown(letter, behind, width_of(console)), console)


def _shown(letter: DeadLetter, behind: Sequence[int], width: int) -> list[Text]:
    data = msgspec.json.format(msgspec.json.encode(letter.data)).decode()
    waiting = f"; {counted(len(behind), 'later event')} of its key wait for it" if letter.held else ""
    facts = [
        ("Event", f"{letter.type} {letter.event} at position {letter.position}, {letter.time}"),
        ("Key", letter.key or "none"),
        ("From", f"{letter.source}, conversation {letter.conversation}"),
        ("Reaction", f"{letter.reaction}, failed {letter.attempts} times, dead since {letter.parked_at}{waiting}"),
        ("Error", _error(letter)),
    ]
    lines: list[Text] = []
    for name, text in facts:
        lines += labelled(f"{name:<8}", clean(text), width)
    lines += [Text("Data, edited" if letter.edited else "Data", style="bold"), *_indented(data)]
    if letter.trace:
        lines += [Text("Trace", style="bold"), *_indented(letter.trace)]
    named = f"{letter.reaction} {letter.position}"
    lines.append(Text(f"motet dead-letters redrive {named}   or   edit {named} --data JSON   or   discard {named}"))
    return lines


def _indented(text: str) -> list[Text]:
    """Many lines, each as it is but for what could move the cursor."""
    return [Text(" " * (2 + len(line) - len(line.lstrip())) + clean(line)) for line in text.rstrip().splitlines()]


# --- steering --------------------------------------------------------------------------------------------------


def edit(
    reaction: ReactionArgument,
    position: PositionArgument,
    data: Annotated[str | None, option("--data", metavar="JSON", about="The data to deliver instead, as JSON.")] = None,
    data_file: Annotated[
        str | None, option("--data-file", metavar="FILE", about="The same from a JSON file; - is stdin.")
    ] = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Put other data in the place of a dead letter's own, for when it is redriven; the log stays as it is."""
    if data is None and data_file is None:
        raise UsageError("give the new data: --data JSON, or --data-file FILE")
    given = given_json(data, data_file, "--data", "the data")

    async def work() -> None:
        async with existing_store(chosen_store(store)) as app:
            await app.edit(reaction, position, given)
            letter = await app.client.deliveries.letter(reaction, position)
        if json:
            say_json(_brief(letter))
        else:
            named = f"{letter.reaction} {letter.position}"
            say([f"{named} has other data now; have it tried with motet dead-letters redrive {named}"])

    run_async(work())


def redrive(
    reaction: OneReaction = None, position: OnePosition = None, everything: AllOption = False,
    of: ReactionOption = None, type: TypeOption = None, key: KeyOption = None, conversation: ConversationOption = None,
    yes: YesOption = False, store: StoreOption = None, json: JsonOption = False,
) -> None:  # fmt: skip
    """Have dead letters tried again, with all their attempts: one, those that fit the options, or all.

    Of more than one it says first how many, and asks.
    """
    chosen = _chosen(reaction, position, Chosen(of, None, type, key, conversation), everything=everything)
    run_async(_change(chosen, "redrive", "redriven", yes, chosen_store(store), json))


def discard(
    reaction: OneReaction = None, position: OnePosition = None, everything: AllOption = False,
    of: ReactionOption = None, type: TypeOption = None, key: KeyOption = None, conversation: ConversationOption = None,
    yes: YesOption = False, store: StoreOption = None, json: JsonOption = False,
) -> None:  # fmt: skip
    """Give dead letters up: one, those that fit the options, or all. Their events stay in the log.

    Of more than one it says first how many, and asks.
    """
    chosen = _chosen(reaction, position, Chosen(of, None, type, key, conversation), everything=everything)
    run_async(_change(chosen, "discard", "discarded", yes, chosen_store(store), json))


def _chosen(reaction: str | None, position: int | None, options: Chosen, *, everything: bool) -> Chosen:
    if reaction is not None:
        if position is None:
            raise UsageError(f"which one of {reaction}? Add its POSITION; or say --reaction {reaction} for all of them")
        if everything or options != Chosen():
            raise UsageError("REACTION POSITION is one dead letter; leave the other options away")
        return Chosen(reaction, position)
    if everything and options != Chosen():
        raise UsageError("--all is all dead letters; leave it away, or the other options")
    if not everything and options == Chosen():
        raise UsageError("which ones? Name REACTION POSITION, or --reaction, --type, --key or --conversation, or --all")
    return options


async def _change(chosen: Chosen, verb: str, past: str, yes: bool, address: str | None, as_json: bool) -> None:
    async with existing_store(address) as app:
        deliveries = app.client.deliveries
        wanted = await chosen.filter(deliveries)
        if chosen.position is None and (count := await deliveries.count(wanted)):
            confirm(f"{verb} {counted(count, 'dead letter')}", yes=yes)
        done = await (deliveries.redrive(wanted) if verb == "redrive" else deliveries.discard(wanted))
    if as_json:
        say_json({past: done})
    else:
        say([f"{counted(done, 'dead letter')} {past}"])
