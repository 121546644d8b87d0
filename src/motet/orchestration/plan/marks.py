"""Which node of the plan each operation of a run belongs to.

By the site that it has recorded, then by kind and name. A site may be longer than the plan's (code that asyncio runs in
a task in one Python, and in place in another), shorter, or go round in a recursion; then what is left of it decides.
An operation of code that has changed since may belong nowhere: it is shown as such, never guessed into a place.

Not here: what follows (`next.py`), what it looks like (`lights.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from motet.orchestration.plan.nodes import Node, walk
from motet.orchestration.sites import WAY

Outcome = Literal["open", "ok", "error"]


class Did(NamedTuple):
    """An operation of a run.

    Args:
        outcome: open: in flight, or about to be tried again.
        target: of a compensation, the operation that it undoes.
    """

    op: str
    kind: str
    name: str
    site: str | None
    outcome: Outcome
    target: str | None = None


class Mark(NamedTuple):
    """An operation at its place; `node` is None where the plan has none for it."""

    did: Did
    node: int | None


_KINDS = {"timer": ("sleep", "timeout")}
"""Which kinds of nodes a kind of operation belongs to, where they are not called the same."""


class Places:
    """The nodes of a plan by where operations are created."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._exact: dict[str, list[Node]] = {}
        self._last: dict[str, list[Node]] = {}
        self._line: dict[str, list[Node]] = {}
        self._named: dict[tuple[str, str], list[Node]] = {}
        self._unknown: dict[str, Node] = {}
        self._again: list[str] = []
        for node in walk(nodes):
            if node.again and node.site is not None:
                self._again.append(node.site.rpartition(WAY)[2])
            if node.kind == "unknown" and node.site is not None:
                self._unknown[node.site] = node
            if not node.is_operation:
                continue
            self._named.setdefault((node.kind, node.title), []).append(node)
            if node.site is not None:
                last = node.site.rpartition(WAY)[2]
                self._exact.setdefault(node.site, []).append(node)
                self._last.setdefault(last, []).append(node)
                self._line.setdefault(_line(last), []).append(node)

    def candidates(self, did: Did) -> list[Node]:
        """The nodes that this operation may belong to, by the best evidence there is."""
        if did.site is None:
            return self._by_name(did)
        ways = did.site.split(WAY)
        if self._again:
            ways = _straight(ways, self._again)
        for begin in range(len(ways)):
            if found := _fitting(self._exact.get(WAY.join(ways[begin:]), ()), did):
                return found
        if found := _fitting(self._last.get(ways[-1], ()), did):
            return found
        for length in range(len(ways), 0, -1):
            for begin in range(length):
                if (unknown := self._unknown.get(WAY.join(ways[begin:length]))) is not None:
                    return [unknown]
        return _fitting(self._line.get(_line(ways[-1]), ()), did) or self._by_name(did)

    def _by_name(self, did: Did) -> list[Node]:
        found = [node for kind in _KINDS.get(did.kind, (did.kind,)) for node in self._named.get((kind, did.name), ())]
        return found if len(found) == 1 else []


def place(places: Places, dids: Sequence[Did]) -> list[Mark]:
    """Each operation at its node, in the order given. Compensations belong to what they undo."""
    marks: list[Mark] = []
    nodes: dict[str, int | None] = {}
    uses: dict[int, int] = {}
    for did in dids:
        if did.kind == "compensation":
            marks.append(Mark(did, nodes.get(did.target or "")))
            continue
        candidates = places.candidates(did)
        node = min(candidates, key=lambda one: uses.get(one.id, 0)).id if candidates else None
        if node is not None:
            uses[node] = uses.get(node, 0) + 1
        nodes[did.op] = node
        marks.append(Mark(did, node))
    return marks


def _fitting(nodes: Sequence[Node], did: Did) -> list[Node]:
    kinds = _KINDS.get(did.kind, (did.kind,))
    found = [node for node in nodes if node.kind in kinds]
    return [node for node in found if did.name in (node.name, *node.choices) or node.name is None]


def _line(site: str) -> str:
    return ":".join(site.split(":")[:2])


def _straight(ways: list[str], again: Sequence[str]) -> list[str]:
    """Without the turns of a recursion: what a function does inside itself, it does at the same place."""
    found: list[str] = []
    for index, way in enumerate(ways):
        if way in again and index < len(ways) - 1:
            inside = ways[index + 1].partition(":")[0]
            if any(one.partition(":")[0] == inside for one in (*found, way)):
                while found and found[-1].partition(":")[0] == inside:
                    found.pop()
                continue
        found.append(way)
    return found
