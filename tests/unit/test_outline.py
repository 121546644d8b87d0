"""What is ahead of a run, read from its workflow's source."""

from __future__ import annotations

import functools
import linecache
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest

from motet.orchestration.outline import OutlineItem, outline

Load = Callable[[str], ModuleType]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Makes a module of a text, in a file, as a user's module is."""

    def make(text: str) -> ModuleType:
        path = tmp_path / "shop.py"
        path.write_text(dedent(text), encoding="utf-8")
        module = ModuleType("shop")
        module.__file__ = str(path)
        sys.modules["shop"] = module
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), vars(module))
        return module

    yield make
    sys.modules.pop("shop", None)
    linecache.clearcache()


def items(function: Callable[..., Any]) -> list[tuple[str, str]]:
    found = outline(function)
    assert found is not None
    return [(item.kind, item.expression) for item in found]


def flags(function: Callable[..., Any]) -> dict[str, tuple[bool, bool]]:
    found = outline(function)
    assert found is not None
    return {item.expression: (item.looped, item.branch) for item in found}


PURCHASE = '''
    import asyncio
    import sys
    from asyncio import sleep as rest
    from datetime import timedelta

    class PurchaseCompleted: ...

    class Step:
        def options(self, **options): raise AssertionError("never called")

    authorize_payment, create_enrollment, child_workflow = Step(), Step(), Step()
    steps = sys.modules[__name__]

    async def run_purchase(flow, purchase):
        """Not a step: flow.step(authorize_payment)."""
        payment = await flow.step(authorize_payment, purchase)
        enrollment = await flow.step(
            steps.create_enrollment.options(timeout=30).options(retry=None), purchase
        )
        await flow.sleep(timedelta(days=3))
        await asyncio.sleep(60)
        await rest(purchase.delay)
        flow.publish(PurchaseCompleted(purchase.id, payment.id))
        flow.publish("purchase.archived", {"id": purchase.id})
        flow.pivot()
        receipt = await flow.child(child_workflow, purchase)
        flow.note("done")
        flow.restart(purchase)
'''


def test_the_verbs_in_source_order(load: Load) -> None:
    shop = load(PURCHASE)
    found = outline(shop.run_purchase)
    assert found == (
        OutlineItem("step", "authorize_payment", 17, False, False, shop.authorize_payment),
        OutlineItem("step", "steps.create_enrollment", 18, False, False, shop.create_enrollment),
        OutlineItem("sleep", "timedelta(days=3)", 21, False, False, None),
        OutlineItem("sleep", "60", 22, False, False, None),
        OutlineItem("sleep", "purchase.delay", 23, False, False, None),
        OutlineItem("publish", "PurchaseCompleted", 24, False, False, shop.PurchaseCompleted),
        OutlineItem("publish", "purchase.archived", 25, False, False, "purchase.archived"),
        OutlineItem("pivot", "", 26, False, False, None),
        OutlineItem("child", "child_workflow", 27, False, False, shop.child_workflow),
        OutlineItem("restart", "purchase", 29, False, False, None),
    )


def test_loops_and_branches(load: Load) -> None:
    shop = load("""
        async def body(flow, order):
            for item in await flow.step(listed):
                await flow.step(reserve, item)
                if item.rare:
                    await flow.step(insure, item)
            else:
                await flow.step(counted)
            while await flow.step(asked):
                await flow.step(waited)
            try:
                await flow.step(tried)
            except ValueError:
                await flow.step(rescued)
            finally:
                await flow.step(ended)
            match await flow.step(looked):
                case 1:
                    await flow.step(matched)
            await (flow.step(yes) if order.rush else flow.step(no))
            order.paid or await flow.step(charged)
            [flow.step(each, item) for item in order.items]
            {item: flow.step(some, item) for item in order.items if item.wanted}
            async with flow.scope():
                await flow.step(scoped)
            async for item in order.stream():
                await flow.step(streamed)
    """)
    assert flags(shop.body) == {
        "listed": (False, False),
        "reserve": (True, False),
        "insure": (True, True),
        "counted": (False, True),
        "asked": (True, False),
        "waited": (True, False),
        "tried": (False, False),
        "rescued": (False, True),
        "ended": (False, False),
        "looked": (False, False),
        "matched": (False, True),
        "yes": (False, True),
        "no": (False, True),
        "charged": (False, True),
        "each": (True, False),
        "some": (True, True),
        "scoped": (False, False),
        "streamed": (True, False),
    }


