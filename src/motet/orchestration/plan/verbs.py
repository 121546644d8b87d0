"""Which call is which verb of the flow or of asyncio, and what an operation is about."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal, cast

from motet.model.event_types import EventTypes
from motet.orchestration.definitions import Step, Workflow
from motet.orchestration.plan.names import Names
from motet.orchestration.plan.nodes import Node, lineage
from motet.orchestration.sites import WAY, site
from motet.orchestration.source import BodyReader, Found

Verb = Literal["step", "transaction", "publish", "wait", "child", "sleep", "pivot", "restart", "scope"]
VERBS: frozenset[str] = frozenset(
    {"step", "transaction", "publish", "wait", "child", "sleep", "pivot", "restart", "scope"}
)
HARMLESS: frozenset[str] = frozenset({"now", "random", "uuid", "note", "id", "conversation", "changed"})
"""What else a flow has: nothing that happens. A `changed` is seen as the condition that it is."""

StepKind = Literal["step", "transaction"]

Together = Literal["gather", "wait", "wait_for", "shield", "begin", "timeout", "group", "sleep"]

_TOGETHER: dict[object, Together] = {
    asyncio.gather: "gather",
    asyncio.wait: "wait",
    asyncio.wait_for: "wait_for",
    asyncio.shield: "shield",
    asyncio.create_task: "begin",
    asyncio.ensure_future: "begin",
    asyncio.timeout: "timeout",
    asyncio.timeout_at: "timeout",
    asyncio.TaskGroup: "group",
    asyncio.sleep: "sleep",  # tidy: recognised, not called
}


def verb_of(names: Names, called: ast.expr) -> str | None:
    """The flow's verb that is called there, if it is one; of a flow that has no such verb, its name all the same."""
    called = names.behind(called)
    if isinstance(called, ast.Attribute) and names.is_flow(called.value):
        return called.attr
    return None


def together_of(names: Names, called: ast.expr) -> Together | None:
    """Which of asyncio's ways to do things together it is."""
    called = names.behind(called)
    if isinstance(called, ast.Attribute) and called.attr == "create_task":
        return "begin"  # of asyncio itself, of a task group, of a loop
    found = names.resolve(called).value
    try:
        return _TOGETHER.get(found)
    except TypeError:  # not hashable
        return None


def published(names: BodyReader, argument: ast.expr) -> tuple[str, object | None]:
    """What an event is called where it is published, and its class or name."""
    argument = names.behind(argument)
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return argument.value, argument.value
    if isinstance(argument, ast.Call):
        argument = argument.func
    found = names.resolve(argument)
    return ast.unparse(argument), found.value if found.known else None


def event_name(types: EventTypes, expression: str, target: object | None) -> str:
    """The type of an event whose class or name is known, else the source's expression."""
    if isinstance(target, type) and target in types.by_class:
        return types.by_class[target].name
    return target if isinstance(target, str) else expression


def length_of(names: Names, given: ast.expr | None) -> float | str | None:
    """A duration in seconds where that can be told, else as its source says."""
    if given is None:
        return None
    shown, there = names.behind_all(given)
    length = there.resolve(shown).value
    plain: Any = shown
    try:
        if isinstance(shown, ast.Call) and there.resolve(shown.func).value is timedelta:
            length = timedelta(**{str(word.arg): ast.literal_eval(word.value) for word in shown.keywords})
        elif length is None:
            length = ast.literal_eval(plain)
    except (ValueError, TypeError):
        return ast.unparse(given)
    if isinstance(length, timedelta):
        return length.total_seconds()
    return float(length) if isinstance(length, int | float) else None if length is None else ast.unparse(given)


def keyword(call: ast.Call, name: str, position: int | None = None) -> ast.expr | None:
    """An argument by its name, or by its place."""
    found = next((word.value for word in call.keywords if word.arg == name), None)
    if found is None and position is not None and len(call.args) > position:
        return call.args[position]
    return found


def site_of(function: str, node: ast.expr | ast.stmt, way: str) -> str:
    """Where a run records what is created there."""
    line = node.lineno
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        line = node.func.end_lineno or line  # of a call of a method, CPython names the method's line
    return f"{way}{site(function, line, node.end_col_offset)}"


def inner_way(here: str) -> str:
    """What stands before the sites of what is called there."""
    return here + WAY


# --- the operations ---------------------------------------------------------------------------------------------


