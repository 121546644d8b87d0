"""Waiting for events where it is easy to lose one, to take one twice, or to hear of the wrong one."""

import asyncio
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from motet import Event, Flow, testing
from motet.errors import BadValue, RunFailed, WrongType
from tests.stories.conftest import Shop


async def test_an_event_that_two_keys_find_hides_no_earlier_one(shop: Shop) -> None:
    """It is about k and for this run: taken as the run's own, it leaves an earlier one about k where it is."""

    @shop.workflow
    async def order(flow: Flow) -> list[Any]:
        await flow.sleep(10)
        own = await flow.wait("paid")
        about = [await flow.wait("paid", key="k"), await flow.wait("paid", key="k")]
        return [own.data, *(event.data for event in about)]

    async with testing.virtual(shop) as kit:
        run = await shop.start(order, id="r")
        await shop.publish("paid", "earlier", key="k")
        await shop.publish("paid", "own", key="k", to="r")
        await shop.publish("paid", "later", key="k")
        await kit.advance(20)
        assert await run.result() == ["own", "earlier", "later"]


async def test_what_two_keys_find_is_consumed_once_also_after_a_restart(shop: Shop) -> None:
    @shop.workflow
    async def order(flow: Flow, seen: list[Any]) -> list[Any]:
        event = await flow.wait("paid", key="k" if seen else None)
        if len(seen) < 2:
            flow.restart([*seen, event.data])
        return [*seen, event.data]

    async with testing.virtual(shop) as kit:
        run = await shop.start(order, [], id="r")
        for name, to in (("first", None), ("own", "r"), ("last", None)):
            await shop.publish("paid", name, key="k", to=to)
        await kit.idle()
        assert await run.result() == ["own", "first", "last"]


async def test_one_for_another_run_about_the_same_is_not_heard(shop: Shop) -> None:
    @shop.workflow
    async def order(flow: Flow) -> Any:
        return (await flow.wait("paid", key="k")).data

    async with testing.virtual(shop) as kit:
        early = await shop.start(order, id="early")
        await kit.idle()
        await shop.publish("paid", "not yours", key="k", to="somebody")
        late = await shop.start(order, id="late")
        await shop.publish("paid", "for late", key="k", to="late")
        assert await late.result() == "for late"
        await shop.publish("paid", "for all", key="k")
        assert await early.result() == "for all"


async def test_the_loser_of_a_race_leaves_its_event_for_the_next_wait(shop: Shop) -> None:
    @shop.workflow
    async def order(flow: Flow) -> list[Any]:
        waits = [asyncio.ensure_future(flow.wait(name)) for name in ("a", "b")]
        done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for one in pending:
            one.cancel()
        await flow.sleep(1)
        return [*(one.result().data for one in done), (await flow.wait("b")).data, (await flow.wait("b")).data]

    async with testing.virtual(shop) as kit:
        run = await shop.start(order, id="r")
        await kit.idle()
        await shop.publish("a", 1, key="r")
        await shop.publish("b", 2, key="r")
        await shop.publish("b", 3, key="r")
        await kit.advance(5)
        assert await run.result() == [1, 2, 3]


async def test_waits_in_a_group_that_fails_give_back_what_they_have_not_got(shop: Shop) -> None:
    @shop.workflow
    async def order(flow: Flow) -> Any:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(flow.wait("b"))
                group.create_task(refuse(await flow.wait("a")))
        except* ValueError:
            pass
        return (await flow.wait("b")).data

    async def refuse(event: Event[Any]) -> None:
        raise ValueError(event.data)

    async with testing.virtual(shop):
        run = await shop.start(order, id="r")
        await shop.publish("a", 1, key="r")
        await shop.publish("b", 2, key="r")
        assert await run.result() == 2


async def test_an_event_in_time_counts_though_nobody_was_there_to_hear_it_in_time(shop: Shop) -> None:
    """It came on the first day of two; the worker is back on the third."""

    @shop.workflow
    async def order(flow: Flow) -> Any:
        return (await flow.wait("approved", timeout=timedelta(days=2))).data

    async with shop.worker():
        run = await shop.start(order, id="r")
        await shop.until_status("r", lambda status: bool(status.current))
    async with shop.connect():
        shop.clock.ahead = 86_400
        await shop.publish("approved", "in time", key="r")
    shop.clock.ahead = 3 * 86_400
    async with shop.worker():
        assert await shop.result(run.id) == "in time"


