"""Rules of a worker whose absence is easily overlooked; each has a planted bug that one of these tests must find."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from motet import App, Flow, Settings, attempt
from motet.model.clock import SYSTEM
from motet.runtime import session, worker
from motet.store.mutations import AppendEvent, EndRun
from motet.store.open import store_at
from tests.store.between import Between, until


class Declined(Exception):
    """An answer."""


class Shop:
    """An app on a store of its own, with somebody between it and its store."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.address = f"sqlite:///{path / 'motet.db'}"
        self.betweens: list[Between] = []
        self.apps: list[App] = []
        monkeypatch.setattr(session, "store_at", self._store_at)

    def app(self, **settings: Any) -> App:
        """One more program on the same store."""
        app = App("shop", store=self.address, settings=Settings(poll_seconds=0.05, drain_seconds=0.05, **settings))
        self.apps.append(app)
        return app

    @property
    def between(self) -> Between:
        """Who stands before the store that was opened last."""
        return self.betweens[-1]

    def _store_at(self, address: str, clock: Any, settings: Any = None) -> Any:
        self.betweens.append(Between(store_at(address, clock, settings)))
        return self.between


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(worker, "SWEEP_SECONDS", 0.01)
    return Shop(tmp_path, monkeypatch)


async def test_results_of_one_batch_are_applied_one_at_a_time(shop: Shop) -> None:
    """Else the order in which the next operations are created, and with it their names, is another one in replay."""
    go = asyncio.Event()

    def declare(app: App, *, ends: bool) -> None:
        @app.step
        async def head(name: str) -> str:
            await go.wait()
            return name

        @app.step
        async def tail(name: str) -> str:
            return name.upper()

        @app.step
        async def rest() -> None:
            if not ends:
                await asyncio.Event().wait()

        @app.workflow
        async def both(flow: Flow) -> list[list[str]]:
            async def branch(name: str, turns: int) -> list[str]:
                await flow.step(head, name)
                for _ in range(turns):
                    await asyncio.sleep(0)
                return [name, await flow.step(tail, name)]

            results = await asyncio.gather(branch("slow", 5), branch("quick", 0))
            await flow.step(rest)
            return results

    first = shop.app()
    declare(first, ends=False)
    async with first.worker():
        await first.start("both", id="r")
        shop.between.hold()
        other = asyncio.create_task(first.publish("something.else", {}))
        await shop.between.held.wait()
        go.set()
        # Both results gather behind the batch that is held back: they are committed together.
        await until(lambda: len(first.client._session.committer._ready) >= 2)
        shop.between.let_go()
        await other
        while not any(op.name == "rest" for op in (await first.status("r")).current):
            await asyncio.sleep(0)
    heads = [
        batch for batch in shop.between.batches if sum(_is_result(row, "head") for unit in batch for row in unit) == 2
    ]
    assert len(heads) == 1, "the two results did not meet in one batch"
    second = shop.app()
    declare(second, ends=True)
    async with second.worker():
        assert await second.result("r") == [["slow", "SLOW"], ["quick", "QUICK"]]


def _is_result(row: Any, step: str) -> bool:
    return getattr(row, "kind", None) == "completed" and str(getattr(row, "op", "")).startswith(f"{step}#")


async def test_what_a_body_publishes_last_is_one_fact_with_its_end(shop: Shop) -> None:
    app = shop.app()

    @app.workflow
    async def tell(flow: Flow) -> None:
        await flow.sleep(0.001)
        flow.publish("story.told", {"n": 1})
        flow.publish("story.told", {"n": 2})

    async with app.worker():
        run = await app.start("tell", id="r")
        await run.result()
    (unit,) = [unit for batch in shop.between.batches for unit in batch if any(type(row) is EndRun for row in unit)]
    assert [row.type for row in unit if type(row) is AppendEvent] == ["story.told"] * 2 + ["motet.run.completed"]


async def test_unwinding_waits_for_what_is_in_flight(shop: Shop) -> None:
    """A card that is charged 200 ms after the body has given up must be refunded all the same."""
    app = shop.app()
    asked, charged = asyncio.Event(), asyncio.Event()
    effects: list[str] = []

    @app.step
    async def charge() -> str:
        asked.set()
        await charged.wait()
        effects.append("charged")
        return "pay-1"

    @charge.compensation
    async def refund(payment: str | None) -> None:
        effects.append(f"refunded {payment}")

    @app.step(raises=[Declined])
    async def check_seat() -> None:
        await asked.wait()
        raise Declined("no seat")

    @app.workflow(raises=[Declined])
    async def purchase(flow: Flow) -> None:
        await asyncio.gather(flow.step(charge), flow.step(check_seat))

    async with app.worker():
        run = await app.start(purchase, id="r")
        while not any(op.name == "check_seat" for op in (await run.status()).failed):
            await asyncio.sleep(0)
        for _ in range(20):  # whoever does not wait has every chance to go ahead
            await asyncio.sleep(0)
        charged.set()
        with pytest.raises(Declined):
            await run.result()
    assert effects == ["charged", "refunded pay-1"]


async def test_effects_are_told_apart_although_the_business_id_is_the_same(shop: Shop) -> None:
    """February's invoice is no duplicate of January's, nor is the second try of a purchase one of the first."""
    app = shop.app()
    keys: list[str] = []

    @app.step
    async def invoice(month: int) -> None:
        keys.append(attempt().key)

    @app.workflow
    async def subscription(flow: Flow, month: int) -> None:
        await flow.step(invoice, month)
        flow.publish("invoiced", {"month": month})
        if month < 3:
            flow.restart(month + 1)
        raise RuntimeError("enough")

    async with app.worker():
        for _ in range(2):
            run = await app.start("subscription", 1, id="customer-7", reuse="after_failure")
            with pytest.raises(Exception, match="enough"):
                await run.result()
        events = await shop.between.store.events(0, 100)
    assert len(set(keys)) == len(keys) == 6
    assert len({event.id for event in events}) == len(events) == 6 + 2, "and of each run how it ended"


async def test_leaving_memory_publishes_nothing(shop: Shop) -> None:
    app = shop.app(idle_seconds=0.001)
    left: list[str] = []

    @app.workflow
    async def nap(flow: Flow) -> None:
        try:
            await flow.sleep(3600)
        finally:
            left.append("left")
            flow.publish("nap.over", {})

    async with app.worker():
        await app.start("nap", id="r")
        await until(lambda: left)
        assert (await app.status("r")).state == "waiting"
        await app.publish("after", {})
        events = await shop.between.store.events(0, 100)
    assert [event.type for event in events] == ["after"]
    store = store_at(shop.address, SYSTEM)
    await store.open(create=False)
    assert [event.type for event in await store.events(0, 100)] == ["after"]
    await store.close()


async def test_a_body_receives_the_record_and_not_the_live_object(shop: Shop) -> None:
    """Or it would see in its first life what no replay can show it."""
    app = shop.app()
    live = [1, 2, 3]

    @app.step
    async def numbers() -> list[int]:
        return live

    @app.step
    async def pair() -> list[int]:
        return (4, 5)  # type: ignore[return-value]

    @app.workflow
    async def collect(flow: Flow) -> list[Any]:
        first, second = await flow.step(numbers), await flow.step(pair)
        first.append(9)
        return [first, type(second).__name__]

    async with app.worker():
        run = await app.start(collect, id="r")
        assert await run.result() == [[1, 2, 3, 9], "list"]
    assert live == [1, 2, 3]
