"""A tree as lines: solid where a run's code says what comes next, dashed where something reacted to an event."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from motet.conversation.nodes import Node

LEAST_BODY = 24
"""So many columns are left for what there is to say, however deep it stands."""


class Drawing(NamedTuple):
    """The signs of a tree, each four columns wide."""

    solid: tuple[str, str]
    dashed: tuple[str, str]
    beside: str
    cut: str


LINES = Drawing(("├── ", "└── "), ("├╌╌ ", "└╌╌ "), "│   ", "…   ")
PLAIN = Drawing(("|-- ", "`-- "), ("|.. ", "`.. "), "|   ", "... ")


def drawing() -> Drawing:
    """What this terminal can show."""
    encoding = (sys.stdout.encoding or "").lower()
    return LINES if encoding.startswith("utf") else PLAIN


def branches(nodes: Sequence[Node], room: int, signs: Drawing) -> Iterator[tuple[Node, str, str]]:
    """Each node with what stands before its first line, and before its further ones."""
    last = _last_ones(nodes)
    open_levels: list[bool] = []  # for each level above: whether more comes there
    levels = max((room - LEAST_BODY) // 4, 2)
    for node, is_last in zip(nodes, last, strict=True):
        del open_levels[max(node.depth - 1, 0) :]
        above = [signs.beside if more else "    " for more in open_levels]
        if node.depth == 0:
            yield node, "", ""
            continue
        own = (signs.dashed if node.edge == "choreographed" else signs.solid)[is_last]
        if len(above) >= levels:
            above = [signs.cut, *above[len(above) - levels + 2 :]]
        yield node, "".join([*above, own]), "".join([*above, "    " if is_last else signs.beside])
        open_levels.append(not is_last)


def _last_ones(nodes: Sequence[Node]) -> list[bool]:
    """Whether a node is the last one of its parent: nothing of its depth comes before something less deep."""
    last: list[bool] = []
    later: list[bool] = []  # by depth, seen from the end
    for node in reversed(nodes):
        del later[node.depth + 1 :]
        later += [False] * (node.depth + 1 - len(later))
        last.append(not later[node.depth])
        later[node.depth] = True
    return last[::-1]
