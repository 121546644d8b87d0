"""What a handler may know about its try: the same as a step, so that one function serves both."""

import asyncio
from typing import Any

import pytest

from motet import App, Event, Flow, Retry, attempt, testing
from motet.errors import NotInStep
from motet.orchestration.attempt import Attempt
from tests.stories.conftest import Shop

QUICK = Retry(attempts=3, first=0.01, cap=0.01)


async def test_one_key_for_all_tries_of_an_event_and_none_for_two(shop: Shop) -> None:
    told: list[Attempt] = []
    recorded: list[tuple[str, str, int]] = []
    shop.hooks.delivery_recorded(lambda key, reaction, number: recorded.append((key, reaction, number)))

    @shop.on("n", retry=QUICK)
    async def take(event: Event) -> None:
        told.append(attempt())
        if attempt().number < event.data:
            raise OSError("down")
        event.publish("taken")

    @shop.on("n")
    def count(event: Event) -> None:  # in a thread
        told.append(attempt())

    async with testing.virtual(shop) as kit:
        await shop.publish("n", 1, key="a")
        await shop.publish("n", 3, key="b")
        await kit.advance(1)
    taken = [one for one in told if one.reaction == "shop/take"]
    assert [(one.number, one.step, one.run, one.conversation) for one in taken] == [
        (1, "shop/take", "", "a"), (1, "shop/take", "", "b"), (2, "shop/take", "", "b"), (3, "shop/take", "", "b"),
    ]  # fmt: skip
    keys = [one.key for one in told]
    assert len(set(keys)) == 4, "two events for two reactions"
    assert len({one.key for one in taken}) == 2
    assert {one.token for one in told} == {taken[0].token}
    assert sorted(recorded) == sorted([(taken[0].key, "shop/take", 1), (taken[-1].key, "shop/take", 3)])


async def test_the_token_grows_with_each_owner_and_the_key_stays(shop: Shop) -> None:
    told: list[Attempt] = []

    def make(stops: bool) -> App:
        app = App("shop", store=shop.settings.store)

        @app.on("n", name="take" if stops else "receive", aliases=[] if stops else ["take"], start="beginning")
        async def take(event: Event) -> None:
            told.append(attempt())
            if stops:
                raise OSError("down")
            done.set()

        return app

    done = asyncio.Event()
    first = make(stops=True)
    async with first.worker():
        await first.publish("n", key="a")
        while not told:
            await asyncio.sleep(0)
    async with make(stops=False).worker():
        await done.wait()
    before, after = told[0], told[-1]
    assert (before.key, before.step, after.step) == (after.key, "shop/take", "shop/receive")
    assert before.token < after.token


async def test_a_function_that_asks_serves_steps_and_reactions(shop: Shop) -> None:
    keys: list[str] = []

    async def charge(amount: int) -> int:
        keys.append(attempt().key)
        return amount

    charging = shop.step(charge)

    @shop.workflow
    async def pay(flow: Flow, amount: int) -> int:
        return await flow.step(charging, amount)

    @shop.on("pay")
    async def collect(event: Event[Any]) -> None:
        await charge(event.data)

    async with testing.virtual(shop) as kit:
        await (await shop.start(pay, 3, id="p")).result()
        await shop.publish("pay", 3, key="p")
        await kit.idle()
    assert len(set(keys)) == 2
    with pytest.raises(NotInStep, match="the handler of a reaction"):
        attempt()
