"""Steps: what an attempt knows of itself, timeouts, what hangs, options for one call, retry policies."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from motet import Attempt, Flow, Retry, RunFailed, StepFailed, attempt
from tests.stories.conftest import ONCE, QUICK, Outside, Shop


async def test_an_attempt_knows_its_key_number_token_run_and_step(shop: Shop) -> None:
    seen: list[Attempt] = []

    @shop.step(retry=QUICK)
    async def charge(amount: int) -> None:
        seen.append(attempt())
        if len(seen) == 1:
            raise OSError

    @shop.step
    def ship() -> None:
        seen.append(attempt())

    @shop.workflow
    async def buy(flow: Flow) -> None:
        await flow.step(charge, 5)
        await flow.step(ship)

    async with shop.worker():
        run = await shop.start(buy, id="b")
        await run.result()
    assert [(one.number, one.token, one.run, one.step, one.operation) for one in seen] == [
        (1, 1, "b", "charge", "charge#1"),
        (2, 1, "b", "charge", "charge#1"),
        (1, 1, "b", "ship", "ship#1"),
    ]
    assert [one.key for one in seen] == [f"{run.uid}.1.charge#1", f"{run.uid}.1.charge#1", f"{run.uid}.1.ship#1"]


async def test_the_fencing_token_grows_with_each_owner(shop: Shop, outside: Outside) -> None:
    tokens: list[int] = []

    @shop.step
    async def look(number: int) -> None:
        tokens.append(attempt().token)

    @shop.workflow
    async def watch(flow: Flow) -> None:
        await flow.step(look, 1)
        await flow.sleep(0.3)
        await flow.step(look, 2)

    async with shop.worker():
        await shop.start(watch, id="w")
        await shop.until_status("w", lambda status: bool(status.done))
    async with shop.worker():
        await shop.result("w")
    assert tokens[0] < tokens[1]


async def test_an_async_step_that_takes_too_long_is_cancelled_and_tried_again(shop: Shop, outside: Outside) -> None:
    @shop.step(retry=QUICK, timeout=timedelta(milliseconds=50))
    async def charge() -> int:
        if attempt().number < 3:
            try:
                await outside.gate("never").wait()
            finally:
                outside.did(f"let go {attempt().number}")
        return attempt().number

    @shop.workflow
    async def buy(flow: Flow) -> int:
        return await flow.step(charge)

    async with shop.worker():
        assert await (await shop.start(buy, id="b")).result() == 3
    assert outside.effects == ["let go 1", "let go 2"]


async def test_an_async_step_that_finishes_its_work_although_it_was_cancelled_has_finished(shop: Shop) -> None:
    @shop.step(retry=ONCE, timeout=0.05)
    async def charge() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "charged all the same"
        return ""

    @shop.workflow
    async def buy(flow: Flow) -> str:
        return await flow.step(charge)

    async with shop.worker():
        assert await (await shop.start(buy, id="b")).result() == "charged all the same"


async def test_a_plain_step_that_hangs_is_abandoned_and_that_is_said(shop: Shop) -> None:
    hanging = threading.Event()

    @shop.step(retry=ONCE, timeout=0.05)
    def charge() -> str:
        hanging.wait(20)
        return "too late"

    @shop.workflow
    async def buy(flow: Flow) -> str:
        try:
            return await flow.step(charge)
        except StepFailed as error:
            return str(error)

    async with shop.worker():
        said = await (await shop.start(buy, id="b")).result()
        hanging.set()
    assert "attempt 1 of shop/charge took longer than 0.05 s" in said
    assert "it is a plain function, which cannot be stopped: its thread goes on alone" in said


async def test_hanging_plain_steps_do_not_take_the_places_of_others(tmp_path: Path) -> None:
    shop = Shop(tmp_path, sync_threads=2)
    hanging = threading.Event()

    @shop.step(retry=ONCE, timeout=0.1)
    def hang() -> None:
        hanging.wait(20)

    @shop.step
    def work(number: int) -> int:
        return number

    @shop.workflow
    async def run(flow: Flow) -> int:
        stuck = [asyncio.ensure_future(flow.step(hang)) for _ in range(4)]
        done = await asyncio.gather(*(flow.step(work, number) for number in range(5)))
        await asyncio.gather(*stuck, return_exceptions=True)
        return sum(done)

    async with shop.worker():
        assert await (await shop.start(run, id="r")).result() == 10
        hanging.set()


async def test_options_hold_for_one_call(shop: Shop, outside: Outside) -> None:
    @shop.step(retry=ONCE)
    async def charge(amount: int) -> int:
        outside.did("charge")
        if len(outside.effects) in (1, 2, 4):
            raise OSError
        return amount

    @charge.compensation
    async def refund(amount: int | None) -> None:
        outside.did("refund")

    @shop.workflow
    async def buy(flow: Flow) -> int:
        first = await flow.step(charge.options(retry=QUICK), 1)
        return first + await flow.step(charge, 2)

    async with shop.worker():
        run = await shop.start(buy, id="b")
        with pytest.raises(RunFailed, match="step charge failed after 1 attempt"):
            await run.result()
    assert outside.effects == ["charge", "charge", "charge", "charge", "refund", "refund"]


@pytest.mark.parametrize(
    ("retry", "tries"),
    [
        (Retry(attempts=4, first=0.001), 4),
        (Retry(attempts=4, first=0.001, on=(ValueError,)), 1),
        (Retry(attempts=4, first=0.001, on=(OSError,)), 4),
        (Retry(attempts=4, first=0.001, never=(ConnectionError,)), 1),
    ],
)
async def test_which_errors_are_tried_again(shop: Shop, outside: Outside, retry: Retry, tries: int) -> None:
    @shop.step(retry=retry)
    async def charge() -> None:
        outside.did("charge")
        raise ConnectionError

    @shop.workflow
    async def buy(flow: Flow) -> None:
        await flow.step(charge)

    async with shop.worker():
        with pytest.raises(RunFailed):
            await (await shop.start(buy, id="b")).result()
    assert len(outside.effects) == tries


async def test_a_backoff_outlives_the_worker(shop: Shop, outside: Outside) -> None:
    @shop.step(retry=Retry(attempts=2, first=timedelta(hours=1), cap=timedelta(hours=1), jitter=0))
    async def charge() -> str:
        outside.did(f"attempt {attempt().number}")
        if attempt().number == 1:
            raise OSError("down")
        return "paid"

    @shop.workflow
    async def buy(flow: Flow) -> str:
        return await flow.step(charge)

    async with shop.worker():
        await shop.start(buy, id="b")
        status = await shop.until_status("b", lambda status: any(one.last_error for one in status.current))
        assert status.current[0].next_attempt_at is not None
    async with shop.worker():
        await shop.until_status("b", lambda status: status.state == "waiting")
        assert outside.effects == ["attempt 1"]
    shop.clock.ahead = 3601
    async with shop.worker():
        assert await shop.result("b") == "paid"
    assert outside.effects == ["attempt 1", "attempt 2"]


async def test_a_step_that_exits_fails_and_takes_nobody_with_it(shop: Shop) -> None:
    @shop.step(retry=ONCE)
    async def leave() -> None:
        raise SystemExit(3)

    @shop.step(retry=ONCE)
    def leave_too() -> None:
        raise SystemExit(3)

    @shop.workflow
    async def run(flow: Flow) -> list[str]:
        found = await asyncio.gather(flow.step(leave), flow.step(leave_too), return_exceptions=True)
        return [str(error) for error in found]

    async with shop.worker():
        result = await (await shop.start(run, id="r")).result()
    assert all("SystemExit: 3" in said for said in result)


async def test_events_of_a_body_are_in_the_log_once_each_with_their_keys(shop: Shop) -> None:
    @shop.step
    async def charge() -> None: ...

    @shop.workflow
    async def buy(flow: Flow) -> None:
        flow.publish("purchase.begun", {"n": 1})
        await flow.step(charge)
        flow.publish("purchase.paid", {"n": 1}, key="k1")
        flow.publish("purchase.paid", {"n": 2}, key="k2")

    async with shop.worker():
        await (await shop.start(buy, id="b")).result()
    assert await shop.events() == [("purchase.begun", "b"), ("purchase.paid", "k1"), ("purchase.paid", "k2")]