def step_node(names: Names, kind: StepKind, argument: ast.expr | None, where: dict[str, Any]) -> Node:
    """A step, with its policy, as it stands here: also with `.options(...)`."""
    if argument is None:
        return Node(0, kind, **where)
    bare, options = without_options(names, argument)
    found = bare.names.resolve(bare.expression)
    text = ast.unparse(argument if not options else bare.expression)
    step = as_step(found.value)
    if step is None:
        chosen = bare.names.choices(bare.expression)
        steps = [one for one in (as_step(each.value) for each in chosen) if one is not None]
        if steps and len(steps) == len(chosen):
            names_of = list(dict.fromkeys(one.operation_name for one in steps))
            errors = [lineage(kind) for kind in dict.fromkeys(kind for one in steps for kind in one.raises)]
            if len(names_of) == 1:
                return _of_step(steps[0], kind, text, where)
            return Node(0, kind, text, choices=names_of, errors=errors, **where)
        return Node(0, kind, text, **where)
    node = _of_step(step, kind, text, where)
    for call, there in options:
        if (timeout := keyword(call, "timeout")) is not None:
            node.timeout = length_of(there, timeout)
        if keyword(call, "retry") is not None:
            node.attempts = None
    return node


def _of_step(step: Step[..., Any, Any], kind: StepKind, text: str, where: dict[str, Any]) -> Node:
    compensation = step.compensated_by
    return Node(
        0, kind, text, name=step.operation_name, attempts=step.retry.attempts,
        timeout=step.timeout if isinstance(step.timeout, float | int) else None,
        compensation=compensation.operation_name if compensation is not None else None,
        admits_none=compensation.admits_none if compensation is not None else False,
        errors=[lineage(kind) for kind in step.raises], **where,
    )  # fmt: skip


def without_options(names: Names, argument: ast.expr) -> tuple[Any, list[tuple[ast.Call, Names]]]:
    """The step itself, and the calls of `options` on it."""
    options: list[tuple[ast.Call, Names]] = []
    seen = names.behind_all(argument)
    bare = seen._replace(expression=argument, names=names)
    while (
        isinstance(seen.expression, ast.Call)
        and isinstance(seen.expression.func, ast.Attribute)
        and seen.expression.func.attr == "options"
    ):
        options.append((seen.expression, seen.names))
        bare = seen._replace(expression=seen.expression.func.value)
        seen = bare.names.behind_all(bare.expression)
    return bare, options


def wait_node(names: Names, types: EventTypes, call: ast.Call, where: dict[str, Any]) -> Node:
    known: list[str] = []
    for argument in call.args:
        expression, target = _published(names, argument)
        known.append(event_name(types, expression, target))
    whole = all(_published(names, argument)[1] is not None for argument in call.args)
    text = "|".join(known)
    return Node(
        0, "wait", text, name=text if whole else None, timeout=length_of(names, keyword(call, "timeout")), **where
    )


def publish_node(names: Names, types: EventTypes, argument: ast.expr | None, where: dict[str, Any]) -> Node:
    if argument is None:
        return Node(0, "publish", **where)
    expression, target = _published(names, argument)
    if target is None:
        several = [published(there, one) for one, there in names.alternatives(argument)]
        named = [event_name(types, "", one) for _, one in several]
        if len(named) > 1 and all(named):
            return Node(0, "publish", expression, choices=list(dict.fromkeys(named)), **where)
    text = event_name(types, expression, target)
    return Node(0, "publish", text, name=text if target is not None else None, **where)


def child_node(names: Names, argument: ast.expr | None, where: dict[str, Any]) -> Node:
    if argument is None:
        return Node(0, "child", **where)
    shown, there = names.behind_all(argument)
    found = there.resolve(shown)
    text = ast.unparse(argument)
    workflow = as_workflow(found.value)
    if workflow is not None:
        errors = [lineage(kind) for kind in workflow.raises]
        return Node(0, "child", text, name=workflow.operation_name, errors=errors, **where)
    chosen = [one.value for one in there.choices(shown)]
    several = [one.operation_name for one in map(as_workflow, chosen) if one is not None]
    return Node(0, "child", text, choices=several if len(several) == len(chosen) else [], **where)


def as_workflow(value: Any) -> Workflow[Any, Any] | None:
    """The value, if it is a workflow."""
    if not isinstance(value, Workflow):
        return None
    found: Any = cast("object", value)
    return found  # type: ignore[no-any-return]


def as_step(value: Any) -> Step[..., Any, Any] | None:
    """The value, if it is a step."""
    if not isinstance(value, Step):
        return None
    found: Any = cast("object", value)
    return found  # type: ignore[no-any-return]


def _published(names: Names, argument: ast.expr) -> tuple[str, object | None]:
    shown, there = names.behind_all(argument)
    return published(there, shown)


def classes_of(names: Names, node: ast.expr | None) -> list[Found]:
    """The classes that an `except` names; empty for one that catches all."""
    if node is None:
        return []
    shown, there = names.behind_all(node)
    parts: Sequence[ast.expr] = shown.elts if isinstance(shown, ast.Tuple) else [shown]
    return [there.resolve(part) for part in parts]
