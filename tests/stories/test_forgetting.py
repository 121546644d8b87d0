"""Forgetting a conversation: no word of its content is left in the file, and its shape is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import pytest

from motet import Event, Flow
from motet.errors import ConversationNotFound, NotPossible, RunExists, RunFailed, RunForgotten
from motet.orchestration.attempt import attempt
from tests.stories.conftest import ONCE, QUICK, Shop
from tests.stories.searching import files, rows, sample, transaction, write_anew

SECRET = "SECRET-"
"""All that must not be found afterwards begins so."""


class Declined(Exception):
    def __init__(self, card: str) -> None:
        super().__init__(f"{SECRET}declined {card}")
        self.card = card


@dataclass
class Purchase:
    card: str


@dataclass
class Held:
    """Events that a test's reaction does not get through."""

    gate: asyncio.Event
    seen: list[str]


def declare(shop: Shop) -> Held:
    held = Held(asyncio.Event(), [])

    @shop.step(retry=QUICK, raises=[Declined])
    async def charge(purchase: Purchase) -> str:
        if attempt().number == 1:
            raise ValueError(f"{SECRET}first try of {purchase.card}")
        if "bad" in purchase.card:
            raise Declined(purchase.card)
        return f"{SECRET}paid {purchase.card}"

    @shop.step(retry=ONCE)
    async def fail(text: str) -> None:
        raise ValueError(f"{SECRET}{text}")

    @shop.workflow
    async def child(flow: Flow, purchase: Purchase) -> str:
        return await flow.step(charge, purchase)

    @shop.workflow(raises=[Declined])
    async def buy(flow: Flow, purchase: Purchase) -> str:
        flow.note(f"{SECRET}note")
        paid = await flow.step(charge, purchase)
        await flow.child(child, purchase, id=f"{flow.id}-child")
        flow.publish("bought", {"card": purchase.card}, key="k")
        event = await flow.wait("approved", key=flow.id)
        return f"{paid} {event.data}"

    @shop.workflow
    async def failing(flow: Flow, purchase: Purchase) -> str:
        await flow.step(fail, purchase.card)
        return purchase.card

    @shop.on("bought", retry=ONCE)
    async def poison(event: Event) -> None:
        raise ValueError(f"{SECRET}poison {event.data}")

    @shop.on("bought")
    async def slow(event: Event) -> None:
        await held.gate.wait()
        held.seen.append(event.data["card"])

    return held


async def live_through(shop: Shop, held: Held, id: str = "p-1") -> None:
    """A conversation with everything in it that payloads can be in."""
    card = f"{SECRET}{id}"
    run = await shop.start("buy", Purchase(card), id=id, attributes={"who": f"{SECRET}{id} who"})
    await shop.publish("approved", f"{SECRET}yes", key=id, conversation=id)
    await run.result()
    other = await shop.start("buy", Purchase(f"{card} bad"), id=f"{id}-bad")
    with pytest.raises(Declined):
        await other.result()
    held.gate.set()
    await shop.until(lambda: _has(shop, 1))
    await shop.edit("poison", (await shop.dead_letters())[0].position, {"card": f"{SECRET}edited"})


async def _has(shop: Shop, letters: int) -> bool:
    return len(await shop.dead_letters()) == letters and all(one.behind == 0 for one in await shop.reaction_status())


async def test_no_word_is_left_and_the_shape_is(shop: Shop) -> None:
    held = declare(shop)
    async with shop.worker():
        await live_through(shop, held)
        await shop.discard()
        before = await shop.conversation("p-1")
        await sample(shop.address)
        assert await files(shop.address, f"{SECRET}p-1")
        done = await shop.forget_conversation("p-1")
        await shop.forget_conversation("p-1-bad")
        assert (done.runs, done.events >= 3, done.facts >= 4, done.scrubbed) == (2, True, True, True)

        after = await shop.conversation("p-1")
        assert [(node.kind, node.name, node.state, node.depth) for node in after.nodes] == [
            (node.kind, node.name, node.state, node.depth) for node in before.nodes
        ]
        assert SECRET not in repr(after)
        status = await shop.status("p-1")
        assert SECRET not in repr(status)
        assert (status.state, status.result, status.note, status.attributes) == (
            "completed", "(forgotten)", "(forgotten)", {}
        )  # fmt: skip
        assert [item.operation for item in status.done] == ["charge#1", "child#1", "bought#1", "approved#1"]
        bad = await shop.status("p-1-bad")
        assert (bad.state, bad.error_type, bad.error) == ("failed", "Declined", "(forgotten)")
        assert [item.error for item in bad.failed] == ["Declined: (forgotten)"]

        assert (await shop.start("buy", Purchase("anything"), id="p-1")).uid == status.uid, "whose it is stays known"
        with pytest.raises(RunForgotten):
            await shop.result("p-1")
        with pytest.raises(RunFailed, match="Declined: .forgotten."):
            await shop.result("p-1-bad")
        with pytest.raises(RunExists):
            await shop.start("failing", Purchase("anything"), id="p-1")
        assert await rows(shop.address, SECRET) == []
        await write_anew(shop.client.store, shop.address)  # pages that were rearranged before may hold pieces
        assert await files(shop.address, SECRET) == []

        again = await shop.forget_conversation("p-1")
        assert (again.runs, again.facts, again.events) == (0, 0, 0), "there is nothing left"
        held.seen.clear()
        await shop.replay("slow", "beginning")
        await shop.until(lambda: _has(shop, 0))
        assert held.seen == [], "what is forgotten is delivered to nobody"


