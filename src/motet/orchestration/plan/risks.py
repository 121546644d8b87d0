"""What is likely to end in trouble when something fails at the wrong moment; read from workflows and steps.

Four things, each only where it is plain, for a warning that is often wrong is not read any more:

- a step that is tried again, and that visibly sends what is not idempotent (an HTTP POST or PATCH, a mail) without
  asking for its idempotency key;
- a compensation that cannot take None: when nobody knows whether its step happened, the run needs a person;
- an event that is published when a later failure can still undo what it reports, and nothing takes it back;
- a step past the point of no return that is tried only once.

A line that is right all the same says so: `# motet: ok <reason>`.

Not seen: what other functions do for a step, clients that are handed to it, what happens in other processes.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from motet.model.history import STEPS
from motet.orchestration.definitions import Step, Workflow
from motet.orchestration.plan.next import reachable
from motet.orchestration.plan.nodes import Node, paths, walk
from motet.orchestration.plan.reader import read_plan
from motet.orchestration.plan.sending import sends
from motet.orchestration.plan.ways import FAILURE, UNDO, Ways, ways_of
from motet.orchestration.publishing import publishes
from motet.orchestration.registry import Registry
from motet.orchestration.source import read_body

ACCEPTED = re.compile(r"#\s*motet:\s*ok\s+\S")


@dataclass(frozen=True, slots=True)
class Risk:
    """Something that is likely to end in trouble.

    Args:
        subject: `step shop/charge`, `workflow shop/buy`.
        reason: what is wrong, and what comes of it.
        advice: the way out.
    """

    file: str
    line: int
    subject: str
    reason: str
    advice: str

    def warning_text(self) -> str:
        return (
            f"{self.subject} {self.reason} (line {self.line} of {self.file}); {self.advice} "
            "(silence with '# motet: ok <reason>')"
        )


def risks_of(registry: Registry) -> list[Risk]:
    """All of an app's, by file and line."""
    used: dict[str, Step[Any, Any, Any]] = {}
    found: list[Risk] = []
    steps = {step.operation_name: step for step in registry.steps.values()}
    for workflow in registry.every_workflow:
        nodes = read_plan(workflow.function, registry.events)
        if nodes is None:
            continue
        file = workflow.function.__code__.co_filename
        found += _of_workflow(workflow, nodes, file, steps)
        used |= {name: steps[name] for name in _undone_by_name(nodes) if name in steps}
    for step in steps.values():
        found += _of_step(step)
    for step in used.values():
        found += _of_compensation(step)
    return sorted(dict.fromkeys(found), key=lambda risk: (risk.file, risk.line, risk.reason))


# --- steps --------------------------------------------------------------------------------------------------------


def _of_step(step: Step[Any, Any, Any]) -> Iterator[Risk]:
    """Tried again, without a key by which the other side could know it again."""
    if step.retry.attempts == 1:
        return
    for call in sends(step.function):
        if not accepted(call.file, call.line, call.until):
            yield Risk(
                call.file, call.line, f"step {step.name}",
                f"is tried again when it fails, and {call.what}, which may then happen twice",
                "send attempt().key along, by which the other side knows it again, or let it be tried once: "
                "retry=Retry(attempts=1)",
            )  # fmt: skip


def _of_compensation(step: Step[Any, Any, Any]) -> Iterator[Risk]:
    """Of a step that some workflow may have to undo."""
    compensation = step.compensated_by
    if compensation is None or compensation.admits_none:
        return
    body = read_body(compensation.function)
    if body is None:
        return
    head = body.node.body[0].lineno - 1
    file = body.function.__code__.co_filename
    if accepted(file, min(body.lines), max(head, body.node.lineno)):
        return
    first = compensation.arguments.names[0]
    yield Risk(
        file, body.node.lineno, f"compensation {compensation.name}",
        f"does not take None as its {first!r}: when nobody knows whether {step.operation_name} happened, the run is "
        "blocked and needs a person",
        f"let {first!r} be `... | None`, and undo what may have happened (by the idempotency key, for instance)",
    )  # fmt: skip


# --- workflows ----------------------------------------------------------------------------------------------------


