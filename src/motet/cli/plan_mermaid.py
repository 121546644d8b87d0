"""A workflow's plan as a Mermaid flowchart (https://mermaid.js.org): operations, and what may follow what."""

from __future__ import annotations

from collections.abc import Mapping

from motet.cli.layout import clean
from motet.coming import Known, Lit
from motet.model.history import STEPS
from motet.orchestration.plan.next import Option, successors
from motet.orchestration.plan.nodes import Node
from motet.orchestration.plan.ways import END, FAILURE, UNDO

_SHAPES = {
    "step": ("[", "]"), "transaction": ("[(", ")]"),
    "child": ("[[", "]]"), "publish": (">", "]"), "wait": ("{{", "}}"), "sleep": ("(", ")"),
    "pivot": ("[/", "/]"), "restart": ("([", "])"), "unknown": ("[", "]"),
}  # fmt: skip
_COLOURS = {
    "done": "fill:#d3f9d8,stroke:#2b8a3e", "running": "fill:#d0ebff,stroke:#1864ab",
    "waiting": "fill:#d0ebff,stroke:#1864ab", "retrying": "fill:#fff3bf,stroke:#e67700",
    "failed": "fill:#ffe3e3,stroke:#c92a2a", "undone": "fill:#fff3bf,stroke:#e67700",
    "ahead": "stroke-dasharray:4", "skipped": "fill:#f1f3f5,stroke:#adb5bd,color:#adb5bd",
}  # fmt: skip
_MOST = 60


def mermaid(known: Known, lights: Mapping[int, Lit] | None = None) -> list[str]:
    """The chart's lines."""
    shown = {node.id: node for node in known.by_id.values() if _is_shown(node)}
    lines = ["flowchart TD", "    start((start))", "    done((done))"]
    for node in shown.values():
        before, after = _SHAPES[node.kind]
        lines.append(f'    n{node.id}{before}"{_escaped(_title(node))}"{after}')
    lines += _edges(known, None, "start")
    for node in shown.values():
        lines += _edges(known, node.id, f"n{node.id}")
    if any("--> failed" in line or "-.-> failed" in line for line in lines):
        lines.insert(3, "    failed((failed))")
    lines += [
        f'    n{node.id} -. undone by .-> c{node.id}["{_escaped(node.compensation)}"]'
        for node in shown.values()
        if node.compensation is not None
    ]
    lines += _colours(lights or {}, shown)
    return lines


def _is_shown(node: Node) -> bool:
    return (node.is_operation and node.kind != "timeout") or node.kind == "unknown"


def _title(node: Node) -> str:
    if node.kind == "unknown":
        return f"cannot be known: {node.text}"
    if node.kind in ("sleep", "restart"):
        return f"{node.kind} {node.text}".rstrip()
    title = node.title if node.name or node.choices else f"? {node.text}"
    return title if node.kind in (*STEPS, "pivot") else f"{node.kind} {title}"


def _edges(known: Known, node: int | None, name: str) -> list[str]:
    found: list[str] = []
    for option in _past_limits(known, node):
        if option.error and option.node in (FAILURE, UNDO):
            continue  # which is so of every step
        to = {END: "done", FAILURE: "failed", UNDO: "failed"}.get(option.node, f"n{option.node}")
        label = " / ".join(_shortened(one) for one in option.conditions)
        arrow = "-.->" if option.error else "-->"
        found.append(f'    {name} {arrow}|"{_escaped(label)}"| {to}' if label else f"    {name} {arrow} {to}")
    return found


def _past_limits(known: Known, node: int | None) -> list[Option]:
    """Time limits are no operations to look at: what follows on one follows on what leads to it."""
    found: dict[tuple[int, bool], Option] = {}
    seen: set[int] = set()
    waiting: list[tuple[int | None, Option | None]] = [(node, None)]
    while waiting:
        at, through = waiting.pop()
        for option in successors(known.ways, at):
            one = option
            if through is not None:
                one = Option(option.node, (*through.conditions, *option.conditions), through.error or option.error)
            if one.node >= 0 and known.by_id[one.node].kind == "timeout":
                if one.node not in seen:
                    seen.add(one.node)
                    waiting.append((one.node, one))
            elif (one.node, False) not in found:
                found.setdefault((one.node, one.error), one)
    return list(found.values())


def _colours(lights: Mapping[int, Lit], shown: Mapping[int, Node]) -> list[str]:
    by_state: dict[str, list[int]] = {}
    for node, light in lights.items():
        if node in shown:
            by_state.setdefault(light.state, []).append(node)
    lines = [f"    classDef {state} {_COLOURS[state]}" for state in by_state]
    return lines + [f"    class {','.join(f'n{node}' for node in nodes)} {state}" for state, nodes in by_state.items()]


def _shortened(text: str) -> str:
    text = clean(text)
    return text if len(text) <= _MOST else f"{text[: _MOST - 3]}..."


def _escaped(text: str) -> str:
    """Mermaid reads HTML entities in quotes, and nothing else."""
    return clean(text).replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
