"""What can come next in a run, and its plan lit with what it has done: from its records and from what its workers' code
has said of it, without having that code.

Not here: how a workflow's source is read (`orchestration/plan/`), and what would be undone (`status.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import msgspec

from motet.catalog import Ahead, Entry, read_entry
from motet.model.history import Recorded
from motet.orchestration.plan.lights import Light, State, lights
from motet.orchestration.plan.marks import Did, Mark, Places, place
from motet.orchestration.plan.next import Option, options_after, reachable, standing_points
from motet.orchestration.plan.nodes import Node, walk
from motet.orchestration.plan.ways import END, FAILURE, UNDO, Ways, ways_of
from motet.reasons import InFlight

NextKind = Literal[
    "step", "transaction", "wait", "sleep", "child", "publish", "pivot", "restart", "undo", "end", "failure", "unknown"
]  # fmt: skip


class Next(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that can come next.

    Args:
        kind: an operation; `undo`: a compensation; `end`: the run completes; `failure`: it fails, and there is nothing
            to undo (past its point of no return: it needs a person); `unknown`: the source is too dynamic to tell.
        name: as histories call it; of what cannot be told, as the source says.
        when: the source's conditions on the way there.
        if_fails: only if something fails, or time runs out.
        node: of the plan.
        line, file: where it stands; `file` only if that is not the workflow's own.
    """

    kind: NextKind
    name: str
    when: list[str] = []
    if_fails: bool = False
    node: int | None = None
    line: int | None = None
    file: str | None = None


class Known:
    """A plan, made ready to be asked."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self.by_id = {node.id: node for node in walk(nodes)}
        self.ways: Ways = ways_of(nodes)
        self.places = Places(nodes)

    def marks(self, dids: Sequence[Did]) -> list[Mark]:
        return place(self.places, dids)


@lru_cache(maxsize=64)
def known_plan(catalog: str | None) -> Known | None:
    """The plan that is in a catalog's entry; None if nobody knows it."""
    plan = read_entry(catalog).plan
    return Known(plan) if plan is not None else None


def done_of(history: Sequence[Recorded]) -> list[Did]:
    """What has come to an end, in the order in which it has."""
    found: dict[str, Did] = {}
    for row in history:
        if row.op and row.operation_kind != "change" and row.kind not in ("retrying", "stuck"):
            name = row.op.rpartition("#")[0]
            # A timer that fires is a time limit that has passed, but for a sleep's.
            late = row.kind == "fired" and name != "sleep"
            outcome: Literal["ok", "error"] = "error" if late or row.kind in ("answered", "failed", "skipped") else "ok"
            found[row.op] = Did(row.op, row.operation_kind, name, row.site, outcome, row.target)
    return list(found.values())


def coming(known: Known, dids: Sequence[Did], undo: Sequence[Next] = ()) -> list[Next]:
    """What can come next, sure things first.

    Args:
        undo: what would be undone if the run failed now, in order.
    """
    found: list[Next] = []
    for option in options_after(known.ways, known.marks(dids)):
        one = _next(known, option)
        if one is None:
            continue  # a time limit's timer, which is nothing that happens to anybody
        if one.kind in ("failure", "undo") and undo:
            if not any(other.kind == "undo" for other in found):
                found.append(msgspec.structs.replace(undo[0], when=one.when, if_fails=one.if_fails))
        elif one.kind != "undo":
            found.append(one)
    return found


def ahead_of(entry: Entry, known: Known | None, dids: Sequence[Did]) -> list[Ahead]:
    """What can still come without anything failing, and has not come yet; nothing where nobody knows."""
    if known is None:
        return []
    marks = known.marks(dids)
    come = {mark.node for mark in marks}
    reached = reachable(known.ways, standing_points(known.ways, marks), errors=False)
    return [item for item in entry.ahead if item.node in reached and item.node not in come]


def states_of(history: Sequence[Recorded], current: Sequence[InFlight]) -> dict[str, State]:
    """Of each operation, what has become of it."""
    states: dict[str, State] = {
        row.op: "failed" if row.kind in ("answered", "failed", "skipped") else "done" for row in history if row.op
    }
    for item in current:
        waits = item.kind in ("timer", "wait", "child")
        trying: State = "retrying" if item.next_attempt_at and not item.running else "running"
        states[item.operation] = "failed" if item.stuck else "waiting" if waits else trying
    return states


def _next(known: Known, option: Option) -> Next | None:
    when = list(option.conditions)
    if option.node < 0:
        kinds: dict[int, NextKind] = {END: "end", FAILURE: "failure", UNDO: "undo"}
        return Next(kinds[option.node], "", when, option.error)
    node = known.by_id[option.node]
    if node.kind == "timeout":
        return None
    if node.kind == "unknown" or (node.name is None and not node.choices and node.kind != "restart"):
        return Next("unknown", node.text, when, option.error, node.id, node.line, node.file)
    kind: Any = node.kind
    name = node.text if node.kind in ("sleep", "restart") else node.title
    return Next(kind, name, when, option.error, node.id, node.line, node.file)


# --- the lit plan -------------------------------------------------------------------------------------------------


class Lit(msgspec.Struct, frozen=True):
    """A node's state, and its operations."""

    state: State
    operations: list[str]


class LitPlan(msgspec.Struct, frozen=True):
    """A plan, and what a run has made of it.

    Args:
        lights: by node: done, running, waiting, retrying, failed, undone, ahead (it can still come), skipped (it has
            not come and cannot any more); and the operations that it was.
        elsewhere: operations that are nowhere on the plan: the code has changed since, or does it in a way that the
            plan does not see.
    """

    workflow: str
    version: int
    run: str | None
    place: str | None
    plan: list[Node] | None
    lights: dict[int, Lit] = {}
    elsewhere: list[str] = []

    @property
    def known(self) -> Known | None:
        return Known(self.plan) if self.plan is not None else None


def light_up(
    known: Known, dids: Sequence[Did], states: Mapping[str, State], *, over: bool
) -> tuple[dict[int, Lit], list[str]]:
    """By node, what has become of it; and what is nowhere."""
    marks = known.marks(dids)
    undone = {did.target for did in dids if did.kind == "compensation" and did.outcome == "ok"}
    told: dict[str, State] = {op: "undone" if op in undone else state for op, state in states.items()}
    found: dict[int, Light] = lights(known.nodes, known.ways, marks, told, over=over)
    elsewhere = [mark.did.op for mark in marks if mark.node is None and mark.did.kind not in ("compensation", "run")]
    return {node: Lit(light.state, list(light.operations)) for node, light in found.items()}, elsewhere
