"""`motet plan`: of code, of a run, as a tree, as a chart, as data."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.text import Text

from motet.cli import exits
from motet.cli.branches import LINES
from motet.cli.opening import load_app
from motet.cli.plan_tree import tree
from motet.coming import Lit
from motet.orchestration.plan.nodes import Node, walk
from tests.cli.commanding import Command
from tests.plan.drill import drawn
from tests.plan.fixtures import called, straight, together
from tests.plan.fixtures.crew import app as fixtures

PAGE = Path(__file__).parents[2] / "docs" / "plan.md"
FIXTURES = (straight, together, called)
NAMES = tuple(fixtures.registry.workflows)


@pytest.fixture
def page(folder: Path) -> Iterator[Path]:
    """The program of the page in the docs, as the module `shop`."""
    block = re.search(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert block is not None
    (folder / "shop.py").write_text(block[1], encoding="utf-8")
    yield folder
    sys.modules.pop("shop", None)


def shown_in_the_docs(command: str) -> str:
    block = re.search(rf"^```\n\$ {re.escape(command)}\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert block is not None
    return block[1]


def test_the_plan_in_the_docs(page: Path, motet: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    assert motet("plan", "shop:buy").stdout == shown_in_the_docs("motet plan shop:buy")
    assert motet("plan", "shop:shop").stdout == motet("plan", "shop").stdout == motet("plan", "shop:buy").stdout


def test_a_run_lights_its_plan(page: Path, motet: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    load_app("shop", None)
    import asyncio

    asyncio.run(sys.modules["shop"].main())
    stored = motet("plan", "--run", "order-42")
    lines = stored.stdout.splitlines()
    assert lines[0].startswith("buy v1   run order-42")
    assert signs(lines) == {
        "charge": "ok", "wait order.approved or order.refused": ">>", "pivot: from here only forward": "..",
        "pack": "..", "publish parcel.packed": "..", "ship": "..",
    }  # fmt: skip
    assert motet("plan", "shop:buy", "--run", "order-42").stdout == stored.stdout
    lit = motet("plan", "--run", "order-42", "--json").json["plans"][0]
    assert lit["run"] == "order-42" and lit["elsewhere"] == []
    assert lit["lights"]["0"] == {"state": "done", "operations": ["charge#1"]}
    motet("cancel", "order-42")
    assert "class n0 done" in motet("plan", "--run", "order-42", "--mermaid").stdout


def signs(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        match = re.match(r"  (ok|>>|\.\.|!!|<<|--)  [ │├└─]*(.*?)(   .*)?$", line)
        if match is not None:
            found[match[2]] = match[1]
    return found


def test_a_chart(page: Path, motet: Command) -> None:
    lines = motet("plan", "shop:buy", "--mermaid").stdout.splitlines()
    assert lines[0] == "flowchart TD"
    assert '    n0["charge"]' in lines and "    start --> n0" in lines
    assert any(line.strip().startswith("n3 -->|") and "answer.type" in line for line in lines)
    named = {match[1] for line in lines for match in [re.match(r"    (n\d+)[^ ]", line)] if match}
    for line in lines:  # what an edge leads to is there
        if match := re.match(r"    (\w+) (-->|-\.->)(\|.*\|)? (\w+)$", line):
            assert {match[1], match[4]} <= named | {"start", "done", "failed"}, line


def test_what_is_asked_wrongly(page: Path, motet: Command) -> None:
    asked = motet("plan")
    assert asked.code == exits.USAGE and "motet plan MODULE:WORKFLOW" in asked.stderr
    assert "no workflow is named 'sell' here" in motet("plan", "shop:sell").stderr
    assert motet("plan", "--run", "nobody").code == exits.NOT_FOUND


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [40, 60, 100])
def test_every_width_holds_and_the_bars_go_on(name: str, width: int) -> None:
    nodes = drawn(fixtures.registry.workflows[name]).nodes
    lights = {node.id: Lit("done", [f"x#{n}" for n in range(3)]) for node in walk(nodes) if node.is_operation}
    for lit in (None, lights):
        lines = tree(nodes, width, LINES, lambda place: place, lit)
        deep = max(depth(node) for node in nodes) * 4 + (6 if lit else 0)
        assert [line.plain for line in lines if len(line.plain) > max(width, deep + 24)] == []
        assert all(isinstance(line, Text) and line.plain == line.plain.rstrip() for line in lines)


def depth(node: Node) -> int:
    return 1 + max((depth(one) for one in node.body), default=0)
