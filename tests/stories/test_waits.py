"""Waiting for events: early or late, once each, for a person's approval, through crashes and restarts."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from motet import Event, Flow, testing
from tests.stories.conftest import Shop


@dataclass
class Paid:
    order: str
    amount: int


async def test_an_event_that_comes_later_wakes_a_run_that_has_left_memory(tmp_path: Path) -> None:
    shop = Shop(tmp_path, idle_seconds=0.01)
    shop.event("order.paid", key="order")(Paid)

    @shop.workflow
    async def order(flow: Flow) -> int:
        event = await flow.wait(Paid, key="o1")
        assert isinstance(event, Event)
        return event.data.amount

    async with shop.worker():
        run = await shop.start(order, id="run")
        status = await shop.until_state("run", "waiting")
        assert [(row.kind, row.operation) for row in status.current] == [("wait", "order.paid#1")]
        await shop.publish(Paid("o2", 1))
        await shop.publish(Paid("o1", 7))
        assert await run.result() == 7


async def test_an_event_that_came_before_the_wait_counts_but_not_one_from_before_the_run(shop: Shop) -> None:
    @shop.workflow
    async def order(flow: Flow) -> list[Any]:
        await flow.sleep(10)
        first = await flow.wait("paid", key="k")
        second = await flow.wait("paid", key="k")
        return [first.data, second.data]

    async with testing.virtual(shop) as kit:
        await shop.publish("paid", 0, key="k")
        run = await shop.start(order, id="run")
        await shop.publish("paid", 1, key="k")
        await kit.advance(5)
        await shop.publish("paid", 2, key="k")
        await kit.advance(60)
        assert await run.result() == [1, 2]


async def test_the_first_of_several_and_each_once(shop: Shop) -> None:
    @shop.workflow
    async def order(flow: Flow) -> list[str]:
        seen = [(await flow.wait("paid", "cancelled")).type for _ in range(3)]
        a, b = await asyncio.gather(flow.wait("item"), flow.wait("item"))
        return [*seen, a.data, b.data]

    async with testing.virtual(shop) as kit:
        run = await shop.start(order, id="r")
        for name in ("cancelled", "paid", "cancelled"):
            await shop.publish(name, key="r")
        await shop.publish("item", "x", key="r")
        await kit.idle()
        assert (await run.status()).state in ("running", "waiting")
        await shop.publish("item", "y", key="r")
        result = await run.result()
        assert result[:3] == ["cancelled", "paid", "cancelled"]
        assert sorted(result[3:]) == ["x", "y"]


async def test_a_wait_that_runs_out_of_time_consumes_nothing(shop: Shop) -> None:
    @shop.workflow
    async def order(flow: Flow) -> Any:
        with pytest.raises(TimeoutError, match="no approved has come"):
            await flow.wait("approved", timeout=timedelta(days=90))
        await flow.sleep(timedelta(days=1))
        return (await flow.wait("approved")).data

    async with testing.virtual(shop) as kit:
        run = await shop.start(order, id="r")
        await kit.advance(timedelta(days=90, hours=1))
        await shop.publish("approved", "late", to="r")
        await kit.advance(timedelta(days=2))
        assert await run.result() == "late"


async def test_to_one_run_alone(shop: Shop) -> None:
    heard: list[str] = []

    @shop.on("*")
    async def everybody(event: Event) -> None:
        heard.append(event.type)

    @shop.workflow
    async def purchase(flow: Flow) -> Any:
        return (await flow.wait("approval.given", timeout=3600)).data

    async with testing.virtual(shop) as kit:
        one = await shop.start(purchase, id="purchase-42")
        two = await shop.start(purchase, id="purchase-43")
        await shop.publish("approval.given", {"by": "ann"}, to="purchase-42")
        assert await one.result() == {"by": "ann"}
        await kit.advance(10)
        assert (await two.status()).state in ("running", "waiting")
        assert heard == []


async def test_what_was_consumed_is_kept_through_a_restart(shop: Shop) -> None:
    @shop.workflow
    async def account(flow: Flow, total: int) -> int:
        event = await flow.wait("deposit", "close")
        if event.type == "close":
            return total
        return flow.restart(total + event.data)

    async with testing.virtual(shop) as kit:
        run = await shop.start(account, 0, id="a")
        for amount in (1, 2, 3):
            await shop.publish("deposit", amount, key="a")
        await kit.idle()
        await shop.publish("deposit", 4, key="a")
        await shop.publish("close", key="a")
        assert await run.result() == 10


async def test_a_cancel_ends_a_wait(shop: Shop) -> None:
    undone: list[str] = []

    @shop.step
    async def charge() -> str:
        return "paid"

    @charge.compensation
    async def refund(paid: str | None) -> None:
        undone.append("refund")

    @shop.workflow
    async def order(flow: Flow) -> None:
        await flow.step(charge)
        await flow.wait("never")

    async with testing.virtual(shop) as kit:
        run = await shop.start(order, id="r")
        await kit.idle()
        await run.cancel()
        with pytest.raises(Exception, match="cancelled"):
            await run.result()
    assert undone == ["refund"]


async def test_it_is_remembered_by_those_who_resume(shop: Shop) -> None:
    """What a run has waited for is in its history: another worker replays it without the event."""

    @shop.workflow
    async def order(flow: Flow) -> list[Any]:
        first = await flow.wait("paid", key="k")
        await flow.sleep(3600)
        second = await flow.wait("paid", key="k")
        return [first.data, first.position, second.data]

    async with testing.virtual(shop) as kit:
        run = await shop.start(order, id="run")
        await shop.publish("paid", 1, key="k")
        await shop.publish("paid", 2, key="k")
        await kit.advance(10)
        await kit.advance(7200)
        assert await run.result() == [1, 1, 2]
