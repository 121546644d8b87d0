"""What a worker's code says of its workflows, kept in the store: so `motet status` and `motet plan` can speak of what
is still ahead and of what would be undone without having the code.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from motet.choreography.reactions import Reaction
from motet.model.clock import SECOND
from motet.orchestration.definitions import Step
from motet.orchestration.plan.nodes import Node, paths
from motet.orchestration.plan.reader import read_plan
from motet.orchestration.plan.verbs import event_name
from motet.orchestration.publishing import publishes
from motet.orchestration.registry import Registry


class StepNote(msgspec.Struct, frozen=True, omit_defaults=True):
    """What others need to know of a step.

    Args:
        publishes: the events that it publishes by itself.
        timeout: seconds; None: what the settings say, or none.
        place: where its function stands, as `shop/flows.py:42`.
        declared: where it is made a step, and its policies are written; None: where its function stands.
    """

    returns: str | None = None
    attempts: int | None = None
    compensation: str | None = None
    admits_none: bool = False
    publishes: tuple[str, ...] = ()
    timeout: float | None = None
    place: str | None = None
    declared: str | None = None


class Ahead(msgspec.Struct, frozen=True, omit_defaults=True):
    """One durable verb in a workflow's source, in the order of its lines.

    Args:
        kind: the verb; or "unknown", where the source cannot be read.
        looped: inside a loop or comprehension, so it may happen many times.
        branch: inside an `if`, `match`, `except` or the like, so it may never happen.
        timeout: a wait's, in seconds or as its source says.
        file: where it stands, if not in the workflow's own file.
        node: of the plan.
    """

    kind: str
    name: str
    line: int
    looped: bool = False
    branch: bool = False
    timeout: float | str | None = None
    file: str | None = None
    node: int | None = None

    @property
    def names(self) -> list[str]:
        """Of several that it may be, all."""
        return self.name.split(" or ")


class Entry(msgspec.Struct, frozen=True):
    """One workflow of one version.

    Args:
        name: its present one, under whichever this entry is kept.
        steps: all of its app.
        plan: None: its source cannot be read.
        place: where its function stands, as `shop/flows.py:42`.
        deadline: seconds.
    """

    steps: dict[str, StepNote] = {}
    plan: list[Node] | None = None
    returns: str | None = None
    name: str = ""
    place: str | None = None
    deadline: float | None = None

    @property
    def ahead(self) -> list[Ahead]:
        """Its durable verbs, in the order of their lines."""
        return [_ahead(node, above) for node, above in paths(self.plan or ()) if _is_told(node)]


_decoder = msgspec.json.Decoder(Entry)


def read_entry(text: str | None) -> Entry:
    """The stored entry; an empty one for a workflow that no worker has registered."""
    return _decoder.decode(text) if text is not None else Entry()


def catalog_of(registry: Registry) -> dict[str, str]:
    """By `workflow@version`, each workflow's entry as JSON."""
    steps = {step.operation_name: _note(registry, step) for step in registry.steps.values()}
    found: dict[str, str] = {}
    for workflow in registry.every_workflow:
        plan = read_plan(workflow.function, registry.events)
        deadline = workflow.deadline / SECOND if workflow.deadline is not None else None
        known = Entry(
            steps, plan, _type_name(workflow.result.kind), workflow.name, place_of(workflow.function), deadline
        )  # fmt: skip
        entry = msgspec.json.encode(known).decode()
        for name in (workflow.name, *workflow.aliases):
            found[f"{name}@{workflow.version}"] = entry
    return found


def line_of(place: str | None, item: Ahead) -> str | None:
    """Where a verb stands, if its workflow stands there."""
    if item.file is not None:
        return f"{item.file}:{item.line}"
    return f"{place.rpartition(':')[0]}:{item.line}" if place is not None else None


def note_publishes(reactions: Iterable[Reaction], registry: Registry) -> None:
    """Have each reaction's note say what its handler publishes."""
    for reaction in reactions:
        if reaction.starts is None:
            reaction.publishes = _publishes(registry, reaction.handler, own=True)


def place_of(function: Callable[..., Any]) -> str | None:
    """Where it stands in the source."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else None


def _publishes(registry: Registry, function: Callable[..., Any], *, own: bool) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(event_name(registry.events, *found) for found in publishes(function, own=own))  # each once
    )  # fmt: skip


def _note(registry: Registry, step: Step[Any, Any, Any]) -> StepNote:
    compensation = step.compensated_by
    return StepNote(
        returns=_type_name(step.hints.get("return")),
        attempts=step.retry.attempts,
        compensation=compensation.operation_name if compensation is not None else None,
        admits_none=compensation.admits_none if compensation is not None else False,
        publishes=_publishes(registry, step.function, own=False),
        timeout=step.timeout if isinstance(step.timeout, float | int) else None,
        place=(place := place_of(step.function)),
        declared=step.declared_at if step.declared_at != place else None,
    )


def _type_name(kind: object) -> str | None:
    if not isinstance(kind, type) or kind in (type(None), Any):
        return None
    return kind.__name__


def _is_told(node: Node) -> bool:
    return (node.is_operation and node.kind != "timeout") or node.kind == "unknown"


def _ahead(node: Node, above: Sequence[Node]) -> Ahead:
    looped = any(one.kind == "loop" or one.many for one in above)
    branch = any(one.kind in ("arm", "handler") for one in above)
    name = node.text if node.kind in ("sleep", "restart", "unknown") else "" if node.kind == "pivot" else node.title
    timeout = node.timeout if node.kind == "wait" else None
    return Ahead(node.kind, name, node.line, looped, branch, timeout, node.file, node.id)
