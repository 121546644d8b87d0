"""Pruning at any age, by two at once, while workers run, others publish, and reactions read: nobody misses anything."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from motet import Event, Flow
from motet.errors import RunPruned
from motet.runtime.pruning import retaining
from tests.stories.conftest import PATIENCE_SECONDS, Shop

RUNS = 40
ROUNDS = 3
NOW = timedelta(0)


class World:
    """What has happened outside."""

    def __init__(self) -> None:
        self.rounds = 0
        self.paid: dict[int, int] = {}
        self.moved = asyncio.Condition()
        self.packed: list[int] = []
        self.sent: list[tuple[int, str]] = []
        self.noted: list[int] = []

    async def pay(self, number: int) -> None:
        async with self.moved:
            self.paid[number] = self.rounds
            self.moved.notify_all()

    async def prune(self) -> None:
        async with self.moved:
            self.rounds += 1
            self.moved.notify_all()

    async def until_pruned_since_paid(self, number: int) -> None:
        """Two at least have begun afterwards, and have come to their end."""
        async with self.moved:
            await self.moved.wait_for(lambda: self.rounds > self.paid.get(number, self.rounds) + ROUNDS)


def declare(shop: Shop, world: World) -> None:
    @shop.step
    async def pack(number: int) -> None:
        await world.until_pruned_since_paid(number)  # the run has not come to its wait yet
        world.packed.append(number)

    @shop.step
    async def send(number: int, paid: str) -> None:
        world.sent.append((number, paid))

    @shop.workflow
    async def order(flow: Flow, number: int) -> None:
        await flow.step(pack, number)
        flow.publish("packed", number, key=str(number % 5))
        paid = await flow.wait("paid", key=flow.id)
        await flow.step(send, number, paid.data)

    @shop.on("packed", start="beginning")
    async def note(event: Event) -> None:
        world.noted.append(event.data)


@pytest.mark.timeout(120)
async def test_nobody_misses_anything(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance, world = random.Random(seed), World()
    # Runs leave memory while they wait, and are claimed again by either worker.
    shops = [Shop(tmp_path, idle_seconds=0.01), Shop(tmp_path, idle_seconds=0.01)]
    for shop in shops:
        declare(shop, world)
    over = asyncio.Event()
    pruned: Counter[str] = Counter()

    async def buy(number: int) -> None:
        starter, payer = chance.choice(shops), chance.choice(shops)
        run = await starter.start("order", number, id=f"o-{number}")
        for _ in range(chance.randrange(3)):
            await payer.publish("noise", number, key="noise")
        await payer.publish("paid", f"by {number}", key=f"o-{number}", conversation=f"payment-{number}")
        await world.pay(number)
        with suppress(RunPruned):
            await run.result()

    async def prune(shop: Shop) -> None:
        while not over.is_set():
            done = await shop.prune(older_than=NOW)
            pruned.update(runs=done.runs, events=done.events)
            await world.prune()

    async with shops[0].worker(), shops[1].worker():
        pruning = [asyncio.create_task(prune(shop)) for shop in shops]
        async with asyncio.timeout(PATIENCE_SECONDS * 3):
            for first in range(0, RUNS, 10):
                await asyncio.gather(*(buy(number) for number in range(first, first + 10)))
            await shops[0].until(lambda: _passed(shops[0], world))
        over.set()
        await asyncio.gather(*pruning)
        last = await shops[0].prune(older_than=NOW)
        pruned.update(runs=last.runs, events=last.events)
        assert sorted(world.packed) == sorted(world.noted) == [*range(RUNS)]
        assert sorted(world.sent) == [(number, f"by {number}") for number in range(RUNS)]
        assert await shops[0].runs() == []
        assert pruned["runs"] == RUNS, "each by one of them"
        store = shops[0].client.store
        left = await store.events(0, 1_000)
        assert len(left) == 1 and pruned["events"] == await store.head() - 1, "each by one of them, but for the newest"
        stones = [await retaining(store).tombstone(f"o-{number}") for number in range(RUNS)]
        assert all(stone is not None and stone.state == "completed" for stone in stones)


async def _passed(shop: Shop, world: World) -> bool:
    return len(world.noted) == RUNS and all(one.behind == 0 for one in await shop.reaction_status())
