"""Reruns: a new run keeps what another one has done before a step; nothing is done again, nothing is undone twice."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from motet import Flow, Retry, testing
from motet.errors import NotPossible, RunExists, RunNotFound, WrongType
from tests.stories.conftest import ONCE, Shop


@dataclass
class Order:
    id: str
    broken: bool = False


def selling(shop: Shop, *, undoable: bool = True) -> None:
    """Charge, pack, ship; shipping fails for what is broken. Drawn numbers go through it."""
    did = shop.outside.did

    @shop.step
    async def charge(order: Order, receipt: str) -> str:
        did(f"charge {receipt}")
        return f"paid {receipt}"

    if undoable:

        @charge.compensation
        async def refund(payment: str | None) -> None:
            did(f"refund {payment}")

    @shop.step
    async def pack(order: Order) -> int:
        did("pack")
        return 1

    @shop.step(retry=ONCE)
    async def ship(order: Order, parcel: int, label: str, receipt: str) -> str:
        did("ship")
        if order.broken:
            raise ValueError("broken")
        return f"{parcel}:{label}:{receipt}"

    @shop.workflow
    async def sell(flow: Flow, order: Order) -> list[str]:
        receipt = str(flow.uuid())
        payment = await flow.step(charge, order, receipt)
        flow.publish("charged", {"receipt": receipt})  # motet: ok it shall stand before other steps
        parcel = await flow.step(pack, order)
        label = str(flow.uuid())
        shipped = await flow.step(ship, order, parcel, label, receipt)
        return [payment, receipt, shipped, label]


async def test_what_was_before_is_kept_and_the_rest_is_done_anew(shop: Shop) -> None:
    selling(shop)
    async with testing.virtual(shop) as kit:
        first = await (await shop.start("sell", Order("o"), id="r")).result()
        again = await shop.rerun("r", from_step="ship")
        assert again.id == "r/rerun-1"
        second = await again.result()
        await kit.idle()
        status = await shop.status(again.id)
        events = await shop.runs(conversation="r")
    assert shop.outside.effects == [f"charge {first[1]}", "pack", "ship", "ship"], "what is kept is not done again"
    assert first[:2] == second[:2], "what was drawn before it is the same"
    assert second[2].endswith(first[1])
    assert first[3] == second[3], "the label was drawn before the step"
    assert (status.rerun_of, status.rerun_from, status.conversation) == ("r", "ship#1", "r")
    assert [done.operation for done in status.done] == ["charge#1", "charged#1", "pack#1", "ship#1"]
    assert {run.id for run in events} == {"r", "r/rerun-1"}
    assert len({key.rpartition(".")[0] for key in shop.outside.keys}) == 2, "keys of the new part are the new run's"


async def test_what_is_drawn_behind_the_kept_part_is_the_new_runs_own(shop: Shop) -> None:
    selling(shop)
    async with testing.virtual(shop):
        first = await (await shop.start("sell", Order("o"), id="r")).result()
        second = await (await shop.rerun("r", from_step="pack", id="again")).result()
    assert first[1] == second[1]
    assert first[3] != second[3]


async def test_events_that_are_kept_are_not_published_again(shop: Shop) -> None:
    selling(shop)
    seen: list[object] = []

    @shop.on("charged")
    async def count(event: object) -> None:
        seen.append(event)

    async with testing.virtual(shop) as kit:
        await (await shop.start("sell", Order("o"), id="r")).result()
        await (await shop.rerun("r", from_step="pack")).result()
        await kit.idle()
    assert len(seen) == 1


async def test_compensations_of_kept_steps_work(shop: Shop) -> None:
    selling(shop)
    async with testing.virtual(shop) as kit:
        await (await shop.start("sell", Order("o"), id="r")).result()
        await shop.rerun("r", from_step="ship", input=Order("o", broken=True), id="worse")
        await kit.idle()
        assert (await shop.status("worse")).state == "failed"
    charged = shop.outside.effects[0].removeprefix("charge ")
    assert shop.outside.effects[-1] == f"refund paid {charged}"


async def test_what_was_undone_is_never_kept(shop: Shop) -> None:
    selling(shop)
    async with testing.virtual(shop) as kit:
        await shop.start("sell", Order("o", broken=True), id="r")
        await kit.idle()
        with pytest.raises(
            NotPossible, match=r"charge#1, which a rerun of 'r' would keep, was undone by run 'r' \(refund#1"
        ):
            await shop.rerun("r", from_step="ship", input=Order("o"))
        run = await shop.rerun("r", from_step="charge", input=Order("o"))
        assert (await run.result())[0].startswith("paid")


async def test_nor_what_another_rerun_has_undone_or_still_could(shop: Shop) -> None:
    selling(shop)
    async with testing.virtual(shop) as kit:
        await (await shop.start("sell", Order("o"), id="r")).result()
        await shop.rerun("r", from_step="pack", input=Order("o", broken=True), id="bad")
        await kit.idle()
        for id in ("r", "bad"):
            with pytest.raises(NotPossible, match="was undone by run 'bad'"):
                await shop.rerun(id, from_step="ship", input=Order("o"))
    assert sum(effect.startswith("refund") for effect in shop.outside.effects) == 1


async def test_while_a_run_has_not_ended_its_steps_are_its_own(shop: Shop) -> None:
    selling(shop)

    @shop.step
    async def begin() -> int:
        return 1

    @shop.step
    async def go_on() -> int:
        await shop.outside.wait_at("gate")
        return 2

    @shop.workflow
    async def slow(flow: Flow) -> int:
        await flow.step(begin)
        first = await flow.step(go_on)
        return first + await flow.step(go_on)

    async with shop.worker():
        shop.outside.open("gate")
        await (await shop.start(slow, id="r")).result()
        shop.outside.gate("gate").clear()
        await shop.rerun("r", from_step="go_on#2", id="second")
        for _ in range(2):
            with pytest.raises(NotPossible, match="run 'second', which keeps the same steps, has not ended"):
                await shop.rerun("r", from_step="go_on#1")
            with pytest.raises(NotPossible, match=r"it has not ended \((running|pending)\)"):
                await shop.rerun("second", from_step="go_on#1")
        shop.outside.open("gate")
        assert await shop.result("second") == 4
        assert await (await shop.rerun("r", from_step="go_on#1", id="third")).result() == 4
        assert await (await shop.rerun("third", from_step="go_on#2")).result() == 4


async def test_a_rerun_of_a_rerun_draws_what_each_part_drew(shop: Shop) -> None:
    drawn: list[float] = []

    @shop.step
    async def note(number: float) -> float:
        drawn.append(number)
        return number

    @shop.workflow
    async def draw(flow: Flow) -> list[float]:
        return [await flow.step(note, flow.random()) for _ in range(4)]

    async with testing.virtual(shop):
        one = await (await shop.start(draw, id="r")).result()
        two = await (await shop.rerun("r", from_step="note#2", id="two")).result()
        three = await (await shop.rerun("two", from_step="note#4", id="three")).result()
        four = await (await shop.rerun("three", from_step="note#2", id="four")).result()
    # An argument is drawn before its step is called, so the step from which it is rerun gets the old one.
    assert two[:2] == one[:2]
    assert two[2] != one[2]
    assert three == two[:4]
    assert four[:2] == one[:2]
    assert len(drawn) == 4 + 3 + 1 + 3


async def test_events_that_came_before_are_there_for_the_rerun(shop: Shop) -> None:
    @shop.step
    async def first() -> int:
        return 1

    @shop.workflow
    async def wait(flow: Flow) -> int:
        number = await flow.step(first)
        event = await flow.wait("paid", key="o1", timeout=5)
        return number + int(event.data["cents"])

    async with testing.virtual(shop) as kit:
        run = await shop.start(wait, id="r")
        await shop.publish("paid", {"cents": 5}, key="o1")
        assert await run.result() == 6
        assert await (await shop.rerun("r", from_step="paid")).result() == 6
        await kit.idle()


async def test_what_cannot_be_rerun_says_why(shop: Shop) -> None:
    selling(shop)

    @shop.step
    async def twice() -> None: ...

    @shop.workflow
    async def repeat(flow: Flow) -> None:
        await flow.step(twice)
        await flow.step(twice)

    @shop.workflow
    async def stopped(flow: Flow) -> None:
        try:
            await flow.wait("never")
        finally:
            await flow.step(twice)

    async with testing.virtual(shop) as kit:
        await (await shop.start("sell", Order("o"), id="r")).result()
        await (await shop.start(repeat, id="two")).result()
        await shop.start(stopped, id="cut")
        await kit.idle()
        await shop.cancel("cut")
        await kit.idle()
        with pytest.raises(NotPossible, match="no record of 'fly'.*there is: charge#1, pack#1, ship#1"):
            await shop.rerun("r", from_step="fly")
        with pytest.raises(NotPossible, match="several of 'twice'; choose one: twice#1, twice#2"):
            await shop.rerun("two", from_step="twice")
        with pytest.raises(NotPossible, match=r"was stopped \(position 1: cancel\) before twice#1"):
            await shop.rerun("cut", from_step="twice")
        with pytest.raises(RunNotFound):
            await shop.rerun("nobody", from_step="ship")
        with pytest.raises(WrongType):
            await shop.rerun("r", from_step="ship", input={"wrong": 1})
        with pytest.raises(RunExists, match="run 'two' exists; give the rerun of 'r' another id"):
            await shop.rerun("r", from_step="ship", id="two")


async def test_an_input_that_leads_elsewhere_is_refused_before_anything_is_written(shop: Shop) -> None:
    @shop.step(retry=Retry(attempts=1))
    async def one() -> None: ...

    @shop.step
    async def other() -> None: ...

    @shop.workflow
    async def choose(flow: Flow, way: str) -> None:
        await flow.step(one if way == "one" else other)
        await flow.step(one)

    async with testing.virtual(shop):
        await (await shop.start(choose, "one", id="r")).result()
        with pytest.raises(
            NotPossible, match=r"before one#2 does not fit this code and input: .*waits for step other#1"
        ):
            await shop.rerun("r", from_step="one#2", input="other")
        assert len(await shop.runs()) == 1


def test_the_synchronous_face(shop: Shop) -> None:
    selling(shop)
    with testing.virtual(shop):
        shop.sync.start("sell", Order("o"), id="r")
        shop.sync.result("r")
        id = shop.sync.rerun("r", from_step="ship", id="again")
        assert id == "again"
        assert shop.sync.result("again")[0].startswith("paid")


async def test_what_is_forgotten_is_not_kept(shop: Shop) -> None:
    selling(shop)
    async with testing.virtual(shop) as kit:
        await (await shop.start("sell", Order("o"), id="r")).result()
        await kit.idle()
        await shop.forget_conversation("r")
        with pytest.raises(NotPossible, match="was forgotten; there is nothing to keep"):
            await shop.rerun("r", from_step="ship")
