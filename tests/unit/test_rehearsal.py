"""Histories against code that has changed: each kind of change is told in words, and a mere refactoring is none.

Each test records a history with the old code and rehearses it with the new one, in another app of the same name.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from motet import App, Event, Flow, Retry, Workflow
from motet.errors import BadValue
from motet.model.event import LoggedEvent
from motet.model.history import Fact
from motet.model.run import Run
from motet.rehearsal.differences import Difference, Rehearsal
from motet.rehearsal.exported import read, write
from motet.rehearsal.rehearsing import rehearse
from tests.unit.rig import START, Rig

Declare = Callable[[App], Workflow[Any, Any]]


@dataclass
class Order:
    id: str
    cents: int = 500


@dataclass
class Payment:
    id: str


class Declined(Exception):
    pass


class Shop:
    """The steps as they were; a new deployment overrides what it changes."""

    def __init__(self, app: App) -> None:
        @app.step(raises=[Declined], retry=Retry(attempts=2, first=0))
        async def charge(order: Order) -> Payment: ...  # type: ignore[empty-body]

        @app.step
        async def enroll(order: Order) -> int: ...  # type: ignore[empty-body]

        @app.step
        async def greet(order: Order) -> None: ...

        self.charge, self.enroll, self.greet = charge, enroll, greet


def before(app: App) -> Workflow[Any, Any]:
    """The code that has recorded."""
    shop = Shop(app)

    @app.workflow
    async def buy(flow: Flow, order: Order) -> int:
        await flow.step(shop.charge, order)
        seat = await flow.step(shop.enroll, order)
        flow.publish("bought", {"id": order.id})
        await flow.step(shop.greet, order)
        return seat

    return buy


def recorded(declare: Declare = before) -> Rig:
    """A run that has charged and enrolled; it is at work greeting."""
    app = App("shop")
    rig = Rig(app, declare(app), Order("o1"), id="order-1").start()
    rig.complete("charge#1", Payment("p1"))
    rig.complete("enroll#1", 7)
    return rig


def run_of(rig: Rig, **changes: Any) -> Run:
    flying = [
        {"operation": op.op, "kind": op.kind, "name": op.name} for op in rig.machine.operations.values() if op.in_flight
    ]
    run = Run(
        uid="uid", id="order-1", workflow="shop/buy", version=1, state="running", generation=1, epoch=1, owner=1,
        input=rig.input, result=None, error=None, current=json.dumps(flying) if flying else None, note=None,
        attributes=None, conversation="order-1", cause=None, parent=None, created_at=START, started_at=START,
        ended_at=None, deadline_at=None, wake_at=None, crashes=0, parked=None, python="3.11", fingerprint="old",
    )  # fmt: skip
    return run._replace(**changes)


def rehearsed(after: Declare, rig: Rig | None = None, **changes: Any) -> Rehearsal:
    rig = rig or recorded()
    app = App("shop")
    after(app)
    app.registry.prepare()
    return rehearse(run_of(rig, **changes), rig.rows, app.registry)


def the_one(rehearsal: Rehearsal) -> Difference:
    (found,) = rehearsal.differences
    return found


def test_the_same_code_fits_and_tells_what_comes_next() -> None:
    found = rehearsed(before)
    assert (found.fits, found.differences, found.facts) == (True, [], 3)
    assert found.next == ["run step greet#1"]


def test_a_pure_refactoring_fits() -> None:
    def after(app: App) -> Workflow[Any, Any]:
        shop = Shop(app)

        async def pay_and_enroll(flow: Flow, order: Order) -> tuple[Payment, int]:
            payment = await flow.step(shop.charge, order=order)
            return payment, await flow.step(shop.enroll, order)

        @app.workflow(name="buy")
        async def purchase(flow: Flow, wanted: Order) -> int:
            """Other names, a helper, and another way to say the same."""
            _, seat = await pay_and_enroll(flow, wanted)
            for say in (lambda: flow.publish("bought", {"id": wanted.id}),):
                say()
            greeting = flow.step(shop.greet, wanted)
            await greeting
            return seat

        return purchase

    assert rehearsed(after).differences == []


def test_a_removed_step_is_found() -> None:
    def after(app: App) -> Workflow[Any, Any]:
        shop = Shop(app)

        @app.workflow
        async def buy(flow: Flow, order: Order) -> int:
            await flow.step(shop.charge, order)
            flow.publish("bought", {"id": order.id})
            await flow.step(shop.greet, order)
            return 0

        return buy

    found = the_one(rehearsed(after))
    assert (found.kind, found.position, found.operation, found.fatal) == ("divergence", 2, "enroll#1", True)
    assert found.recorded == "position 2 is about step enroll#1 (completed)"
    assert found.code == "the code makes publish bought#1 before that"
    assert found.site is not None


def test_a_removed_step_that_is_in_flight_is_found() -> None:
    def after(app: App) -> Workflow[Any, Any]:
        shop = Shop(app)

        @app.workflow
        async def buy(flow: Flow, order: Order) -> int:
            await flow.step(shop.charge, order)
            await flow.step(shop.enroll, order)
            flow.publish("bought", {"id": order.id})
            return 0

        return buy

    lost, ends = rehearsed(after).differences
    assert (lost.kind, lost.operation, lost.fatal) == ("at-work", "greet#1", True)
    assert "never undone" in lost.code
    assert (ends.kind, ends.recorded, ends.code) == ("ends", "the run is running", "the code ends here as completed")


def test_reordered_steps_are_found() -> None:
    def after(app: App) -> Workflow[Any, Any]:
        shop = Shop(app)

        @app.workflow
        async def buy(flow: Flow, order: Order) -> int:
            seat = await flow.step(shop.enroll, order)
            await flow.step(shop.charge, order)
            flow.publish("bought", {"id": order.id})
            await flow.step(shop.greet, order)
            return seat

        return buy

    found = the_one(rehearsed(after))
    assert (found.position, found.operation) == (1, "charge#1")
    assert found.code == "the code at this point waits for step enroll#1"


def test_a_renamed_step_is_found_and_one_with_an_alias_fits() -> None:
    def renamed(*aliases: str) -> Declare:
        def after(app: App) -> Workflow[Any, Any]:
            shop = Shop(app)

            @app.step(aliases=aliases, name="enroll_student")
            async def enroll_student(order: Order) -> int: ...  # type: ignore[empty-body]

            @app.workflow
            async def buy(flow: Flow, order: Order) -> int:
                await flow.step(shop.charge, order)
                seat = await flow.step(enroll_student, order)
                flow.publish("bought", {"id": order.id})
                await flow.step(shop.greet, order)
                return seat

            del shop.enroll
            return buy

        return after

    found = the_one(rehearsed(renamed()))
    assert (found.kind, found.operation) == ("divergence", "enroll#1")
    assert found.code == "the code at this point waits for step enroll_student#1"


def test_an_added_step_is_found_where_the_history_has_passed() -> None:
    def after(app: App) -> Workflow[Any, Any]:
        shop = Shop(app)

        @app.step
        async def check_fraud(order: Order) -> None: ...

        @app.workflow
        async def buy(flow: Flow, order: Order) -> int:
            await flow.step(shop.charge, order)
            await flow.step(check_fraud, order)
            seat = await flow.step(shop.enroll, order)
            flow.publish("bought", {"id": order.id})
            await flow.step(shop.greet, order)
            return seat

        return buy

    found = the_one(rehearsed(after))
    assert (found.position, found.operation) == (2, "enroll#1")
    assert found.code == "the code at this point waits for step check_fraud#1"


def test_an_added_step_that_is_still_ahead_fits() -> None:
    def after(app: App) -> Workflow[Any, Any]:
        shop = Shop(app)

        @app.workflow
        async def buy(flow: Flow, order: Order) -> int:
            await flow.step(shop.charge, order)
            seat = await flow.step(shop.enroll, order)
            flow.publish("bought", {"id": order.id})
            await flow.step(shop.greet, order)
            await flow.step(shop.greet, order)
            return seat

        return buy

    assert rehearsed(after).fits


def test_an_added_publish_is_found_where_the_history_has_passed() -> None:
    def after(app: App) -> Workflow[Any, Any]:
        shop = Shop(app)

        @app.workflow
        async def buy(flow: Flow, order: Order) -> int:
            await flow.step(shop.charge, order)
            flow.publish("charged", {"id": order.id})
            seat = await flow.step(shop.enroll, order)
            flow.publish("bought", {"id": order.id})
            await flow.step(shop.greet, order)
            return seat

        return buy

    found = the_one(rehearsed(after))
    assert (found.operation, found.code) == ("enroll#1", "the code makes publish charged#1 before that")


def retyped(**kinds: Any) -> Declare:
    """The same workflow; some types are others."""

    def after(app: App) -> Workflow[Any, Any]:
        paid, seated, asked = kinds.get("paid", Payment), kinds.get("seated", int), kinds.get("asked", Order)

        @app.step(raises=kinds.get("raises", [Declined]), retry=Retry(attempts=2, first=0))
        async def charge(order: asked) -> paid: ...  # type: ignore[valid-type]

        @app.step
        async def enroll(order: asked) -> seated: ...  # type: ignore[valid-type]

        @app.step
        async def greet(order: asked) -> None: ...  # type: ignore[valid-type]

        @app.workflow
        async def buy(flow: Flow, order: asked) -> int:  # type: ignore[valid-type]
            await flow.step(charge, order)
            seat = await flow.step(enroll, order)
            flow.publish("bought", {"id": order.id})  # type: ignore[attr-defined]
            await flow.step(greet, order)
            return seat  # type: ignore[no-any-return]

        for function in (charge.function, enroll.function, greet.function, buy.function):
            function.__annotations__ = {
                name: {"asked": asked, "paid": paid, "seated": seated, "None": None, "int": int, "Flow": Flow}[kind]
                for name, kind in function.__annotations__.items()
            }
        return buy

    return after


@dataclass
class Receipt:
    number: int


@dataclass
class Parcel:
    id: str
    weight: float


def test_a_retyped_result_is_found() -> None:
    found = the_one(rehearsed(retyped(paid=Receipt)))
    assert (found.kind, found.position, found.operation, found.fatal) == ("type", 1, "charge#1", True)
    assert "missing required field `number`" in found.code


def test_all_retyped_results_are_found_and_not_only_the_first() -> None:
    found = rehearsed(retyped(paid=Receipt, seated=str)).differences
    assert [(one.kind, one.operation) for one in found] == [("type", "charge#1"), ("type", "enroll#1")]


def test_a_retyped_input_is_found() -> None:
    found = rehearsed(retyped(asked=Parcel)).differences
    assert [(one.kind, one.position) for one in found] == [("type", None)]
    assert "weight" in found[0].code
    assert '"o1"' in found[0].recorded


def test_a_declared_error_that_is_declared_no_more_is_found() -> None:
    app = App("shop")
    rig = Rig(app, before(app), Order("o1"), id="order-1").start()
    rig.fail("charge#1", Declined("no money"))
    found = rehearsed(retyped(raises=[]), rig).differences
    answer = next(one for one in found if one.kind == "type")
    assert (answer.operation, answer.position) == ("charge#1", 1)
    assert "declares it no more" in answer.code


def waits_for(kind: type) -> Declare:
    def declare(app: App) -> Workflow[Any, Any]:
        app.event("came")(kind)
        shop = Shop(app)

        @app.workflow
        async def buy(flow: Flow, order: Order) -> None:
            event: Event[Any] = await flow.wait(kind)
            await flow.step(shop.greet, Order(event.data.id))

        return buy

    return declare


def test_a_retyped_event_is_found() -> None:
    app = App("shop")
    rig = Rig(app, waits_for(Payment)(app), Order("o1"), id="order-1").start()
    row = LoggedEvent(5, "e1", "shop", "came", "order-1", START, START, "order-1", None, '{"id":"p"}')
    rig.tell(Fact("came#1", "wait", "completed", START, json.dumps(row), digest=rig.op("came#1").digest))
    assert rehearsed(waits_for(Payment), rig).differences == []
    found = the_one(rehearsed(waits_for(Receipt), rig))
    assert (found.kind, found.operation) == ("type", "came#1")


def test_other_arguments_are_told_and_are_no_error() -> None:
    def after(app: App) -> Workflow[Any, Any]:
        shop = Shop(app)

        @app.workflow
        async def buy(flow: Flow, order: Order) -> int:
            await flow.step(shop.charge, Order(order.id, 999))
            seat = await flow.step(shop.enroll, order)
            flow.publish("bought", {"id": order.id})
            await flow.step(shop.greet, order)
            return seat

        return buy

    rehearsal = rehearsed(after)
    found = the_one(rehearsal)
    assert rehearsal.fits
    assert (found.kind, found.operation, found.fatal) == ("arguments", "charge#1", False)
    assert '"cents":999' in found.code


def test_a_body_that_breaks_is_told_with_its_error() -> None:
    def after(app: App) -> Workflow[Any, Any]:
        shop = Shop(app)

        @app.workflow
        async def buy(flow: Flow, order: Order) -> int:
            await flow.step(shop.charge, order)
            raise ZeroDivisionError("oh")

        return buy

    found, *_ = rehearsed(after).differences
    assert "for its body raised ZeroDivisionError: oh" in found.code


def test_a_version_that_is_not_there_is_told() -> None:
    def after(app: App) -> Workflow[Any, Any]:
        @app.workflow(version=2)
        async def buy(flow: Flow, order: Order) -> int:
            return 0

        return buy

    found = the_one(rehearsed(after))
    assert (found.kind, found.fatal) == ("version", True)
    assert "no version 1 here; there is: v2" in found.code


def test_a_branch_behind_changed_fits() -> None:
    def after(app: App) -> Workflow[Any, Any]:
        shop = Shop(app)

        @app.step
        async def check_fraud(order: Order) -> None: ...

        @app.workflow
        async def buy(flow: Flow, order: Order) -> int:
            await flow.step(shop.charge, order)
            if flow.changed("fraud-check"):
                await flow.step(check_fraud, order)
            seat = await flow.step(shop.enroll, order)
            flow.publish("bought", {"id": order.id})
            await flow.step(shop.greet, order)
            return seat

        return buy

    assert rehearsed(after).differences == []


def test_an_exported_run_is_the_same_run() -> None:
    rig = recorded()
    run = run_of(rig, attributes='{"a":1}', consumed='{"t":{"k":[1]}}', note="half")
    exported = read(write(run, {1: rig.rows}, '{"steps":{}}', START), "file")
    assert exported.run._replace(current=None) == run._replace(current=None)
    assert json.loads(exported.run.current or "") == json.loads(run.current or "")
    assert exported.history == rig.rows


@pytest.mark.parametrize("data", [b"", b"[]", b'{"motet_export": 1}', b'{"motet_export": 99}', b'{"a": 1}'])
def test_what_is_no_export_is_refused(data: bytes) -> None:
    with pytest.raises(BadValue, match="file (is no exported run|has format 99)"):
        read(data, "file")
