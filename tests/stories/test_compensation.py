"""The worst cases of undoing, each named after the promise."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from motet import DeadlineExceeded, Flow, Retry, RunBlocked, RunCancelled, RunFailed, StepFailed, Workflow
from motet.errors import NotPossible
from tests.stories.conftest import ONCE, QUICK, Outside, Shop


class Full(Exception):
    pass


def books(shop: Shop, retry: Retry = ONCE, **options: Any) -> Any:
    """A step that books at a gate of its name, and what undoes it; `ghost` books but its reply is lost."""
    outside = shop.outside

    @shop.step(retry=retry, raises=[Full], **options)
    async def book(what: str) -> str:
        if what.startswith("full"):
            raise Full(what)
        if what.startswith("slow"):
            await outside.wait_at(what)
        outside.did(f"book {what}")
        if what.startswith("ghost"):
            raise ConnectionResetError("the reply is lost")
        if what == "slow full":
            raise Full(what)
        return f"<{what}>"

    @book.compensation(retry=QUICK)
    async def unbook(booked: str | None, what: str) -> None:
        outside.did(f"unbook {booked} {what}")

    return book


# --- gather -------------------------------------------------------------------------------------------------------


async def test_an_error_in_a_gather_waits_for_the_sibling_that_still_charges_and_undoes_it(
    shop: Shop, outside: Outside
) -> None:
    book = books(shop)

    @shop.workflow(raises=[Full])
    async def trip(flow: Flow) -> None:
        await asyncio.gather(flow.step(book, "slow hotel"), flow.step(book, "full flight"))

    async with shop.worker():
        run = await shop.start(trip, id="trip")
        await shop.until_status("trip", lambda status: bool(status.failed))
        assert outside.effects == []
        outside.open("slow hotel")
        with pytest.raises(Full):
            await run.result()
    assert outside.effects == ["book slow hotel", "unbook <slow hotel> slow hotel"]


async def test_gathered_steps_run_at_the_same_time(shop: Shop, outside: Outside) -> None:
    book = books(shop)

    @shop.workflow
    async def trip(flow: Flow) -> list[str]:
        return await asyncio.gather(*(flow.step(book, f"slow {number}") for number in range(20)))

    async with shop.worker():
        run = await shop.start(trip, id="trip")
        for number in range(20):
            await outside.reached(f"slow {number}")
        for number in reversed(range(20)):
            outside.open(f"slow {number}")
        assert await run.result() == [f"<slow {number}>" for number in range(20)]


# --- cancel and deadline while a step is in flight ----------------------------------------------------------------


def one_step(shop: Shop, what: str, deadline: float | None = None, **options: Any) -> Workflow[None, None]:
    book = books(shop, **options)

    @shop.workflow(deadline=deadline)
    async def trip(flow: Flow) -> None:
        await flow.step(book, "first")
        await flow.step(book, what)
        await flow.step(book, "never")

    return trip


async def test_cancel_while_a_step_is_in_flight_that_finishes(shop: Shop, outside: Outside) -> None:
    async with shop.worker():
        run = await shop.start(one_step(shop, "slow hotel"), id="trip")
        await outside.reached("slow hotel")
        await run.cancel(reason="changed my mind")
        await shop.until_stopped("trip")
        outside.open("slow hotel")
        with pytest.raises(RunCancelled):
            await run.result()
        status = await run.status()
    assert outside.effects[2:] == ["unbook <slow hotel> slow hotel", "unbook <first> first"]
    assert (status.state, status.error) == ("cancelled", "run 'trip' was cancelled: changed my mind")


async def test_cancel_while_a_step_is_in_flight_that_answers_no(shop: Shop, outside: Outside) -> None:
    async with shop.worker():
        run = await shop.start(one_step(shop, "slow full"), id="trip")
        await outside.reached("slow full")
        await run.cancel()
        await shop.until_stopped("trip")
        outside.open("slow full")
        with pytest.raises(RunCancelled):
            await run.result()
    assert "unbook <first> first" in outside.effects
    assert not any("unbook None" in effect for effect in outside.effects)


async def test_cancel_while_a_step_is_in_flight_that_fails_tries_it_no_more_and_undoes_the_unknown(
    shop: Shop, outside: Outside
) -> None:
    async with shop.worker():
        run = await shop.start(one_step(shop, "slow ghost", retry=Retry(attempts=None, first=0.001)), id="trip")
        await outside.reached("slow ghost")

        await run.cancel()
        await shop.until_stopped("trip")
        outside.open("slow ghost")
        with pytest.raises(RunCancelled):
            await run.result()
    assert outside.effects.count("book slow ghost") == 1
    assert outside.effects[2:] == ["unbook <slow ghost> slow ghost", "unbook <first> first"]


async def test_cancel_while_a_step_is_in_flight_that_times_out(shop: Shop, outside: Outside) -> None:
    async with shop.worker():
        run = await shop.start(one_step(shop, "slow hotel", timeout=0.2), id="trip")
        await outside.reached("slow hotel")
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
    assert outside.effects == ["book first", "unbook None slow hotel", "unbook <first> first"]


async def test_cancel_without_compensation_leaves_what_was_done(shop: Shop, outside: Outside) -> None:
    async with shop.worker():
        run = await shop.start(one_step(shop, "slow hotel"), id="trip")
        await outside.reached("slow hotel")
        await run.cancel(compensate=False)
        await shop.until_stopped("trip")
        outside.open("slow hotel")
        with pytest.raises(RunCancelled):
            await run.result()
    assert outside.effects == ["book first", "book slow hotel"]


async def test_a_cancel_twice_is_a_cancel(shop: Shop, outside: Outside) -> None:
    async with shop.worker():
        run = await shop.start(one_step(shop, "slow hotel"), id="trip")
        await outside.reached("slow hotel")
        await asyncio.gather(*(run.cancel() for _ in range(5)))
        await shop.until_stopped("trip")
        outside.open("slow hotel")
        with pytest.raises(RunCancelled):
            await run.result()
        with pytest.raises(NotPossible, match="run 'trip' has ended as cancelled; there is nothing to cancel"):
            await run.cancel()
    assert outside.effects[2:] == ["unbook <slow hotel> slow hotel", "unbook <first> first"]


async def test_a_deadline_while_a_step_is_in_flight_waits_for_it_and_undoes_all(shop: Shop, outside: Outside) -> None:
    async with shop.worker():
        run = await shop.start(one_step(shop, "slow hotel", deadline=0.05), id="trip")
        await outside.reached("slow hotel")
        await shop.until_stopped("trip")
        outside.open("slow hotel")
        with pytest.raises(RunFailed, match="run 'trip' did not finish by its deadline"):
            await run.result()
        assert (await run.status()).error_type == DeadlineExceeded.__name__
    assert outside.effects[2:] == ["unbook <slow hotel> slow hotel", "unbook <first> first"]


async def test_a_deadline_that_passed_while_no_worker_ran_ends_the_run_before_anything_else_begins(
    shop: Shop, outside: Outside
) -> None:
    trip = one_step(shop, "slow hotel", deadline=3600)
    async with shop.connect():
        await shop.start(trip, id="trip")
    shop.clock.ahead = 7200
    async with shop.worker():
        with pytest.raises(RunFailed, match="deadline"):
            await shop.result("trip")
    assert outside.effects == []


# --- unknown outcomes ---------------------------------------------------------------------------------------------


async def test_an_effect_whose_reply_is_lost_is_tried_again_with_the_same_key(shop: Shop, outside: Outside) -> None:
    @shop.step(retry=QUICK)
    async def charge(amount: int) -> str:
        outside.did(f"charge {amount}")
        if len(outside.effects) < 3:
            raise ConnectionResetError("the reply is lost")
        return "paid"

    @shop.workflow
    async def buy(flow: Flow) -> str:
        return await flow.step(charge, 5)

    async with shop.worker():
        run = await shop.start(buy, id="buy")
        assert await run.result() == "paid"
    assert len(outside.keys) == 3 and len(set(outside.keys)) == 1


async def test_an_effect_whose_reply_is_lost_also_on_the_last_attempt_is_undone_with_none(
    shop: Shop, outside: Outside
) -> None:
    book = books(shop, retry=QUICK)

    @shop.workflow
    async def trip(flow: Flow) -> None:
        await flow.step(book, "ghost hotel")

    async with shop.worker():
        run = await shop.start(trip, id="trip")
        with pytest.raises(RunFailed, match="step book failed after 3 attempts: ConnectionResetError"):
            await run.result()
    assert outside.effects == ["book ghost hotel"] * 3 + ["unbook None ghost hotel"]


async def test_a_body_that_catches_the_unknown_and_completes_keeps_it(shop: Shop, outside: Outside) -> None:
    book = books(shop)

    @shop.workflow
    async def trip(flow: Flow) -> str:
        try:
            return await flow.step(book, "ghost hotel")
        except StepFailed:
            return "by train"

    async with shop.worker():
        run = await shop.start(trip, id="trip")
        assert await run.result() == "by train"
    assert outside.effects == ["book ghost hotel"]


async def test_an_unknown_outcome_that_no_compensation_takes_blocks_the_run_naming_it_when_the_rest_is_undone(
    shop: Shop, outside: Outside
) -> None:
    book = books(shop)

    @shop.step(retry=ONCE)
    async def charge(amount: int) -> str:
        raise ConnectionResetError("the reply is lost")

    @charge.compensation
    async def refund(paid: str) -> None:  # motet: ok that is what is told here
        outside.did("refund")

    @shop.workflow
    async def trip(flow: Flow) -> None:
        await flow.step(book, "hotel")
        await flow.step(charge, 5)

    async with shop.worker():
        run = await shop.start(trip, id="trip")
        with pytest.raises(RunBlocked, match="refund#1: .*nobody knows whether charge#1 happened, and refund does not"):
            await run.result()
        assert outside.effects == ["book hotel", "unbook <hotel> hotel"]
        status = await run.status()
        (incident,) = status.incidents
        assert (incident.operation, incident.undoes, incident.unknown) == ("refund#1", "charge#1", True)
        await shop.skip("trip", note="looked at the bank: it was not charged")
        with pytest.raises(RunFailed):
            await shop.after_help("trip")
    assert outside.effects == ["book hotel", "unbook <hotel> hotel"]


# --- a compensation that fails for good ---------------------------------------------------------------------------


@pytest.mark.parametrize("way_out", ["retry", "skip"])
async def test_a_compensation_that_fails_for_good_lets_the_others_run_and_a_person_decides(
    shop: Shop, outside: Outside, way_out: str
) -> None:
    book = books(shop)
    broken = ["yes"]

    @shop.step
    async def charge(amount: int) -> str:
        return "paid"

    @charge.compensation(retry=QUICK)
    async def refund(paid: str | None) -> None:
        outside.did("refund")
        if broken:
            raise OSError("bank closed")

    @shop.workflow(raises=[Full])
    async def trip(flow: Flow) -> None:
        await flow.step(book, "hotel")
        await flow.step(charge, 5)
        await flow.step(book, "full flight")

    async with shop.worker():
        run = await shop.start(trip, id="trip")
        with pytest.raises(RunBlocked, match=r"refund#1: OSError: bank closed; see 'motet status trip'"):
            await run.result()
        assert outside.effects == ["book hotel", "refund", "refund", "refund", "unbook <hotel> hotel"]
        with pytest.raises(NotPossible, match="'unbook#1' of run 'trip' does not need a person; what does: refund#1"):
            await shop.skip("trip", "unbook#1")
        broken.clear()
        await getattr(shop, way_out)("trip", note="the bank is open again")
        with pytest.raises(Full):
            await shop.after_help("trip")
        with pytest.raises(NotPossible, match="run 'trip' is failed, not blocked; there is nothing to retry or skip"):
            await shop.retry("trip")
    assert outside.effects[5:] == (["refund"] if way_out == "retry" else [])


async def test_a_blocked_run_is_blocked_for_the_next_worker_too_and_two_people_may_help_at_once(
    impatient: Shop,
) -> None:
    shop, outside = impatient, impatient.outside
    broken = ["yes"]

    @shop.step
    async def charge(amount: int) -> str:
        return "paid"

    @charge.compensation(retry=ONCE)
    async def refund(paid: str | None, amount: int) -> None:
        outside.did(f"refund {amount}")
        if broken:
            raise OSError("bank closed")

    @shop.workflow
    async def trip(flow: Flow) -> None:
        await asyncio.gather(flow.step(charge, 5), flow.step(charge, 6))
        raise ValueError("no more")

    async with shop.worker():
        await shop.start(trip, id="trip")
        await shop.until_state("trip", "blocked")
    async with shop.worker():
        with pytest.raises(RunBlocked):
            await shop.result("trip")
        status = await shop.status("trip")
        assert [incident.operation for incident in status.incidents] == ["refund#1", "refund#2"]
        broken.clear()
        await asyncio.gather(
            shop.skip("trip", "refund#1"), shop.skip("trip", "refund#1"), shop.retry("trip", "refund#2")
        )
        with pytest.raises(RunFailed, match="no more"):
            await shop.after_help("trip")
    assert len(outside.effects) == 3


# --- scopes and pivots --------------------------------------------------------------------------------------------


async def test_a_scope_is_undone_alone(shop: Shop, outside: Outside) -> None:
    book = books(shop)

    @shop.workflow
    async def trip(flow: Flow) -> str:
        await flow.step(book, "hotel")
        try:
            async with flow.scope():
                await flow.step(book, "car")
                await flow.step(book, "full flight")
        except Full:
            return await flow.step(book, "train")
        return "flown"

    async with shop.worker():
        run = await shop.start(trip, id="trip")
        assert await run.result() == "<train>"
    assert outside.effects == ["book hotel", "book car", "unbook <car> car", "book train"]


async def test_a_run_that_ends_well_right_after_a_scopes_undo_has_completed(shop: Shop) -> None:
    book = books(shop)

    @shop.workflow
    async def trip(flow: Flow) -> str:
        try:
            async with flow.scope():
                await flow.step(book, "car")
                await flow.step(book, "full flight")
        except Full:
            pass
        return "home"

    async with shop.worker():
        run = await shop.start(trip, id="trip")
        assert await run.result() == "home"
    async with shop.connect():
        assert (await shop.status("trip")).state == "completed"


async def test_a_failure_after_the_pivot_undoes_nothing_and_is_an_incident(shop: Shop, outside: Outside) -> None:
    book = books(shop)

    @shop.workflow(raises=[Full])
    async def trip(flow: Flow) -> None:
        await flow.step(book, "hotel")
        flow.pivot()
        await flow.step(book, "full flight")  # motet: ok that is what is told here

    async with shop.worker():
        run = await shop.start(trip, id="trip")
        with pytest.raises(RunBlocked, match="failure#1: Full: full flight"):
            await run.result()
        assert (await run.status()).undo == []
        await shop.skip("trip")
        with pytest.raises(Full):
            await shop.after_help("trip")
    assert outside.effects == ["book hotel"]


async def test_a_step_after_the_pivot_that_fails_for_good_is_retried_by_a_person_and_the_run_goes_on(
    shop: Shop, outside: Outside
) -> None:
    @shop.step(retry=ONCE)
    async def ship() -> str:
        outside.did("ship")
        if len(outside.effects) == 1:
            raise OSError("no lorry")
        return "shipped"

    @shop.workflow
    async def trip(flow: Flow) -> str:
        flow.pivot()
        return await flow.step(ship)  # motet: ok that is what is told here

    async with shop.worker():
        run = await shop.start(trip, id="trip")
        with pytest.raises(RunBlocked, match="ship#1: OSError: no lorry"):
            await run.result()
        await shop.retry("trip")
        assert await shop.after_help("trip") == "shipped"


async def test_two_compensated_steps_of_parallel_branches_are_undone_last_first(shop: Shop, outside: Outside) -> None:
    book = books(shop)

    @shop.workflow
    async def trip(flow: Flow) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(flow.step(book, "slow a"))
            group.create_task(flow.step(book, "slow b"))
        raise ValueError

    async with shop.worker():
        run = await shop.start(trip, id="trip")
        await outside.reached("slow a")
        await outside.reached("slow b")
        outside.open("slow b")
        await shop.until_status("trip", lambda status: len(status.done) == 1)
        outside.open("slow a")
        with pytest.raises(RunFailed):
            await run.result()
    assert outside.effects[2:] == ["unbook <slow a> slow a", "unbook <slow b> slow b"]


async def test_a_compensation_that_hangs_is_timed_out_tried_again_and_then_an_incident(
    shop: Shop, outside: Outside
) -> None:
    @shop.step
    async def charge() -> str:
        return "paid"

    @charge.compensation(retry=Retry(attempts=2, first=0.001), timeout=0.05)
    async def refund(paid: str | None) -> None:
        outside.did("refund")
        await outside.gate("never").wait()

    @shop.workflow
    async def trip(flow: Flow) -> None:
        await flow.step(charge)
        raise ValueError

    async with shop.worker():
        run = await shop.start(trip, id="trip")
        with pytest.raises(RunBlocked, match="attempt 2 of refund took longer than 0.05 s"):
            await run.result()
    assert outside.effects == ["refund", "refund"]
