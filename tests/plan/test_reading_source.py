"""What is read from a workflow's source: names, lines, policies; and what cannot be read."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from motet.model.event_types import EventTypes
from motet.orchestration.plan.nodes import Node, walk
from motet.orchestration.plan.reader import read_plan

Load = Callable[[str], ModuleType]

STEPS = """
from motet import App, Flow, Retry
import asyncio, datetime as times
from datetime import timedelta
app = App("shop")

@app.step(retry=Retry(attempts=3), timeout=5)
async def a() -> None: ...

@app.step
async def b() -> None: ...
"""


def plan(function: Callable[..., Any]) -> list[Node]:
    nodes = read_plan(function, EventTypes())
    assert nodes is not None
    return nodes


def operations(function: Callable[..., Any]) -> list[tuple[str, str]]:
    return [(node.kind, node.title) for node in walk(plan(function)) if node.is_operation or node.kind == "unknown"]


def test_another_name_for_the_flow_and_its_verbs(load: Load) -> None:
    shop = load(
        STEPS
        + """
async def body(f, item):
    step = f.step
    g = f
    chosen = b
    await step(a)
    await g.step(b)
    await f.step(chosen)
    await item.step(a)
    await f.step(a.options(timeout=30).options(retry=None))
    f.note("x"); f.now(); f.random(); f.uuid(); f.changed("y")
"""
    )
    assert operations(shop.body) == [("step", "a"), ("step", "b"), ("step", "b"), ("step", "a")]
    first, *_, last = plan(shop.body)
    assert (first.attempts, first.timeout) == (3, 5.0) and (last.attempts, last.timeout) == (None, 30.0)


def test_nothing_is_called_to_find_out(load: Load) -> None:
    shop = load(
        STEPS
        + """
import shop as me

class Steps:
    @property
    def charge(self): raise AssertionError("never called")
    def __getattr__(self, name): raise AssertionError("never called")

def __getattr__(name): raise AssertionError("never called")

steps, table = Steps(), {}

async def body(flow, local):
    await flow.step(steps.charge)
    await flow.step(me.lazy)
    await flow.step(table["x"])
    await flow.step(local)
    await flow.step()
    await getattr(flow, local)(a)
    flow.new_verb(a)
"""
    )
    assert [one for _, one in operations(shop.body)] == [
        "steps.charge", "me.lazy", "table['x']", "local", "", "getattr(flow, local)", "flow.new_verb(a)",
    ]  # fmt: skip
    assert {node.name for node in walk(plan(shop.body))} == {None}


def test_closures_methods_and_decorators(load: Load) -> None:
    shop = load(
        STEPS
        + '''
def make(charge):
    class Flows:
        step = charge
        async def body(self, flow):
            """
    A string that is not indented.
            """
            await flow.step(charge)
            await flow.step(self.step)
            await self.more(flow)
        async def more(self, flow):
            await flow.sleep(5)

    def logged(function):
        import functools
        @functools.wraps(function)
        def wrapper(*args): ...
        return wrapper

    @logged
    async def wrapped(flow):
        await flow.step(charge)

    return Flows().body, wrapped

method, wrapped = make(a)
'''
    )
    assert operations(shop.method) == [("step", "a"), ("step", "a"), ("sleep", "sleep")]
    (node,) = plan(shop.wrapped)
    lines = Path(shop.__file__ or "").read_text(encoding="utf-8").splitlines()
    wrapped = next(number for number, line in enumerate(lines, 1) if "def wrapped" in line)
    assert (node.name, node.line) == ("a", wrapped + 1)


def test_how_long_a_wait_is(load: Load) -> None:
    shop = load(
        STEPS
        + """
PATIENCE = timedelta(days=2)

async def approve(flow, order):
    await flow.wait("a", timeout=PATIENCE)
    await flow.wait("b", timeout=times.timedelta(hours=1, minutes=30))
    await flow.wait("c", "d", timeout=2.5)
    await flow.wait("e", timeout=order.patience)
    await flow.wait("f", timeout=timedelta(days=order.days))
    await flow.wait("g")
    await flow.wait(order.event, timeout=None)
    await asyncio.sleep(0)
"""
    )
    waits = [node for node in plan(shop.approve) if node.kind == "wait"]
    assert [(node.title, node.timeout) for node in waits] == [
        ("a", 172_800.0), ("b", 5_400.0), ("c|d", 2.5), ("e", "order.patience"), ("f", "timedelta(days=order.days)"),
        ("g", None), ("order.event", None),
    ]  # fmt: skip
    assert waits[-1].name is None and waits[0].name == "a"
    assert len([node for node in plan(shop.approve) if node.kind == "timeout"]) == 5


def test_other_packages_are_not_followed_and_said_to_be_unknown(load: Load) -> None:
    shop = load(
        STEPS
        + """
import json

async def body(flow, order):
    json.dumps(flow)
    await order.run(flow)
    print(order)
"""
    )
    assert operations(shop.body) == [("unknown", "json.dumps(flow)"), ("unknown", "order.run(flow)")]


def test_what_has_no_source(load: Load) -> None:
    made: dict[str, Any] = {}
    exec("async def body(flow): await flow.step(body)", made)
    for function in (made["body"], len, functools.partial(made["body"])):
        assert read_plan(function, EventTypes()) is None
    shop = load("async def body(flow):\n    await flow.step(body)\n")
    Path(shop.__file__ or "").write_text("\n\nasync def other(flow):\n    await flow.step(other)\n", encoding="utf-8")
    assert read_plan(shop.body, EventTypes()) is None


def test_a_function_that_does_nothing(load: Load) -> None:
    shop = load("async def body(): ...\nasync def empty(flow): ...\n")
    assert plan(shop.body) == plan(shop.empty) == []
