"""Children: runs of their own, awaited or detached, with their errors and their end."""

from __future__ import annotations

import asyncio

import pytest

from motet import ChildFailed, Flow, RunCancelled, RunExists, RunFailed
from tests.stories.conftest import ONCE, Outside, Shop


class Sold(Exception):
    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


async def test_a_child_is_a_run_of_its_own_in_the_same_conversation(shop: Shop) -> None:
    @shop.workflow
    async def double(flow: Flow, number: int) -> int:
        flow.publish("number.doubled", {"number": number})
        return 2 * number

    @shop.workflow
    async def sum_of_doubles(flow: Flow, numbers: list[int]) -> int:
        return sum(await asyncio.gather(*(flow.child(double, number) for number in numbers)))

    async with shop.worker():
        run = await shop.start(sum_of_doubles, [1, 2, 3], id="sum", attributes={"tenant": "t1"})
        assert await run.result() == 12
        runs = await shop.runs(conversation="sum")
        assert len(runs) == 4
        assert {found.attributes["tenant"] for found in runs} == {"t1"}
        child = next(found for found in runs if found.id.startswith("sum/double#2~"))
        status = await shop.status(child.id)
        assert (status.result, status.conversation, status.cause) == (4, "sum", run.uid)


async def test_a_childs_declared_error_is_caught_by_its_class(shop: Shop) -> None:
    @shop.workflow(raises=[Sold])
    async def buy(flow: Flow, what: str) -> str:
        raise Sold(what)

    @shop.workflow
    async def shopping(flow: Flow) -> str:
        try:
            return await flow.child(buy, "bread")
        except Sold as error:
            return f"no {error.what}"

    async with shop.worker():
        assert await (await shop.start(shopping, id="s")).result() == "no bread"


async def test_any_other_end_of_a_child_is_child_failed(shop: Shop) -> None:
    @shop.workflow
    async def buy(flow: Flow) -> str:
        raise ValueError("closed")

    @shop.workflow
    async def shopping(flow: Flow) -> None:
        await flow.child(buy, id="buy-1")

    async with shop.worker():
        run = await shop.start(shopping, id="s")
        with pytest.raises(
            RunFailed, match="ChildFailed: child run 'buy-1' ended without a result: ValueError: closed"
        ):
            await run.result()


async def test_a_childs_id_that_belongs_to_another_run_is_child_failed(shop: Shop) -> None:
    @shop.workflow
    async def buy(flow: Flow) -> str:
        return "bought"

    @shop.workflow
    async def shopping(flow: Flow) -> str:
        try:
            return await flow.child(buy, id="taken")
        except ChildFailed as error:
            return str(error)

    async with shop.worker():
        await (await shop.start(buy, id="taken")).result()
        message = await (await shop.start(shopping, id="s")).result()
    assert RunExists.__name__ in message and "the id 'taken' belongs to another run, of shop/buy" in message


async def test_a_child_is_cancelled_with_its_parent_and_undoes_what_it_did(shop: Shop, outside: Outside) -> None:
    @shop.step(retry=ONCE)
    async def book(what: str) -> str:
        outside.did(f"book {what}")
        return what

    @book.compensation
    async def unbook(booked: str | None) -> None:
        outside.did(f"unbook {booked}")

    @shop.workflow
    async def grandchild(flow: Flow) -> None:
        await flow.step(book, "grandchild")
        await flow.sleep(3600)

    @shop.workflow
    async def child(flow: Flow) -> None:
        await flow.step(book, "child")
        await flow.child(grandchild, id="grandchild")

    @shop.workflow
    async def parent(flow: Flow) -> None:
        await flow.step(book, "parent")
        await flow.child(child, id="child")

    async with shop.worker():
        run = await shop.start(parent, id="parent")
        await shop.until(lambda: _exists(shop, "grandchild"))
        await shop.until_status("grandchild", lambda status: len(status.done) == 1)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
        assert [found.state for found in await shop.runs()] == ["cancelled"] * 3
    assert outside.effects[3:] == ["unbook grandchild", "unbook child", "unbook parent"]


async def test_a_detached_child_is_started_durably_and_lives_on_when_its_parent_has_ended(shop: Shop) -> None:
    @shop.workflow
    async def newsletter(flow: Flow, number: int) -> int:
        await flow.sleep(0.05)
        return number

    @shop.workflow
    async def subscribe(flow: Flow) -> str:
        return await flow.child(newsletter, 7, detached=True)

    async with shop.worker():
        run = await shop.start(subscribe, id="ann")
        id = await run.result()
        assert id.startswith("ann/newsletter#1~")
        assert await shop.result(id) == 7


async def test_children_outlive_their_workers_memory_and_its_end(impatient: Shop) -> None:
    shop, outside = impatient, impatient.outside

    @shop.step
    async def work(number: int) -> int:
        await outside.wait_at(f"work {number}")
        return number

    @shop.workflow
    async def child(flow: Flow, number: int) -> int:
        return await flow.step(work, number)

    @shop.workflow
    async def parent(flow: Flow) -> list[int]:
        return await asyncio.gather(flow.child(child, 1), flow.child(child, 2))

    async with shop.worker():
        await shop.start(parent, id="p")
        await outside.reached("work 1")
        await outside.reached("work 2")
        await shop.until_state("p", "waiting")
        outside.open("work 1")
    outside.open("work 2")
    async with shop.worker():
        assert await shop.result("p") == [1, 2]


async def test_each_generation_and_each_run_of_an_id_has_children_of_its_own(shop: Shop) -> None:
    @shop.workflow
    async def count(flow: Flow, number: int) -> int:
        return number

    @shop.workflow
    async def rounds(flow: Flow, number: int) -> int:
        counted = await flow.child(count, number)
        if counted < 3:
            flow.restart(number + 1)
        if counted == 3:
            raise ValueError("three")
        return counted

    async with shop.worker():
        with pytest.raises(RunFailed, match="three"):
            await (await shop.start(rounds, 1, id="r")).result()
        again = await shop.start(rounds, 4, id="r", reuse="after_failure")
        assert await again.result() == 4


async def test_a_child_that_is_cancelled_before_any_worker_has_begun_it_reports_to_its_parent(shop: Shop) -> None:
    @shop.workflow
    async def child(flow: Flow) -> None:
        await flow.sleep(3600)

    @shop.workflow
    async def parent(flow: Flow) -> str:
        try:
            async with asyncio.timeout(0.05):
                await flow.child(child, id="child")
        except TimeoutError:
            return "gave up"
        return "?"

    async with shop.worker():
        assert await (await shop.start(parent, id="p")).result() == "gave up"
        assert (await shop.status("child")).state == "cancelled"


async def _exists(shop: Shop, id: str) -> bool:
    return any(found.id == id for found in await shop.runs())