def _of_workflow(
    workflow: Workflow[Any, Any], nodes: Sequence[Node], file: str, steps: dict[str, Step[Any, Any, Any]]
) -> Iterator[Risk]:
    ways = ways_of(nodes, wary=False)
    by_id = {node.id: node for node in walk(nodes)}
    subject = f"workflow {workflow.name}"
    for node in _behind_pivots(ways, by_id):
        if node.kind in STEPS and node.attempts == 1 and not _accepted(node, file):
            yield Risk(
                node.file or file, node.line, subject,
                f"tries {node.title} only once past its point of no return: if it fails, the run is blocked and needs "
                "a person",
                "give the step more attempts: retry=Retry(attempts=...)",
            )  # fmt: skip
    for node, later in _too_early(ways, nodes, by_id, steps):
        if not _accepted(node, file):
            yield Risk(
                node.file or file, node.line, subject,
                f"publishes {node.title} before {later.title} (line {later.line}), which can fail: what was done is "
                "then undone, and the event is not true any more",
                f"publish it after {later.title}, or behind flow.pivot(), or let a compensation publish what takes it "
                "back",
            )  # fmt: skip


def _behind_pivots(ways: Ways, by_id: dict[int, Node]) -> Iterator[Node]:
    """What only comes past a point of no return."""
    pivots = [node.id for node in by_id.values() if node.kind == "pivot"]
    if not pivots:
        return
    after = {copy.after for pivot in pivots for copy in ways.copies.get(pivot, ())}
    before = _without(ways, set(pivots))
    for node in reachable(ways, after, errors=True):
        if node >= 0 and node not in before:
            yield by_id[node]


def _without(ways: Ways, stops: set[int]) -> set[int]:
    """What can be reached without any of these operations."""
    entries = {copy.entry for node in stops for copy in ways.copies.get(node, ())}
    return reachable(ways, [ways.start], errors=True, without=entries)


def _too_early(
    ways: Ways, nodes: Sequence[Node], by_id: dict[int, Node], steps: dict[str, Step[Any, Any, Any]]
) -> Iterator[tuple[Node, Node]]:
    """Publishes, each with a later step whose failure undoes an earlier one, when nothing takes the event back."""
    stops = {copy.entry for node in by_id.values() if node.kind in ("pivot", "wait") for copy in ways.copies[node.id]}
    publishes_at = [node for node in by_id.values() if node.kind == "publish"]
    handled = {node.id for node, above in paths(nodes) if any(one.kind in ("handler", "finally") for one in above)}
    for node in publishes_at:
        if node.id in handled:
            continue
        undone = [one for one in by_id.values() if one.compensation and _leads(ways, one, node, stops)]
        if not undone or any(_takes_back(one, steps) for one in undone):
            continue
        after = [copy.after for copy in ways.copies[node.id]]
        for later in sorted(reachable(ways, after, errors=False, without=stops)):
            one = by_id.get(later)
            if one is None or one.kind not in (*STEPS, "child") or one.id == node.id:
                continue
            failed = [copy.failed for copy in ways.copies[one.id]]
            ends = reachable(ways, failed, errors=True, without=stops)
            if {FAILURE, UNDO} & ends and not any(by_id[e].kind == "publish" for e in ends if e >= 0):
                yield node, one
                break


def _leads(ways: Ways, before: Node, after: Node, stops: Iterable[int]) -> bool:
    """Whether one comes before the other, with no point of no return in between."""
    points = [copy.after for copy in ways.copies[before.id]]
    return after.id in reachable(ways, points, errors=False, without=stops)


def _takes_back(node: Node, steps: dict[str, Step[Any, Any, Any]]) -> bool:
    """Whether the compensation tells of it itself."""
    step = steps.get(node.name or "")
    compensation = step.compensated_by if step is not None else None
    return compensation is not None and bool(publishes(compensation.function, own=False))


def _undone_by_name(nodes: Sequence[Node]) -> set[str]:
    """Steps that may have to be undone: all but those that only come past a point of no return."""
    ways = ways_of(nodes, wary=False)
    by_id = {node.id: node for node in walk(nodes)}
    late = {node.id for node in _behind_pivots(ways, by_id)}
    return {
        name
        for node in by_id.values()
        if node.kind == "step" and node.id not in late  # a transaction's outcome is always known
        for name in (node.name, *node.choices)
        if name is not None
    }


# --- what a person has looked at ----------------------------------------------------------------------------------


def _accepted(node: Node, file: str) -> bool:
    return accepted(node.file or file, node.line, node.until or node.line)


def accepted(file: str, first: int, last: int) -> bool:
    """Whether one of these lines says that it is right."""
    return any(ACCEPTED.search(linecache.getline(file, line)) for line in range(first, last + 1))
