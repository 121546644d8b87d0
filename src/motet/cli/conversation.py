"""`motet conversation`: the whole story as a tree with times; reading only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from rich.cells import cell_len
from rich.text import Text

from motet.cli.branches import branches, drawing
from motet.cli.group import run_async
from motet.cli.layout import clean, flowing, hanging, pad, shorten
from motet.cli.opening import existing_store
from motet.cli.options import JsonOption, StoreOption, argument, chosen_store
from motet.cli.spans import ago, due, micros_of, span
from motet.cli.terminal import STATE_STYLES, out, say, say_json, width_of
from motet.cli.view import LONGEST_ERROR, View, awaited, bare, labelled, short
from motet.conversation.nodes import Conversation, Node
from motet.model.clock import SECOND, SYSTEM
from motet.model.run import STATES

TIME_COLUMN = 12
_DUE = {"retrying": "again ", "waiting": "ends "}
LEAST_WITH_TIMES = 72
"""Below so many columns, times stand behind what they belong to."""

MARKERS = {
    "completed": "ok", "fired": "ok", "pivoted": "ok", "published": "ok", "delivered": "ok", "met": "ok",
    "answered": "!!", "failed": "!!", "stuck": "!!", "parked": "!!", "held": "!!", "missed": "!!", "late": "!!",
    "cancelled": "!!", "blocked": "!!", "skipped": "--", "early": "--",
    "running": ">>", "retrying": ">>", "compensating": ">>",
    "pending": "..", "waiting": "..", "open": "..", "paused": "..",
}  # fmt: skip
STYLES = {"ok": "green", ">>": "cyan", "..": "dim", "!!": "bold red", "--": "magenta", "<<": "yellow", "*": "blue"}

KeyArgument = Annotated[
    str,
    argument(
        metavar="KEY",
        about="The conversation: the id of the run, or the key of the event, that began it; or the id of a run in it.",
    ),
]


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Look")(conversation)


def conversation(key: KeyArgument, store: StoreOption = None, json: JsonOption = False) -> None:
    """The whole story of what belongs together: runs, steps, events, reactions, expectations, as a tree with times.

    A solid branch is what a run's code says; a dashed one reacts to an event, whose publisher does not know of it.
    """
    run_async(_conversation(key, chosen_store(store), json))


async def _conversation(key: str, address: str | None, as_json: bool) -> None:
    async with existing_store(address) as app:
        found = await app.conversation(key)
    if as_json:
        say_json(found)
        return
    console = out()
    say(told(found, View(SYSTEM.now(), width_of(console), address)), console)


def told(found: Conversation, view: View) -> list[Text]:
    """The story."""
    return [*flowing(_header(found), view.width), *_tree(found, view), *_remarks(found, view)]


def _header(found: Conversation) -> list[Text]:
    parts = [
        Text(f"conversation {clean(found.conversation)}", style="bold"),
        Text(_counted(found.runs, "run")),
        Text(_counted(found.events, "event")),
        Text(f"began {found.began_at.replace('T', ' ').removesuffix('Z')} UTC"),
        Text(f"for {span(found.seconds)}" if found.open else f"took {span(found.seconds)}"),
    ]
    if found.open:
        parts.append(Text(f"{found.open} open", style="cyan"))
    if found.failed - found.missed:
        parts.append(Text(f"{found.failed - found.missed} failed", style="red"))
    if found.missed:
        parts.append(Text(f"{found.missed} missed", style="red"))
    return parts


def _counted(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _tree(found: Conversation, view: View) -> Iterator[Text]:
    aside = view.width >= LEAST_WITH_TIMES
    column = TIME_COLUMN if aside else 0
    for node, first, further in branches(found.nodes, view.width - column, drawing()):
        time = _offset(node, found)
        body = _body(node, view)
        if not aside and time:
            body = Text.assemble(body, (f"  {time}", "dim"))
        before = Text.assemble((f"{pad(time, column - 2, right=True)}  " if aside else "", "dim"), first, _marker(node))
        lines = hanging(before, body, view.width, indent=cell_len(before.plain))
        yield lines[0]
        indent = cell_len(before.plain)
        for line in lines[1:]:
            yield Text.assemble(" " * column, further, line[indent - len(_marker(node).plain) :])


def _offset(node: Node, found: Conversation) -> str:
    if node.at is None:
        return ""
    seconds = (micros_of(node.at) - micros_of(found.began_at)) / SECOND
    return "0" if seconds < 0.0005 else f"+{span(seconds)}"


def _marker(node: Node) -> Text:
    if node.kind == "run":
        return Text()
    marker = "* " if node.kind == "event" else MARKERS.get(node.state, "  ")
    if node.undoes is not None and marker == "ok":
        marker = "<<"
    return Text.assemble((marker, STYLES.get(marker.strip(), "")), "  ")


def _body(node: Node, view: View) -> Text:
    if node.kind == "run":
        return _run(node, view)
    if node.kind == "event":
        about = f"  {clean(node.key)}" if node.key else ""
        remark = f"  ({clean(node.detail)})" if node.detail else ""
        return Text.assemble((clean(node.name), "blue"), about, remark)
    if node.kind == "operation":
        return _operation(node, view)
    return _reaction(node, view) if node.kind == "reaction" else _expectation(node, view)


def _run(node: Node, view: View) -> Text:
    style = next((STATE_STYLES[state] for state in STATES if state == node.state), "")
    parts: list[str | tuple[str, str]] = [
        (clean(node.name), "bold"), f"  {clean(short(node.workflow or ''))}  ", (node.state.upper(), style),
    ]  # fmt: skip
    if node.seconds is not None:
        parts.append(f"  {span(node.seconds)}")
    if node.detail:
        parts.append(f"  {clean(node.detail)}")
    if node.due is not None:
        parts.append(f"  goes on {due(node.due, view.now)}")
    return Text.assemble(*parts, _because(node))


def _operation(node: Node, view: View) -> Text:
    parts = [_called(node)]
    if node.undoes is not None:
        parts.append(f"undoes {bare(node.undoes)}")
    if node.detail not in (None, "timer", "pivot", "publish", "wait", "child"):
        parts.append(clean(node.detail or ""))
    if node.state in ("answered", "failed", "stuck", "skipped", "retrying", "waiting"):
        parts.append(node.state)
    if node.attempts is not None and node.attempts > 1:
        parts.append(f"{node.attempts} attempts")
    if node.seconds is not None:
        parts.append(span(node.seconds))
    if node.due is not None:
        parts.append(f"{_DUE.get(node.state, '')}{due(node.due, view.now)}")
    return Text.assemble("  ".join(parts), _because(node))


def _called(node: Node) -> str:
    name = bare(node.name)
    if node.detail == "wait":
        return f"wait for {awaited(name)}"
    return f"publish {name}" if node.detail == "publish" else name


def _reaction(node: Node, view: View) -> Text:
    words = {
        "delivered": "or filtered out" if node.filtered else "", "pending": "on its way",
        "paused": "the reaction is paused", "running": "at work", "parked": "dead letter",
        "held": "dead letter that later ones of its key wait for",
    }  # fmt: skip
    parts = [clean(node.name), words.get(node.state, node.state)]
    if node.detail:
        parts.append(node.detail)
    if node.attempts:
        parts.append(f"after {_counted(node.attempts, 'attempt')}")
    if node.due is not None:
        parts.append(f"again {due(node.due, view.now)}")
    return Text.assemble("  ".join(part for part in parts if part), _because(node))


def _expectation(node: Node, view: View) -> Text:
    parts = [clean(node.name), node.state]
    if node.detail:
        parts.append(clean(node.detail))
    if node.due is not None and node.state in ("open", "missed"):
        parts.append(_until(node.due, view))
    return Text("  ".join(parts))


def _until(at: str, view: View) -> str:
    if micros_of(at) > view.now:
        return f"due {due(at, view.now)}"
    return f"was due {ago(at, view.now)}"


def _because(node: Node) -> str:
    return f": {shorten(clean(node.error), LONGEST_ERROR)}" if node.error else ""


# --- below the tree -------------------------------------------------------------------------------------------


def _remarks(found: Conversation, view: View) -> list[Text]:
    lines: list[Text] = []
    for index, node in enumerate(found.nodes):
        if node.state == "missed":
            lines += labelled("Missing:", _missing(node, _below(found.nodes, index), view), view.width)
    still = [_named(node) for node in found.nodes if node.is_open]
    if still:
        lines += labelled("Open:", ", ".join(dict.fromkeys(still)), view.width)
    dead = [_named(node) for node in found.nodes if node.state in ("parked", "held")]
    if dead:
        lines += labelled("Dead letters:", f"{', '.join(dict.fromkeys(dead))}; see motet dead-letters", view.width)
    if not found.complete:
        lines += labelled("Note:", "there is more of it than is shown here", view.width)
    return lines


def _missing(node: Node, below: Sequence[Node], view: View) -> str:
    what = clean((node.detail or node.name).partition(" after ")[0])
    since = f" since {ago(node.due, view.now).removesuffix(' ago')}" if node.due is not None else ""
    remedies = [f"{clean(one.name)} ({one.state})" for one in below if one.kind == "run" or _is_remedy(one, node)]
    return f"{what}{since}; " + (f"remedy: {', '.join(remedies)}" if remedies else "no remedy has started")


def _is_remedy(node: Node, missed: Node) -> bool:
    """A function that is a remedy is a reaction to the misses of its expectation."""
    return node.kind == "reaction" and node.name == f"{missed.name}.remedy"


def _below(nodes: Sequence[Node], index: int) -> list[Node]:
    """What hangs directly on a node."""
    found: list[Node] = []
    for node in nodes[index + 1 :]:
        if node.depth <= nodes[index].depth:
            break
        if node.depth == nodes[index].depth + 1:
            found.append(node)
    return found


def _named(node: Node) -> str:
    return f"{_called(node) if node.kind == 'operation' else clean(node.name)} ({node.state})"