@dataclass
class Paid:
    order: str
    amount: int


async def test_data_of_another_shape_blocks_the_run_until_the_code_can_read_it(shop: Shop) -> None:
    """The event is a fact, so it is neither skipped nor lost."""
    shop.event("paid", key="order")(Paid)

    @shop.workflow
    async def order(flow: Flow) -> int:
        return (await flow.wait(Paid)).data.amount

    async with shop.worker():
        await shop.start(order, id="r")
        await shop.publish_cloudevent(
            {"specversion": "1.0", "id": "1", "source": "/old", "type": "paid", "subject": "r", "data": {"sum": 7}}
        )
        status = await shop.until_state("r", "blocked")
        assert "paid" in status.incidents[0].reason, status.incidents


async def test_what_cannot_be_waited_for_is_refused_at_the_call(shop: Shop) -> None:
    said: list[str] = []

    @shop.workflow
    async def order(flow: Flow) -> None:
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
            ((), {}), ((Paid,), {}), ((7,), {}), (("paid.*",), {}), (("a\0",), {}), (("a",), {"key": "\0"}),
        ]  # fmt: skip
        for args, options in calls:
            with pytest.raises((WrongType, BadValue)) as refused:
                flow.wait(*args, **options)
            said.append(str(refused.value))

    async with testing.virtual(shop):
        run = await shop.start(order, id="r")
        await run.result()
    assert [text[:40] for text in said] == [
        "flow.wait takes the events to wait for: ",
        "'Paid' is not a declared event; decorate",
        "7 is not a declared event; decorate the ",
        "flow.wait takes names, not patterns like",
        "an event's name holds a NUL character, w",
        "the key to wait for holds a NUL characte",
    ]


async def test_a_wait_that_nobody_awaits_is_an_error(shop: Shop) -> None:
    @shop.workflow
    async def order(flow: Flow) -> None:
        flow.wait("paid")

    async with testing.virtual(shop):
        run = await shop.start(order, id="r")
        with pytest.raises(RunFailed, match="paid#1"):
            await run.result()


async def test_no_time_at_all_means_not_to_wait(shop: Shop) -> None:
    @shop.workflow
    async def order(flow: Flow) -> Any:
        with pytest.raises(TimeoutError):
            await flow.wait("paid", timeout=0)
        return (await flow.wait("paid", timeout=1)).data

    async with testing.virtual(shop):
        run = await shop.start(order, id="r")
        await shop.publish("paid", 1, key="r")
        assert await run.result() == 1


@pytest.mark.parametrize(
    ("name", "key", "difference"),
    [
        ("paid", "other", "event paid about 'k', when the code waited for something else; now it waits for paid about"),
        ("charged", "k", "about wait paid#1 .completed.; the code at this point waits for wait charged#1"),
    ],
)
async def test_changed_code_that_waits_for_something_else_is_found(
    tmp_path: Path, name: str, key: str, difference: str
) -> None:
    """Also by the first worker that has the right code again, which goes on."""

    def shop_where(name: str, key: str) -> Shop:
        shop = Shop(tmp_path)

        @shop.workflow
        async def order(flow: Flow) -> list[Any]:
            first = await flow.wait(name, key=key)
            return [first.data, (await flow.wait("shipped", key=key)).data]

        return shop

    right, wrong = shop_where("paid", "k"), shop_where(name, key)
    async with right.worker():
        await right.start("order", id="r")
        await right.publish("paid", 1, key="k")
        await right.until_status("r", lambda status: [row.operation for row in status.current] == ["shipped#1"])
    async with wrong.worker():
        await wrong.publish("shipped", 2, key="k")
        status = await wrong.until_state("r", "blocked")
        assert re.search(difference, status.incidents[0].reason), status.incidents
    async with right.worker():
        await right.retry("r")
        assert await right.after_help("r") == [1, 2]