async def test_what_is_open_is_never_forgotten(shop: Shop) -> None:
    held = declare(shop)
    async with shop.worker():
        await shop.start("buy", Purchase("4242"), id="p-1")
        await shop.until_status("p-1", lambda status: any(item.name == "child" for item in status.done))
        for force in (False, True):
            with pytest.raises(NotPossible, match="conversation 'p-1' is not over: run 'p-1' is (running|waiting)"):
                await shop.forget_conversation("p-1-child", force=force)
        await shop.publish("approved", "yes", key="p-1")
        assert await shop.result("p-1") == f"{SECRET}paid 4242 yes"
        with pytest.raises(NotPossible, match="or insist .--force., and that is given up") as told:
            await shop.forget_conversation("p-1")
        assert "reaction shop/slow has not come to all of its events: wait for it" in str(told.value)
        held.gate.set()
        await shop.until(lambda: _has(shop, 1))
        with pytest.raises(NotPossible, match="is a dead letter of shop/poison: redrive or discard it; or insist"):
            await shop.forget_conversation("p-1")
        done = await shop.forget_conversation("p-1", force=True)
        assert (done.discarded, done.runs) == (1, 2)
        assert await shop.dead_letters() == []
        with pytest.raises(ConversationNotFound):
            await shop.forget_conversation("p-2")


async def test_a_reaction_that_is_behind_skips_what_is_forgotten(shop: Shop) -> None:
    held = declare(shop)
    held.gate.set()
    await_all = shop.worker()
    async with await_all:
        await shop.pause("slow")
        await shop.publish("bought", {"card": f"{SECRET}1"}, key="gone")
        await shop.publish("bought", {"card": "2"}, key="kept")
        with pytest.raises(NotPossible, match="reaction shop/slow has not come to all .*: it is paused, resume it"):
            await shop.forget_conversation("gone")
        await shop.until(lambda: _letters(shop, 2))
        assert (await shop.forget_conversation("gone", force=True)).events == 2
        await shop.resume("slow")
        await shop.until(lambda: _has(shop, 1))
        assert held.seen == ["2"]


async def test_what_was_published_in_ones_own_transaction_is_forgotten_wherever_it_is(shop: Shop) -> None:
    """In PostgreSQL it stands in the outbox until a worker moves it, and here is none."""
    declare(shop)
    card = {"card": f"{SECRET}1"}
    async with shop.worker():
        pass  # from now on there are reactions
    async with shop.connect():
        async with transaction(shop.address) as connection:
            await shop.publish("noted", f"{SECRET}noted", key="n", conversation="talk", conn=connection)
            await shop.publish("bought", card, key="k", id="one", conversation="deal", conn=connection)
        await sample(shop.address)
        assert await rows(shop.address, SECRET)
        assert (await shop.forget_conversation("talk")).events == 1
        with pytest.raises(NotPossible, match="reaction shop/poison has not come to all of its events"):
            await shop.forget_conversation("deal")
        assert (await shop.forget_conversation("deal", force=True)).events == 1
        assert await rows(shop.address, SECRET) == []
        async with transaction(shop.address) as connection:
            await shop.publish("bought", card, key="k", id="one", conversation="deal", conn=connection)
        assert (await shop.forget_conversation("deal")).events == 0, "its id is known, whatever became of it"


async def test_no_wait_takes_a_forgotten_event(shop: Shop) -> None:
    @shop.workflow
    async def wait(flow: Flow, seconds: float) -> str:
        await flow.wait("go", key="now")
        return str((await flow.wait("approved", key="a")).data)

    async with shop.worker():
        run = await shop.start(wait, 0.0, id="w")
        await shop.publish("approved", f"{SECRET}first", key="a", conversation="talk")
        await shop.forget_conversation("talk")
        await shop.publish("go", key="now")
        await shop.until_status("w", lambda status: any(item.name == "approved" for item in status.current))
        await shop.publish("approved", "second", key="a")
        assert await run.result() == "second"


async def test_a_tombstone_forgets_what_it_knows_of_the_input(shop: Shop) -> None:
    declare(shop)
    async with shop.worker():
        with pytest.raises(RunFailed):
            await (await shop.start("failing", Purchase(f"{SECRET}4242"), id="p-1")).result()
        await shop.until(lambda: _passed(shop))
        await shop.prune(older_than=timedelta(0))
        with pytest.raises(RunExists):
            await shop.start("failing", Purchase("another"), id="p-1")
        assert (await shop.forget_conversation("p-1")).digests == 1
        assert (await shop.start("failing", Purchase("another"), id="p-1")).id == "p-1", "nobody can tell any more"


async def _letters(shop: Shop, count: int) -> bool:
    return len(await shop.dead_letters()) == count


async def _passed(shop: Shop) -> bool:
    return all(one.behind == 0 for one in await shop.reaction_status())
