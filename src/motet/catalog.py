"""What a worker's code says of its workflows, kept in the store: so `motet status` can speak of what is still ahead
and of what would be undone without having the code.
"""

from __future__ import annotations

from typing import Any

import msgspec

from motet.orchestration.definitions import Step, Workflow
from motet.orchestration.outline import OutlineItem, outline
from motet.orchestration.registry import Registry


class StepNote(msgspec.Struct, frozen=True, omit_defaults=True):
    """What status needs to know of a step."""

    returns: str | None = None
    attempts: int | None = None
    compensation: str | None = None
    admits_none: bool = False


class Ahead(msgspec.Struct, frozen=True, omit_defaults=True):
    """One durable verb in a workflow's source, in the order of its lines."""

    kind: str
    name: str
    line: int
    looped: bool = False
    branch: bool = False


class Entry(msgspec.Struct, frozen=True):
    """One workflow of one version."""

    steps: dict[str, StepNote] = {}
    ahead: list[Ahead] | None = None
    returns: str | None = None


_decoder = msgspec.json.Decoder(Entry)


def read_entry(text: str | None) -> Entry:
    """The stored entry; an empty one for a workflow that no worker has registered."""
    return _decoder.decode(text) if text is not None else Entry()


def catalog_of(registry: Registry) -> dict[str, str]:
    """By `workflow@version`, each workflow's entry as JSON."""
    steps = {step.operation_name: _note(step) for step in registry.steps.values()}
    found: dict[str, str] = {}
    for workflow in registry.workflows.values():
        ahead = _ahead(registry, workflow)
        entry = msgspec.json.encode(Entry(steps, ahead, _type_name(workflow.result.kind))).decode()
        for name in (workflow.name, *workflow.aliases):
            found[f"{name}@{workflow.version}"] = entry
    return found


def _note(step: Step[Any, Any, Any]) -> StepNote:
    compensation = step.compensated_by
    return StepNote(
        returns=_type_name(step.hints.get("return")),
        attempts=step.retry.attempts,
        compensation=compensation.operation_name if compensation is not None else None,
        admits_none=compensation.admits_none if compensation is not None else False,
    )


def _type_name(kind: object) -> str | None:
    if not isinstance(kind, type) or kind in (type(None), Any):
        return None
    return kind.__name__


def _ahead(registry: Registry, workflow: Workflow[Any, Any]) -> list[Ahead] | None:
    items = outline(workflow.function)
    if items is None:
        return None
    return [Ahead(item.kind, _name(registry, item), item.line, item.looped, item.branch) for item in items]


def _name(registry: Registry, item: OutlineItem) -> str:
    target = item.target
    if isinstance(target, Step):
        return target.operation_name
    if isinstance(target, Workflow):
        return target.name.rpartition("/")[2]
    if isinstance(target, type) and target in registry.events.by_class:
        return registry.events.by_class[target].name
    return target if isinstance(target, str) else item.expression
