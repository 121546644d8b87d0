"""The lives of runs: ids, restarts, waiting out of memory, renamed and included code, what status and logs tell."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from motet import App, Flow, Module, RunBlocked, RunExists, RunFailed, attempt
from motet.errors import NotConnected, WrongPlace
from tests.stories.conftest import QUICK, Outside, Shop


@dataclass
class Order:
    id: str
    items: list[str]


# --- the same id again --------------------------------------------------------------------------------------------


async def test_the_same_id_again_is_the_same_run(shop: Shop, outside: Outside) -> None:
    @shop.step
    async def charge(order: Order) -> str:
        outside.did("charge")
        return order.id

    @shop.workflow
    async def buy(flow: Flow, order: Order) -> str:
        return await flow.step(charge, order)

    async with shop.worker():
        runs = await asyncio.gather(*(shop.start(buy, Order("o", ["a"]), id="buy-1") for _ in range(10)))
        assert {await run.result() for run in runs} == {"o"}
        assert len({run.uid for run in runs}) == 1
        with pytest.raises(RunExists, match="run 'buy-1' exists with another input; choose another id, or read it"):
            await shop.start(buy, Order("o", ["b"]), id="buy-1")
    assert outside.effects == ["charge"]


async def test_the_same_id_with_another_workflow_is_an_error(shop: Shop) -> None:
    @shop.workflow
    async def buy(flow: Flow) -> None: ...

    @shop.workflow
    async def sell(flow: Flow) -> None: ...

    async with shop.worker():
        await shop.start(buy, id="x")
        with pytest.raises(RunExists, match="run 'x' exists and is of workflow shop/buy; choose another id"):
            await shop.start(sell, id="x")


async def test_an_id_is_reused_after_failure_only_when_asked_to(shop: Shop, outside: Outside) -> None:
    @shop.step(retry=QUICK)
    async def charge(amount: int) -> str:
        outside.did("charge")
        if len(outside.effects) < 4:
            raise OSError("down")
        return "paid"

    @shop.workflow
    async def buy(flow: Flow, amount: int) -> str:
        return await flow.step(charge, amount)

    async with shop.worker():
        first = await shop.start(buy, 5, id="buy-1")
        with pytest.raises(RunFailed):
            await first.result()
        same = await shop.start(buy, 5, id="buy-1")
        with pytest.raises(RunFailed):
            await same.result()
        second = await shop.start(buy, 6, id="buy-1", reuse="after_failure")
        assert await second.result() == "paid"
        assert second.uid != first.uid
        third = await shop.start(buy, 6, id="buy-1", reuse="after_failure")
        assert third.uid == second.uid
        assert await shop.result("buy-1") == "paid"
        assert len({found.id for found in await shop.runs()}) == 2
    assert len(set(outside.keys)) == 2, "a run of its own has keys of its own"


# --- restart ------------------------------------------------------------------------------------------------------


async def test_a_restart_is_the_same_run_with_a_fresh_history_and_fresh_identities(
    shop: Shop, outside: Outside
) -> None:
    @shop.step
    async def bill(month: int) -> int:
        outside.did(f"bill {month}")
        return month

    @bill.compensation
    async def refund(month: int | None) -> None:
        outside.did(f"refund {month}")

    @shop.workflow
    async def subscription(flow: Flow, month: int) -> str:
        await flow.step(bill, month)
        flow.publish("month.billed", {"month": month})
        if month < 3:
            flow.restart(month + 1)
        raise ValueError("bankrupt")

    async with shop.worker():
        run = await shop.start(subscription, 1, id="ann")
        with pytest.raises(RunFailed, match="bankrupt"):
            await run.result()
        status = await run.status()
        assert (status.generation, [done.operation for done in status.done][:1]) == (3, ["bill#1"])
    assert outside.effects == ["bill 1", "bill 2", "bill 3", "refund 3"]
    assert len(set(outside.keys)) == 4
    assert len(await shop.events()) == 3


async def test_cancel_reaches_a_run_that_restarts_all_the_time(shop: Shop, outside: Outside) -> None:
    @shop.step
    async def tick(number: int) -> None:
        outside.did("tick")

    @shop.workflow
    async def for_ever(flow: Flow, number: int) -> None:
        await flow.step(tick, number)
        flow.restart(number + 1)

    async with shop.worker():
        run = await shop.start(for_ever, 1, id="ticks")
        await shop.until_status("ticks", lambda status: status.generation > 3)
        await run.cancel()
        await shop.until_state("ticks", "cancelled")


# --- waiting ------------------------------------------------------------------------------------------------------


async def test_asyncio_sleep_outlives_the_worker(shop: Shop) -> None:
    @shop.workflow
    async def nap(flow: Flow) -> list[str]:
        before = flow.now()
        await asyncio.sleep(30 * 24 * 3600)
        return [before.isoformat(), flow.now().isoformat(), str((flow.now() - before).days)]

    async with shop.worker():
        await shop.start(nap, id="nap")
        await shop.until_status("nap", lambda status: status.state == "running")
    async with shop.connect():
        status = await shop.status("nap")
        assert status.state == "waiting" and status.wake_at is not None
    shop.clock.ahead = 31 * 24 * 3600
    async with shop.worker():
        assert (await shop.result("nap"))[2] in ("30", "31")


async def test_a_run_that_only_waits_leaves_memory_and_comes_back(impatient: Shop) -> None:
    shop, outside = impatient, impatient.outside

    @shop.step
    async def work(number: int) -> int:
        outside.did(f"work {number}")
        return number

    @shop.workflow
    async def nap(flow: Flow) -> int:
        first = await flow.step(work, 1)
        await flow.sleep(3600)
        return first + await flow.step(work, 2)

    async with shop.worker():
        run = await shop.start(nap, id="nap")
        status = await shop.until_state("nap", "waiting")
        assert [current.operation for current in status.current] == ["sleep#1"]
        shop.clock.ahead = 3601
        assert await run.result() == 3
    assert outside.effects == ["work 1", "work 2"]


async def test_a_run_out_of_memory_is_woken_by_a_cancel(impatient: Shop) -> None:
    shop = impatient

    @shop.workflow
    async def nap(flow: Flow) -> None:
        await flow.sleep(3600)

    async with shop.worker():
        run = await shop.start(nap, id="nap")
        await shop.until_state("nap", "waiting")
        await run.cancel()
        await shop.until_state("nap", "cancelled")


async def test_a_run_started_by_a_client_is_driven_by_the_next_worker(shop: Shop) -> None:
    @shop.workflow
    async def hello(flow: Flow, name: str) -> str:
        return f"hello {name}"

    async with shop.connect():
        await shop.start(hello, "ann", id="h")
        assert (await shop.status("h")).state == "pending"
    async with shop.worker():
        assert await shop.result("h") == "hello ann"


# --- code that changes --------------------------------------------------------------------------------------------


def another(shop: Shop) -> Shop:
    """The same store with other code."""
    other = Shop(shop.folder)
    other.outside = shop.outside
    return other


async def test_functions_are_renamed_while_their_runs_resume(shop: Shop, outside: Outside) -> None:
    @shop.step
    async def charge(amount: int) -> str:
        outside.did(f"charge {amount}")
        if amount == 2:
            await outside.wait_at("charge")
        return "paid"

    @shop.workflow
    async def buy(flow: Flow) -> str:
        await flow.step(charge, 1)
        return await flow.step(charge, 2)

    async with shop.worker():
        await shop.start(buy, id="b")
        await outside.reached("charge")
        shop.outside.open("charge")
    new = another(shop)

    @new.step(aliases=["charge"])
    async def debit(amount: int) -> str:
        outside.did(f"debit {amount}")
        return "debited"

    @new.workflow(aliases=["buy"])
    async def purchase(flow: Flow) -> str:
        await flow.step(debit, 1)
        return await flow.step(debit, 2)

    async with new.worker():
        assert await new.result("b") in ("paid", "debited")
    assert outside.effects[:2] == ["charge 1", "charge 2"]
    assert len(set(outside.keys)) == 2


async def test_changed_code_blocks_its_runs_showing_the_difference_and_the_right_code_resumes_them(
    shop: Shop, outside: Outside
) -> None:
    @shop.step
    async def charge(amount: int) -> str:
        outside.did("charge")
        return "paid"

    @shop.workflow
    async def buy(flow: Flow) -> str:
        paid = await flow.step(charge, 1)
        await flow.sleep(0.5)
        return paid

    async with shop.worker():
        await shop.start(buy, id="b")
        await shop.until_status("b", lambda status: bool(status.done))
    wrong = another(shop)

    @wrong.step(name="debit")
    async def debit(amount: int) -> str:
        raise AssertionError("it must not run")

    @wrong.workflow(name="buy")
    async def buy_wrongly(flow: Flow) -> str:
        return await flow.step(debit, 1)

    async with wrong.worker():
        with pytest.raises(RunBlocked, match=r"position 1 of the history is about step charge#1 \(completed\)"):
            await wrong.result("b")
        (incident,) = (await wrong.status("b")).incidents
        assert incident.kind == "divergence" and "waits for step debit#1" in incident.reason
        with pytest.raises(Exception, match="there is no operation to skip: deploy the right code"):
            await wrong.skip("b")
    async with shop.worker():
        await shop.retry("b")
        assert await shop.after_help("b") == "paid"
    assert outside.effects == ["charge"]


async def test_a_module_and_resources_of_a_lifespan(tmp_path: Path) -> None:
    module = Module()
    opened: list[str] = []

    class Bank:
        async def charge(self, amount: int) -> str:
            return f"{amount} of {attempt().run}"

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[Bank]:
        opened.append("open")
        yield Bank()
        opened.append("closed")

    @module.step
    async def charge(amount: int) -> str:
        bank: Bank = shop.resources
        return await bank.charge(amount)

    @module.workflow
    async def buy(flow: Flow, amount: int) -> str:
        return await flow.step(charge, amount)

    shop = App("shop", store=f"sqlite:///{tmp_path}/motet.db", lifespan=lifespan)
    shop.include(module)
    async with shop.worker():
        assert await (await shop.start(buy, 5, id="b")).result() == "5 of b"
        assert opened == ["open"]
    assert opened == ["open", "closed"]


# --- what is told -------------------------------------------------------------------------------------------------


async def test_status_tells_notes_attributes_and_what_would_be_undone(shop: Shop, outside: Outside) -> None:
    @shop.step
    async def charge(amount: int) -> str:
        return "pay_1"

    @charge.compensation
    async def refund(paid: str | None) -> None: ...

    @shop.step
    async def ship() -> None:
        await outside.wait_at("ship")

    @shop.workflow
    async def buy(flow: Flow) -> None:
        flow.note("charging")
        await flow.step(charge, 5)
        flow.note("half way")
        await flow.step(ship)

    async with shop.worker():
        run = await shop.start(buy, id="b", attributes={"tenant": "t1", "vip": True})
        await outside.reached("ship")
        status = await shop.until_status("b", lambda status: bool(status.current))
        assert status.note == "half way"
        assert status.attributes == {"tenant": "t1", "vip": True}
        assert [done.operation for done in status.done] == ["charge#1"]
        assert [current.operation for current in status.current] == ["ship#1"]
        assert [(undo.compensation, undo.undoes, undo.unknown) for undo in status.undo] == [
            ("refund", "charge#1", False)
        ]
        outside.open("ship")
        await run.result()


async def test_log_records_carry_run_step_and_attempt_and_are_written_once(
    shop: Shop, outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("shop")

    @shop.step(retry=QUICK)
    async def charge() -> None:
        log.warning("charging")
        if attempt().number == 1:
            raise OSError("down")

    @shop.step
    def ship() -> None:
        log.warning("shipping")

    @shop.workflow
    async def buy(flow: Flow) -> None:
        log.warning("buying")
        await flow.step(charge)
        await flow.sleep(0.3)
        await flow.step(ship)
        log.warning("bought")

    async with shop.worker():
        await shop.start(buy, id="b")
        await shop.until_status("b", lambda status: bool(status.done))
    async with shop.worker():
        await shop.result("b")
    told: list[Any] = [(r.message, r.run, r.step, r.attempt) for r in caplog.records if r.name == "shop"]  # type: ignore[attr-defined]
    assert told == [
        ("buying", "b", "", ""),
        ("charging", "b", "charge", 1),
        ("charging", "b", "charge", 2),
        ("shipping", "b", "ship", 1),
        ("bought", "b", "", ""),
    ]


# --- the synchronous face -----------------------------------------------------------------------------------------


def test_the_synchronous_face_does_all_of_it_without_a_loop(tmp_path: Path) -> None:
    shop = App("shop", store=f"sqlite:///{tmp_path}/motet.db")
    ready, over = threading.Event(), threading.Event()

    @shop.workflow
    async def double(flow: Flow, number: int) -> int:
        flow.publish("number.doubled", {"number": number})
        if number > 9:
            await flow.sleep(3600)
        return 2 * number

    async def drive() -> None:
        driving = App("shop", store=f"sqlite:///{tmp_path}/motet.db")
        driving.registry.include(shop.registry)
        async with driving.worker():
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(drive(),))
    thread.start()
    try:
        assert ready.wait(10)
        assert shop.sync.start(double, 4, id="d") == "d"
        assert shop.sync.result("d", timeout=10) == 8
        assert shop.sync.status("d").state == "completed"
        assert shop.sync.publish("something.happened", {"by": "a script"})
        shop.sync.start(double, 10, id="long")
        with pytest.raises(TimeoutError):
            shop.sync.result("long", timeout=0.01)
        shop.sync.cancel("long", reason="enough")
        with pytest.raises(Exception, match="run 'long' was cancelled"):
            shop.sync.result("long", timeout=10)
        assert [found.id for found in shop.sync.runs()] == ["long", "d"]
    finally:
        shop.sync.close()
        over.set()
        thread.join()


async def test_a_plain_step_uses_the_synchronous_face_on_its_workers_connection(shop: Shop) -> None:
    @shop.workflow
    async def follow_up(flow: Flow) -> str:
        return "followed"

    @shop.step
    def tell() -> Any:
        shop.sync.publish("order.told", {"n": 1}, key="k")
        return shop.sync.result(shop.sync.start(follow_up, id="follow-up"), timeout=10)

    @shop.workflow
    async def buy(flow: Flow) -> str:
        return str(await flow.step(tell))

    async with shop.worker():
        assert await (await shop.start(buy, id="b")).result() == "followed"
    assert await shop.events() == [("order.told", "k")]


async def test_the_synchronous_face_is_refused_where_a_loop_runs(shop: Shop) -> None:
    with pytest.raises(WrongPlace, match="app.sync blocks, and an event loop runs in this thread"):
        shop.sync.status("x")


async def test_the_verbs_need_a_connection(shop: Shop) -> None:
    with pytest.raises(NotConnected, match=r"app 'shop' is not connected; use it inside 'async with shop.worker\(\):'"):
        await shop.status("x")
