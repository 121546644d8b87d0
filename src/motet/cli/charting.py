"""`motet map`: who publishes what and who reacts, declared and seen, and what looks odd; reading only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from motet.cli.group import run_async
from motet.cli.layout import clean, hanging, table
from motet.cli.opening import existing_store, load_app
from motet.cli.options import JsonOption, StoreOption, argument, chosen_store, option
from motet.cli.sites import Shorten, places_of, shortener
from motet.cli.spans import whole
from motet.cli.terminal import out, say, say_json, width_of
from motet.cli.view import awaited
from motet.errors import StoreMissing
from motet.map.findings import draw
from motet.map.known import Known, from_app, from_store, together
from motet.map.policies import Policy
from motet.map.sheet import Finding, Publisher, Sheet, Type

MapModule = Annotated[
    str | None,
    argument(
        metavar="[MODULE]",
        about="package.module:app, whose code is read too; without it, what workers' code has told the store.",
    ),
]
LastOption = Annotated[
    int, option("--last", metavar="NUMBER", min=0, about="Look at so many of the log's last events.")
]

WORDS = {
    "nobody-reacts": "Events that nobody reacts to",
    "nobody-publishes": "Events that nobody publishes",
    "cycle": "Cycles",
    "core-waits-for-edge": "A core that waits for an edge",
    "could-be-a-reaction": "Could be a reaction",
}


def add_to(app: typer.Typer) -> None:
    app.command("map", rich_help_panel="Look")(map_)


def map_(
    module: MapModule = None, last: LastOption = 100_000, store: StoreOption = None, json: JsonOption = False
) -> None:
    """Who publishes which event and who reacts, declared and seen; retries, timeouts and expectations with their lines.

    Then what looks odd: events that nobody reacts to, reactions to events that nobody publishes, cycles, a core that
    waits for an edge, a last step that could be a reaction.
    """
    run_async(_map(module, last, chosen_store(store), json))


async def _map(module: str | None, last: int, address: str | None, as_json: bool) -> None:
    declared = from_app(load_app(module, address)) if module is not None else None
    sheet = draw(await _known(declared, last, address))
    if as_json:
        say_json(sheet)
        return
    console = out()
    say(drawn(sheet, width_of(console)), console)


async def _known(declared: Known | None, last: int, address: str | None) -> Known:
    try:
        async with existing_store(address) as app:
            stored = await from_store(app.client.store, last)
    except StoreMissing:
        if declared is None:
            raise
        return declared
    return stored if declared is None else together(stored, declared)


def drawn(sheet: Sheet, width: int) -> list[Text]:
    """The map for a terminal."""
    if not (sheet.events or sheet.workflows or sheet.policies):
        return [Text("There is nothing to draw: no worker has told this store of its code, and nothing was published.")]
    shown = shortener(places_of(sheet))
    lines = _titled("Events", _events(sheet.events, width, shown), width)
    lines += _titled("Policies", _policies(sheet.policies, width, shown), width)
    lines += _titled("Seen in the log: what came of what", _seen(sheet, width), width)
    for kind, words in WORDS.items():
        found = [finding for finding in sheet.findings if finding.kind == kind]
        lines += [Text(words, style="bold yellow")] if found else []
        for finding in found:
            lines += hanging(Text("  "), Text(_found(finding, shown)), width, indent=4)
    return lines


def _found(finding: Finding, shown: Shorten) -> str:
    text = clean(finding.text) + (f" ({clean(shown(finding.place))})" if finding.place else "")
    return f"{clean(finding.subject)}: {text}" if finding.kind in ("nobody-reacts", "nobody-publishes") else text


def _titled(title: str, body: list[Text], width: int) -> list[Text]:
    return [Text(title, style="bold"), *body, Text()] if body else []


def _events(types: Sequence[Type], width: int, shown: Shorten) -> list[Text]:
    lines: list[Text] = []
    for one in types:
        lines.append(Text(clean(one.name), style="blue"))
        for publisher in one.publishers:
            lines += hanging(Text("  <── "), Text(_published(publisher, shown)), width)
        uses = [
            *one.reactions, *(f"{name} waits for it" for name in one.waits),
            *(f"expectation {name} begins" for name in one.triggers),
            *(f"expectation {name} is met" for name in one.answers),
        ]  # fmt: skip
        for use in uses:
            lines += hanging(Text("  ╌╌> "), Text(clean(use)), width)
    return lines


def _published(publisher: Publisher, shown: Shorten) -> str:
    what = [clean(publisher.name)]
    if publisher.declared and publisher.place is not None:
        what.append(clean(shown(publisher.place)))
    elif not publisher.declared:
        what.append("not declared")
    what.append(f"{publisher.seen:,} seen" if publisher.seen else "never seen")
    return "  ".join(what)


def _policies(policies: Sequence[Policy], width: int, shown: Shorten) -> list[Text]:
    rows = [
        [Text(clean(one.owner)), Text(one.kind), Text(clean(shown(one.place)) if one.place else ""), Text(_value(one))]
        for one in policies
    ]
    return table(("OF", "POLICY", "WRITTEN IN", "VALUE"), rows, width, dispensable=(2, 3))


def _value(policy: Policy) -> str:
    if policy.events is not None:
        return f"{_length(policy.value)} for {awaited(policy.events)}"
    if policy.kind == "retry":
        return f"{policy.value:.0f} attempt{'' if policy.value == 1 else 's'}"
    return _length(policy.value)


def _length(value: str | float) -> str:
    if isinstance(value, str):
        return clean(value)
    return whole(value) if value >= 1 else f"{value:g} s"


def _seen(sheet: Sheet, width: int) -> list[Text]:
    rows = [
        [
            Text(clean(one.cause)),
            Text(clean(one.effect if one.by is not None else f"a run of {one.effect}")),
            Text(clean(one.by or "")),
            Text(f"{one.count:,}"),
        ]
        for one in sheet.seen
    ]
    return table(("AFTER", "CAME", "BY", "TIMES"), rows, width, dispensable=(2,))