def test_another_name_for_the_flow_and_its_verbs(load: Load) -> None:
    shop = load("""
        def a(): ...
        def b(): ...
        def c(): ...

        async def body(f, item):
            step = f.step
            g = f
            flow = item
            event = a(item)
            chosen = c
            await step(a)
            await g.step(b)
            await f.step(chosen)
            await flow.step(not_a_step)
            f.publish(event)

            async def one(f, part):
                await f.step(b, part)

            later = lambda: f.step(c)
    """)
    found = outline(shop.body)
    assert found is not None
    assert [(item.kind, item.expression, item.branch) for item in found] == [
        ("step", "a", False),
        ("step", "b", False),
        ("step", "chosen", False),
        ("publish", "a", False),
        ("step", "b", True),
        ("step", "c", True),
    ]
    assert [item.target for item in found] == [shop.a, shop.b, shop.c, shop.a, shop.b, shop.c]


def test_targets_that_cannot_be_told_without_running_code(load: Load) -> None:
    shop = load("""
        class Steps:
            @property
            def charge(self): raise AssertionError("never called")
            def __getattr__(self, name): raise AssertionError("never called")

        def __getattr__(name): raise AssertionError("never called")

        import shop as me
        steps = Steps()
        table = {}

        async def body(flow, local):
            await flow.step(steps.charge)
            await flow.step(steps.missing)
            await flow.step(me.lazy)
            await flow.step(table["x"])
            await flow.step(local)
            await flow.step(unknown)
            await flow.step()
    """)
    found = outline(shop.body)
    assert found is not None
    assert [item.expression for item in found] == [
        "steps.charge", "steps.missing", "me.lazy", "table['x']", "local", "unknown", "",
    ]  # fmt: skip
    assert {item.target for item in found} == {None}


def test_closures_methods_decorators_and_indentation(load: Load) -> None:
    shop = load('''
        import functools

        def make(charge):
            @functools.cache
            def unrelated(): ...

            class Flows:
                async def body(self, flow):
                    """
            A string that is not indented.
                    """
                    await flow.step(charge)

            def logged(function):
                @functools.wraps(function)
                def wrapper(*args): ...
                return wrapper

            @logged
            async def wrapped(flow):
                await flow.step(charge)

            return Flows().body, wrapped

        def pay(): ...
        method, wrapped = make(pay)
    ''')
    for function, line in ((shop.method, 13), (shop.wrapped, 22)):
        found = outline(function)
        assert found is not None
        assert [(item.target, item.line) for item in found] == [(shop.pay, line)]


def test_what_has_no_source() -> None:
    made: dict[str, Any] = {}
    exec("async def body(flow): await flow.step(body)", made)
    assert outline(made["body"]) is None
    assert outline(len) is None
    assert outline(functools.partial(made["body"])) is None


def test_a_file_that_changed_since_it_was_loaded(load: Load) -> None:
    shop = load("""
        async def body(flow):
            await flow.step(body)
    """)
    Path(shop.__file__ or "").write_text("\n\nasync def other(flow):\n    await flow.step(other)\n", encoding="utf-8")
    assert outline(shop.body) is None


def test_a_function_that_does_nothing(load: Load) -> None:
    shop = load("""
        async def body(): ...
        async def empty(flow): ...
    """)
    assert items(shop.body) == []
    assert items(shop.empty) == []


def test_how_long_a_wait_is(load: Load) -> None:
    shop = load("""
        from datetime import timedelta
        import datetime as times

        PATIENCE = timedelta(days=2)

        async def approve(flow, order):
            await flow.wait("a", timeout=PATIENCE)
            await flow.wait("b", timeout=times.timedelta(hours=1, minutes=30))
            await flow.wait("c", "d", timeout=2.5)
            await flow.wait("e", timeout=order.patience)
            await flow.wait("f", timeout=timedelta(days=order.days))
            await flow.wait("g")
            await flow.wait("h", timeout=None)
    """)
    found = outline(shop.approve)
    assert found is not None
    assert [(item.expression, item.timeout) for item in found] == [
        ("a", 172_800.0), ("b", 5_400.0), ("c|d", 2.5), ("e", "order.patience"), ("f", "timedelta(days=order.days)"),
        ("g", None), ("h", None),
    ]  # fmt: skip
