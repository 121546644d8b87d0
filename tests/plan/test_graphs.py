"""The plan of each fixture workflow: its tree, and what may follow on each operation.

The expected ones are in `expected/`, one file each, made by `REWRITE_GOLDEN=1` and read by a person.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from motet.orchestration.definitions import Workflow
from motet.orchestration.plan.next import Option, successors
from motet.orchestration.plan.nodes import Node
from motet.orchestration.plan.ways import END, FAILURE, UNDO
from tests.plan.drill import Drawn, drawn
from tests.plan.fixtures import called, straight, together
from tests.plan.fixtures.crew import app

EXPECTED = Path(__file__).parent / "expected"
FIXTURES = (straight, together, called)
NAMES = sorted(name.partition("/")[2] for name in app.registry.workflows)


def graph(workflow: Workflow[Any, Any]) -> str:
    """The tree, each node with its number; behind operations, what may follow: in brackets under which condition."""
    plan = drawn(workflow)
    lines = [f"begins with {_after(plan, None)}", *_lines(plan, plan.nodes, 0)]
    return "\n".join(lines) + "\n"


def _lines(plan: Drawn, nodes: list[Node], depth: int) -> list[str]:
    lines: list[str] = []
    for node in nodes:
        flags = [
            word
            for word in ("open", "many", "background", "collects", "again", "admits_none")
            if getattr(node, word) and node.kind != "handler"
        ]
        said = [*flags, *(f"answers {error[0]}" for error in node.errors if node.is_operation)]
        said += [f"undone by {node.compensation}"] if node.compensation else []
        said += [f"{node.attempts} attempts"] if node.attempts is not None else []
        said += [f"timeout {node.timeout}"] if node.timeout is not None else []
        text = f"{node.kind} {node.title if node.is_operation else node.text}".rstrip()
        lines.append(f"{'    ' * depth}{node.id} {text}" + (f" ({', '.join(said)})" if said else ""))
        if node.is_operation or node.kind == "unknown":
            lines.append(f"{'    ' * depth}    -> {_after(plan, node.id)}")
        lines += _lines(plan, node.body, depth + 1)
    return lines


def _after(plan: Drawn, node: int | None) -> str:
    return ", ".join(_shown(plan, option) for option in successors(plan.ways, node))


def _shown(plan: Drawn, option: Option) -> str:
    words = {END: "end", FAILURE: "failure", UNDO: "undo"}
    name = words[option.node] if option.node < 0 else f"{option.node} {plan.by_id[option.node].title}"
    condition = f" [{'; '.join(option.conditions)}]" if option.conditions else ""
    return f"{'! ' if option.error else ''}{name}{condition}"


@pytest.mark.parametrize("name", NAMES)
def test_the_plan_is_as_expected(name: str) -> None:
    seen = graph(app.registry.workflows[f"plan/{name}"])
    file = EXPECTED / f"{name}.txt"
    if os.environ.get("REWRITE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(seen, encoding="utf-8")
    assert seen == file.read_text(encoding="utf-8")


def test_there_is_a_graph_for_each_workflow_and_no_other() -> None:
    assert {file.stem for file in EXPECTED.iterdir()} == set(NAMES)
    assert len(NAMES) >= 25
