"""A workflow's plan as a tree for a terminal; lit, if it is a run's.

ok  done        >>  at work, or waits        ..  ahead
!!  failed      <<  undone                   --  not taken, and cannot come any more
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text

from motet.cli.branches import Drawing
from motet.cli.layout import clean, hanging
from motet.cli.operations import LEAST_DETAIL, MARKER_STYLES
from motet.cli.sites import Shorten
from motet.cli.spans import whole
from motet.cli.view import called
from motet.coming import Lit
from motet.model.history import STEPS
from motet.orchestration.plan.lights import State
from motet.orchestration.plan.nodes import Node

MARKERS: dict[State, str] = {
    "done": "ok", "running": ">>", "waiting": ">>", "retrying": ">>", "failed": "!!", "undone": "<<", "ahead": "..",
    "skipped": "--",
}  # fmt: skip
_WORDS = {"return": "return", "raise": "raise", "break": "break", "continue": "continue"}


class _Line(NamedTuple):
    depth: int
    last: tuple[bool, ...]  # for each level, whether nothing comes there any more
    node: Node
    text: str
    detail: str


def tree(
    nodes: Sequence[Node], width: int, signs: Drawing, shown: Shorten, lights: Mapping[int, Lit] | None = None
) -> list[Text]:
    """The plan's lines."""
    lines = list(_lines(_visible(nodes), (), shown, lights or {}))
    gutter = 6 if lights is not None else 0
    firsts = [_prefix(line, signs) for line in lines]
    names = max(
        (cell_len(one) + cell_len(line.text) for one, line in zip(firsts, lines, strict=True) if line.detail), default=0
    )
    column = gutter + names + 3
    beside = width - column >= LEAST_DETAIL
    found: list[Text] = []
    for line, first in zip(lines, firsts, strict=True):
        light = lights.get(line.node.id) if lights is not None else None
        head = Text(" " * gutter)
        if light is not None:
            marker = MARKERS[light.state]
            head = Text.assemble("  ", (marker, MARKER_STYLES[marker]), "  ")
        style = _style(line.node, light)
        whole_line = Text.assemble(head, (first, "dim"), (line.text, style))
        further = " " * gutter + _further(line, signs)
        if not line.detail:
            found += _wrapped(head, first, Text(line.text, style=style), further, width)
        elif beside:
            whole_line.append(" " * (column - cell_len(whole_line.plain)))
            found += _hung(whole_line, Text(line.detail, style="dim"), further, column, width)
        else:
            found += _wrapped(head, first, Text(line.text, style=style), further, width)
            found += _hung(
                Text(f"{further}  ", style="dim"), Text(line.detail, style="dim"), further, len(further) + 2, width
            )
    return found


def legend(width: int) -> list[Text]:
    """What the signs of a lit plan mean."""
    words = {"ok": "done", ">>": "at work", "..": "ahead", "!!": "failed", "<<": "undone", "--": "not taken"}
    body = Text("   ").join(Text.assemble((sign, MARKER_STYLES[sign]), " ", word) for sign, word in words.items())
    return hanging(Text("  "), body, width)


def _wrapped(head: Text, first: str, body: Text, further: str, width: int) -> list[Text]:
    lines = hanging(Text.assemble(head, (first, "dim")), body, width)
    return [line if not index else _under(line, further) for index, line in enumerate(lines)]


def _hung(first: Text, detail: Text, further: str, column: int, width: int) -> list[Text]:
    lines = hanging(first, detail, width, indent=column)
    return [line if not index else _under(line, further) for index, line in enumerate(lines)]


def _under(line: Text, further: str) -> Text:
    """The same line with the tree's bars going on at its left."""
    return Text.assemble((further, "dim"), line[min(cell_len(further), len(line)) :])


def _prefix(line: _Line, signs: Drawing) -> str:
    above = ["    " if last else signs.beside for last in line.last[:-1]]
    return "".join([*above, signs.solid[line.last[-1]]])


def _further(line: _Line, signs: Drawing) -> str:
    return "".join("    " if last else signs.beside for last in line.last)


