"""What a worker's code says of its workflows, kept in the store: so `motet status` can speak of what is still ahead
and of what would be undone without having the code.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, cast

import msgspec

from motet.choreography.reactions import Reaction
from motet.model.clock import SECOND
from motet.orchestration.definitions import Step, Workflow
from motet.orchestration.outline import OutlineItem, outline
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
        timeout: a wait's, in seconds or as its source says.
    """

    kind: str
    name: str
    line: int
    looped: bool = False
    branch: bool = False
    timeout: float | str | None = None


class Entry(msgspec.Struct, frozen=True):
    """One workflow of one version.

    Args:
        name: its present one, under whichever this entry is kept.
        steps: all of its app.
        ahead: None: its source cannot be read.
        place: where its function stands, as `shop/flows.py:42`.
        deadline: seconds.
    """

    steps: dict[str, StepNote] = {}
    ahead: list[Ahead] | None = None
    returns: str | None = None
    name: str = ""
    place: str | None = None
    deadline: float | None = None


_decoder = msgspec.json.Decoder(Entry)


def read_entry(text: str | None) -> Entry:
    """The stored entry; an empty one for a workflow that no worker has registered."""
    return _decoder.decode(text) if text is not None else Entry()


def catalog_of(registry: Registry) -> dict[str, str]:
    """By `workflow@version`, each workflow's entry as JSON."""
    steps = {step.operation_name: _note(registry, step) for step in registry.steps.values()}
    found: dict[str, str] = {}
    for workflow in registry.every_workflow:
        ahead = _ahead(registry, workflow)
        deadline = workflow.deadline / SECOND if workflow.deadline is not None else None
        known = Entry(
            steps, ahead, _type_name(workflow.result.kind), workflow.name, place_of(workflow.function), deadline
        )  # fmt: skip
        entry = msgspec.json.encode(known).decode()
        for name in (workflow.name, *workflow.aliases):
            found[f"{name}@{workflow.version}"] = entry
    return found


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
        dict.fromkeys(event_name(registry, *found) for found in publishes(function, own=own))  # each once
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


def _ahead(registry: Registry, workflow: Workflow[Any, Any]) -> list[Ahead] | None:
    items = outline(workflow.function)
    if items is None:
        return None
    return [
        Ahead(item.kind, _name(registry, item), item.line, item.looped, item.branch, item.timeout) for item in items
    ]


def _name(registry: Registry, item: OutlineItem) -> str:
    target = item.target
    if isinstance(target, Step):
        return target.operation_name
    if isinstance(target, Workflow):
        return target.name.rpartition("/")[2]
    if item.kind == "wait" and isinstance(target, tuple):
        return "|".join(event_name(registry, "?", one) for one in cast("tuple[object, ...]", target))
    return event_name(registry, item.expression, target)


def event_name(registry: Registry, expression: str, target: object | None) -> str:
    """The type of an event whose class or name is known, else the source's expression."""
    if isinstance(target, type) and target in registry.events.by_class:
        return registry.events.by_class[target].name
    return target if isinstance(target, str) else expression
