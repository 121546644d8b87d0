"""What comes next, why a run does not go on, and the ways out: told by the status of real runs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from motet import App, Event, Flow, Retry, RunBlocked, RunStatus, Settings
from motet.client import RunHandle

ONCE = Retry(attempts=1)


@pytest.fixture
def shop(tmp_path: Path) -> App:
    return App("shop", store=f"sqlite:///{tmp_path}/motet.db", settings=Settings(idle_seconds=0.01, poll_seconds=0.05))


async def told(run: RunHandle[None], kind: str) -> RunStatus:
    """The run's status, once it tells that it waits for that."""
    while True:
        status = await run.status()
        if any(one.kind == kind for one in status.waits):
            return status


async def test_a_wait_tells_who_would_have_to_publish_what(shop: App) -> None:
    @shop.step
    async def charge(order: str) -> str:
        return "paid"

    @charge.compensation
    async def refund(payment: str | None) -> None: ...

    @shop.workflow
    async def buy(flow: Flow, order: str) -> None:
        await flow.step(charge, order)
        await flow.wait("parcel.packed", "parcel.lost", timeout=timedelta(days=1))

    @shop.workflow
    async def pack(flow: Flow, order: str) -> None:
        flow.publish("parcel.packed", {}, to=order)

    @shop.on("shelf.emptied")
    async def lose(event: Event) -> None:
        event.publish("parcel.lost", {})

    async with shop.worker():
        run = await shop.start(buy, "o", id="buy-1")
        status = await told(run, "event")
        assert [(one.kind, one.name, one.if_fails) for one in status.next] == [
            ("end", "", False), ("undo", "refund", True),
        ]  # fmt: skip
        wait = next(one for one in status.waits if one.kind == "event")
        assert wait.events == ["parcel.packed", "parcel.lost"] and wait.until is not None
        assert {event: [(one.kind, one.name) for one in known] for event, known in wait.publishers.items()} == {
            "parcel.packed": [("workflow", "shop/pack")],
            "parcel.lost": [("reaction", "shop/lose")],
        }
        await shop.start(pack, "buy-1", id="pack-1")
        await run.result()
        ended = await run.status()
        assert ended.next == [] and ended.waits == [] and ended.ways_out == []
        lit = await shop.plan("buy-1")
        assert {light.state for light in lit.lights.values()} == {"done", "skipped"} and lit.elsewhere == []


async def test_a_blocked_run_has_ways_out_and_says_what_comes_then(shop: App) -> None:
    @shop.step(retry=ONCE)
    async def ship(order: str) -> None:
        raise OSError("no truck")

    @shop.step
    async def thank(order: str) -> None: ...

    @shop.workflow
    async def buy(flow: Flow, order: str) -> None:
        flow.pivot()
        await flow.step(ship, order)  # motet: ok that is what is told here
        await flow.step(thank, order)

    async with shop.worker():
        run = await shop.start(buy, "o", id="buy 1")
        with pytest.raises(RunBlocked):
            await run.result()
        status = await run.status()
        assert [(way.command, way.effect) for way in status.ways_out] == [
            ("motet retry 'buy 1'", "try ship again"),
            ("motet skip 'buy 1' --note \"...\"", "give ship up: the workflow gets StepFailed"),
        ]
        assert [(one.kind, one.name) for one in status.next if not one.if_fails] == [("step", "thank")]
        lit = await shop.plan("buy 1")
        assert [lit.lights[node.id].state for node in lit.plan or ()] == ["done", "failed", "ahead"]


async def test_while_it_is_undone_only_undoing_comes(shop: App) -> None:
    @shop.step(retry=ONCE)
    async def charge(order: str) -> str:
        return order

    @charge.compensation(retry=Retry(attempts=5, first=600, cap=600))
    async def refund(payment: str | None) -> None:
        raise OSError("closed")

    @shop.step(retry=ONCE)
    async def ship(order: str) -> None:
        raise OSError("no truck")

    @shop.workflow
    async def buy(flow: Flow, order: str) -> None:
        await flow.step(charge, "first")
        await flow.step(charge, "second")
        await flow.step(ship, order)
        flow.publish("order.shipped", {})

    async with shop.worker():
        run = await shop.start(buy, "o", id="buy-1")
        status = await told(run, "retry")
        assert [(one.kind, one.name) for one in status.next] == [("undo", "refund")]
        assert status.ahead == []
        lit = await shop.plan("buy-1")
        assert [lit.lights[node.id].state for node in lit.plan or ()] == ["done", "done", "failed", "skipped"]