def _style(node: Node, light: Lit | None) -> str:
    if light is not None and light.state in ("ahead", "skipped"):
        return "dim"
    if node.kind == "unknown":
        return "bold yellow"
    return "" if node.is_operation else "italic"


# --- what is shown -------------------------------------------------------------------------------------------------


def _visible(nodes: Sequence[Node]) -> list[Node]:
    """Without what only holds others: an `if` stands where it is, not under a branch."""
    found: list[Node] = []
    for node in nodes:
        if node.kind == "branch" and not node.text:
            found += node.body
        elif node.kind == "timeout" and not node.body:
            continue  # said with the wait that it limits
        elif node.kind == "parallel" and node.background and len(node.body) == 1:
            found.append(node.body[0])
        else:
            found.append(node)
    return found


def _lines(nodes: Sequence[Node], last: tuple[bool, ...], shown: Shorten, lights: Mapping[int, Lit]) -> Iterator[_Line]:
    for index, node in enumerate(nodes):
        own = (*last, index == len(nodes) - 1)
        light = lights.get(node.id)
        yield _Line(len(own), own, node, _text(node, light), _detail(node, shown))
        yield from _lines(_inner(node), own, shown, lights)


def _inner(node: Node) -> list[Node]:
    inner = _visible(node.body)
    if node.kind == "try":  # its own statements, then what may follow on them
        own = [part for part in node.body if part.kind == "part"]
        return [*_visible(own[0].body), *[part for part in node.body if part.kind != "part"]]
    if node.kind == "parallel":
        return [_alone(part) for part in inner]
    return inner


def _alone(part: Node) -> Node:
    """The one thing of a part that holds nothing else."""
    inner = _visible(part.body)
    return inner[0] if part.kind == "part" and len(inner) == 1 and not part.text else part


def _text(node: Node, light: Lit | None) -> str:
    text = clean(node.text)
    times = f" x{len(light.operations)}" if light is not None and len(light.operations) > 1 else ""
    if node.kind in (*STEPS, "wait", "publish", "child"):
        name = node.name or (" or ".join(node.choices) if node.choices else "")
        if not name:
            return f"{node.kind} that cannot be known: {text}"
        return ("one of " if node.choices else "") + called(node.kind, name) + times
    if node.kind in ("sleep", "restart"):
        return f"{node.kind} {text}".rstrip() + times
    fixed = {
        "pivot": "pivot: from here only forward", "timeout": f"within {text}", "try": "try", "scope": "scope",
        "unknown": f"cannot be known: {text}", "part": f"each {text}" if node.many else "meanwhile",
        "call": f"{text} again" if node.again else text,
    }  # fmt: skip
    if node.kind == "part" and node.many and not text:
        return "any number of times"
    if node.kind == "parallel":
        return f"together ({text})" if text else "meanwhile"
    if node.kind in _WORDS:
        return f"{node.kind} {text}".rstrip()
    return fixed.get(node.kind, text or node.kind)


def _detail(node: Node, shown: Shorten) -> str:
    parts: list[str] = []
    if node.kind in STEPS:
        if node.attempts is not None and node.attempts != 1:
            parts.append(f"{node.attempts} attempts")
        if node.timeout is not None:
            parts.append(f"at most {_length(node.timeout)}" + (" each" if node.attempts != 1 else ""))
        if node.errors:
            parts.append(f"may answer {', '.join(error[0] for error in node.errors)}")
        if node.compensation is not None:
            unknown = "" if node.admits_none or node.kind == "transaction" else " (not if its outcome is unknown)"
            parts.append(f"undone by {node.compensation}{unknown}")
    elif node.kind == "wait":
        parts.append("for ever" if node.timeout is None else f"at most {_length(node.timeout)}")
    elif node.kind == "scope":
        parts.append("undone when an error leaves it")
    said = ", ".join(parts)
    if not (node.is_operation or node.kind in ("unknown", "call")):
        return said
    where = f"{clean(shown(node.file))}:{node.line}" if node.file is not None else f"line {node.line}"
    return f"{where}: {said}" if said else where


def _length(value: float | str) -> str:
    if isinstance(value, str):
        return clean(value)
    return whole(value) if value >= 1 else f"{value:g} s"
