"""A plan that is lit with a run: which of its nodes are done, running, failed, still ahead, or out of reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from motet.orchestration.plan.marks import Mark
from motet.orchestration.plan.next import reachable, standing_points
from motet.orchestration.plan.nodes import Node, walk
from motet.orchestration.plan.ways import Ways

State = Literal["done", "running", "waiting", "retrying", "failed", "undone", "ahead", "skipped"]
"""`waiting`: for time, an event or a child; `ahead`: it can still come; `skipped`: it has not, and cannot any more."""

_AT_WORK: tuple[State, ...] = ("running", "retrying", "waiting")


class Light(NamedTuple):
    """What has become of a node, and the operations that it was."""

    state: State
    operations: tuple[str, ...] = ()


def lights(
    nodes: Sequence[Node], ways: Ways, marks: Sequence[Mark], states: Mapping[str, State], *, over: bool
) -> dict[int, Light]:
    """By node.

    Args:
        states: of each operation.
        over: whether nothing is ahead any more, but undoing.
    """
    operations: dict[int, list[str]] = {}
    for mark in marks:
        if mark.node is not None and mark.did.kind != "compensation":
            operations.setdefault(mark.node, []).append(mark.did.op)
    coming = set[int]() if over else reachable(ways, standing_points(ways, marks), errors=True)
    found: dict[int, Light] = {}
    for node in walk(nodes):
        if node.id in operations:
            done = operations[node.id]
            now = {states[op] for op in done}
            # Of several turns the one at work counts, else the last.
            working: list[State] = [one for one in _AT_WORK if one in now]
            found[node.id] = Light(working[0] if working else states[done[-1]], tuple(done))
        elif node.is_operation or node.kind == "unknown":
            found[node.id] = Light("ahead" if node.id in coming else "skipped")
    return found
