"""Pruning as a user meets it: ids stay taken, status and result say what is left, workers prune by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from motet import Event, Flow
from motet.drafting import Placing
from motet.errors import RunExists, RunNotFound, RunPruned
from motet.model.clock import micros
from motet.model.run import Run
from motet.runtime.pruning import Pruned, Pruner
from tests.stories.conftest import ONCE, PATIENCE_SECONDS, Shop
from tests.stories.searching import transaction

DAY = 24 * 3600
MONTH = timedelta(days=30)


@dataclass
class Purchase:
    card: str
    price: int = 5


async def prune(shop: Shop, age: timedelta = MONTH) -> Pruned:
    return await Pruner(shop.client.store, shop.clock, shop.clock.now() - micros(age)).prune()


@pytest.fixture
def charges(shop: Shop) -> list[str]:
    """What the card was charged."""
    made: list[str] = []

    @shop.step(retry=ONCE)
    async def charge(purchase: Purchase) -> str:
        made.append(purchase.card)
        if purchase.card == "bad":
            raise ValueError("no such card")
        return f"paid {purchase.card}"

    @shop.workflow
    async def buy(flow: Flow, purchase: Purchase) -> str:
        return await flow.step(charge, purchase)

    @shop.workflow
    async def other(flow: Flow, purchase: Purchase) -> str:
        return purchase.card

    return made


async def test_a_pruned_id_never_charges_twice(shop: Shop, charges: list[str]) -> None:
    async with shop.worker():
        run = await shop.start("buy", Purchase("4242"), id="p-1", attributes={"region": "eu"})
        assert await run.result() == "paid 4242"
        shop.clock.ahead = 31 * DAY
        pruned = await prune(shop)
        assert (pruned.runs, pruned.facts) == (1, 1)

        again = await shop.start("buy", Purchase("4242"), id="p-1")
        assert (again.uid, charges) == (run.uid, ["4242"])
        with pytest.raises(RunPruned, match="run 'p-1' ended as completed on .* and was pruned on .*: what it was"):
            await again.result()
        with pytest.raises(RunPruned):
            await shop.result("p-1")
        with pytest.raises(RunPruned):
            await shop.cancel("p-1")
        with pytest.raises(RunNotFound):
            await shop.status("p-2")

        # The input is the same however it was written, and whoever asks.
        assert (await shop.start("buy", {"price": 5, "card": "4242"}, id="p-1")).uid == run.uid
        assert (await shop.start("buy", {"card": "4242"}, id="p-1")).uid == run.uid
        with pytest.raises(RunExists, match="run 'p-1' .completed .*, pruned since. had another input"):
            await shop.start("buy", Purchase("4243"), id="p-1")
        with pytest.raises(RunExists, match="run 'p-1' .completed .*, pruned since. was of workflow shop/buy"):
            await shop.start("other", Purchase("4242"), id="p-1")
        async with transaction(shop.address) as connection:
            handle = await shop.start("buy", Purchase("4242"), id="p-1", conn=connection)
            assert handle.uid == run.uid
            with pytest.raises(RunExists):
                await shop.start("buy", Purchase("1"), id="p-1", conn=connection)
            with pytest.raises(RunPruned):
                await handle.result()
        assert charges == ["4242"]


async def test_what_status_still_tells(shop: Shop, charges: list[str]) -> None:
    async with shop.worker():
        await (await shop.start("buy", Purchase("4242"), id="p-1")).result()
        before = await shop.status("p-1")
        shop.clock.ahead = 31 * DAY
        await prune(shop)
        after = await shop.status("p-1")
        assert (after.state, after.workflow, after.uid) == ("completed", "shop/buy", before.uid)
        assert (after.created_at, after.ended_at) == (before.created_at, before.ended_at)
        assert (after.done, after.result, after.ahead) == ([], None, [])
        assert after.pruned_at is not None and before.pruned_at is None
        assert await shop.runs() == []
        (node,) = (await shop.conversation("p-1")).nodes
        assert (node.name, node.state, node.id) == ("p-1", "completed", after.uid)
        assert node.detail is not None and node.detail.startswith("pruned ")


async def test_a_failed_id_may_be_used_again_after_pruning_when_asked_for(shop: Shop, charges: list[str]) -> None:
    async with shop.worker():
        run = await shop.start("buy", Purchase("bad"), id="p-1")
        with pytest.raises(Exception, match="no such card"):
            await run.result()
        await (await shop.start("buy", Purchase("fine"), id="p-2")).result()
        shop.clock.ahead = 31 * DAY
        await prune(shop)
        assert (await shop.start("buy", Purchase("bad"), id="p-1")).uid == run.uid
        again = await shop.start("buy", Purchase("good"), id="p-1", reuse="after_failure")
        assert await again.result() == "paid good"
        assert again.uid != run.uid
        with pytest.raises(RunExists):
            await shop.start("buy", Purchase("other"), id="p-2", reuse="after_failure")
        assert charges == ["bad", "fine", "good"]


@pytest.mark.parametrize("taken_over", [False, True], ids=["alone", "with its id taken over"])
async def test_who_waits_for_a_run_that_is_pruned_before_it_was_seen_to_end_is_told(
    tmp_path: Path, taken_over: bool
) -> None:  # fmt: skip
    waiting, working = Shop(tmp_path), Shop(tmp_path)
    for shop in (waiting, working):

        @shop.workflow(raises=[KeyError])
        async def buy(flow: Flow, card: str) -> str:
            if card == "bad":
                raise KeyError(card)
            return card

    async with waiting.connect():
        store, may_look = waiting.client.store, asyncio.Event()
        outcomes = store.outcomes

        async def late(uids: Sequence[str]) -> list[Run]:
            await may_look.wait()
            return await outcomes(uids)

        store.outcomes = late  # type: ignore[method-assign]
        run = await waiting.start("buy", "bad", id="p-1")
        told = [asyncio.create_task(run.result()), asyncio.create_task(waiting.result("p-1"))]
        not_there = asyncio.create_task(waiting.client.waiting.settled("never", "never"))
        async with working.worker():
            with pytest.raises(KeyError):
                await working.result("p-1")
            if taken_over:
                again = await working.start("buy", "good", id="p-1", reuse="after_failure")
                assert await again.result() == "good"
            working.clock.ahead = 31 * DAY
            assert (await prune(working)).runs == 1 + taken_over
        may_look.set()
        match = "a newer one took over its id" if taken_over else "ended as failed on"
        async with asyncio.timeout(PATIENCE_SECONDS):
            for one in told:
                with pytest.raises(RunPruned, match=match):
                    await one
        assert not not_there.done(), "it may be written yet"
        not_there.cancel()


@pytest.mark.parametrize("pruned", [False, True], ids=["still there", "pruned"])
async def test_who_waits_for_a_start_that_is_not_committed_yet_waits_on_although_its_id_was_anothers(
    shop: Shop, charges: list[str], pruned: bool
) -> None:
    async with shop.worker():
        failed = await shop.start("buy", Purchase("bad"), id="p-1")
        with pytest.raises(Exception, match="no such card"):
            await failed.result()
        if pruned:
            shop.clock.ahead = 31 * DAY
            await prune(shop)
        store, looked = shop.client.store, asyncio.Event()
        why_gone = shop.client.waiting._why_gone

        async def noted(id: str, uid: str) -> RunPruned | None:
            answer = await why_gone(id, uid)
            looked.set()
            return answer

        shop.client.waiting._why_gone = noted  # type: ignore[method-assign]
        async with transaction(shop.address) as connection:
            again = await shop.start("buy", Purchase("good"), id="p-1", reuse="after_failure", conn=connection)
            told = asyncio.create_task(again.result())
            async with asyncio.timeout(PATIENCE_SECONDS):
                await looked.wait()
            assert not told.done() and await store.missing([again.uid]) == [again.uid]
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await told == "paid good"
        assert charges == ["bad", "good"]


async def test_what_is_open_keeps_its_children_and_events(shop: Shop) -> None:
    @shop.workflow
    async def small(flow: Flow) -> str:
        flow.publish("small.done", {"n": 1}, key="k")
        return "small"

    @shop.workflow
    async def parent(flow: Flow) -> str:
        first = await flow.child(small, id="c-1")
        await flow.wait("approval", key="a")
        return first

    async with shop.worker():
        run = await shop.start(parent, id="p-1")
        await shop.until_status("p-1", lambda status: any(item.kind == "child" for item in status.done))
        await shop.publish("other", {}, key="x")
        await shop.publish("another", {}, key="x")
        shop.clock.ahead = 31 * DAY
        pruned = await prune(shop)
        assert (pruned.runs, pruned.events) == (0, 1)
        assert (await shop.status("c-1")).state == "completed"
        await shop.publish("approval", {}, key="a")
        assert await run.result() == "small"
        shop.clock.ahead = 62 * DAY
        pruned = await prune(shop)
        assert pruned.runs == 2
        assert [kind for kind, _ in await shop.events()] == []


async def test_an_event_stays_for_a_wait_that_an_open_run_has_not_come_to(shop: Shop) -> None:
    """Nobody has ever waited for its type; the source says that somebody will."""

    @shop.step
    async def pack(number: int) -> None:
        await shop.outside.wait_at("packed")

    @shop.workflow
    async def order(flow: Flow, number: int) -> str:
        await flow.step(pack, number)
        if number:
            paid: str = (await flow.wait("paid", key=flow.id)).data
            return paid
        return "free"

    async with shop.worker():
        run = await shop.start(order, 1, id="o-1")
        await shop.outside.reached("packed")
        for type in ("paid", "unimportant", "last"):
            await shop.publish(type, f"{type} by card", key="o-1", conversation="elsewhere")
        shop.clock.ahead = 31 * DAY
        assert (await prune(shop)).events == 1
        shop.outside.open("packed")
        assert await run.result() == "paid by card"


async def test_a_worker_prunes_by_itself(tmp_path: Path) -> None:
    shop = Shop(tmp_path, prune_after_days=30)

    @shop.workflow
    async def small(flow: Flow) -> str:
        return "small"

    async with shop.worker():
        await (await shop.start(small, id="r")).result()
    shop.clock.ahead = 31 * DAY
    async with shop.worker(), asyncio.timeout(PATIENCE_SECONDS):
        written = shop.client.listen()
        while (await shop.status("r")).pruned_at is None:
            await written.wait()
            written.clear()


async def test_a_replay_of_a_pruned_log_misses_and_doubles_nothing(shop: Shop) -> None:
    """Positions of events that are gone are a gap that a reader steps over."""
    seen: list[int] = []

    @shop.on("counted", start="beginning")
    async def count(event: Event) -> None:
        seen.append(event.data["n"])

    async with shop.worker():
        await publish(shop, 0, 1_500)
        await shop.until(lambda: have(seen, 1_500))
        await shop.until(lambda: passed(shop))
        shop.clock.ahead = 31 * DAY
        await publish(shop, 1_500, 3_700)
        await shop.until(lambda: have(seen, 3_700))
        await shop.until(lambda: passed(shop))
        assert (await prune(shop)).events == 1_500
        seen.clear()
        assert await shop.replay(count, "beginning") == 2_200
        await shop.until(lambda: have(seen, 2_200))
        await shop.until(lambda: passed(shop))
        assert sorted(seen) == [*range(1_500, 3_700)]


async def publish(shop: Shop, first: int, last: int) -> None:
    rows = [shop.client.drafts.event("counted", {"n": number}, None, Placing()) for number in range(first, last)]
    await shop.client.store.commit([rows], None)  # as a client's batch, at once


async def have(seen: list[int], count: int) -> bool:
    return len(seen) >= count


async def passed(shop: Shop) -> bool:
    """Whether the reaction's position has come to the end."""
    (status,) = await shop.reaction_status()
    return status.behind == 0
