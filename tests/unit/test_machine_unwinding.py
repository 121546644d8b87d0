"""Undoing: when it begins, in which order, with which arguments, what stops it, and who can help."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from motet import App, Flow, Retry, StepFailed
from motet.model.clock import SECOND
from motet.model.history import Fact
from motet.orchestration.commands import Enter, Finish, PassOn, Restart, Stick
from motet.orchestration.outcome import Raised, Returned
from tests.unit.rig import START, Rig, abandoned, attempts, brief

app = App("shop")
ONCE = Retry(attempts=1)


class Full(Exception):
    pass


@app.step(retry=ONCE, raises=[Full])
async def book(what: str) -> int: ...


@book.compensation(retry=ONCE)
async def unbook(booked: int | None, what: str) -> None: ...


@app.step(retry=ONCE, raises=[Full])
async def pay(amount: int, *, currency: str = "EUR") -> int: ...


@pay.compensation(retry=ONCE)
async def repay(paid: int) -> object: ...


@app.step(retry=ONCE)
async def look() -> int: ...


async def fail() -> None:
    raise Full


Drive = Callable[..., Rig]


@pytest.fixture
def drive() -> Iterator[Drive]:
    made: list[Rig] = []

    def start(function: Any, input: object = None, **options: Any) -> Rig:
        own = App("shop")
        made.append(Rig(own, own.workflow(**options)(function), input).start())
        return made[-1]

    yield start
    for rig in made:
        rig.machine.close()


def incidents(rig: Rig) -> list[dict[str, Any]]:
    """What the last command that entered `blocked` tells."""
    entered = [command for command in rig.commands if isinstance(command, Enter) and command.state == "blocked"]
    rows: list[dict[str, Any]] = msgspec.json.decode(entered[-1].error or "[]")
    return rows


def undone(rig: Rig) -> list[str]:
    return [op.target.op for op in rig.machine.operations.values() if op.kind == "compensation" and op.target]


# --- when and in which order --------------------------------------------------------------------------------------


async def test_unwinding_starts_when_every_created_operation_is_settled(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        await asyncio.gather(flow.step(book, "a"), flow.step(book, "b"))

    rig = drive(body)
    assert brief(rig.fail("book#2", Full())) == ["Abandon book#1"]
    assert rig.machine.state == "running" and undone(rig) == []
    assert brief(rig.complete("book#1", 7)) == ["RunAttempt unbook#1", "Enter compensating"]
    assert rig.machine.call_of(rig.op("unbook#1")) == ((7, "a"), {})
    assert brief(rig.complete("unbook#1")) == ["Finish failed"]


async def test_the_reverse_order_is_that_of_the_recorded_positions(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        await asyncio.gather(*(flow.step(book, name) for name in "abc"))
        raise Full

    rig = drive(body)
    for op in ("book#2", "book#3", "book#1"):
        rig.complete(op, 1)
    for op in ("unbook#1", "unbook#2", "unbook#3"):
        rig.complete(op)
    assert undone(rig) == ["book#1", "book#3", "book#2"]
    again = rig.replay()
    assert undone(again) == ["book#1", "book#3", "book#2"]
    again.machine.close()


async def test_compensations_run_one_after_the_other_also_those_of_parallel_branches(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(flow.step(book, "a"))
            group.create_task(flow.step(book, "b"))
        raise Full

    rig = drive(body)
    rig.complete("book#1", 1)
    assert attempts(rig.complete("book#2", 2)) == ["unbook#1"]
    assert attempts(rig.complete("unbook#1")) == ["unbook#2"]


async def test_a_step_without_compensation_and_a_declared_error_leave_nothing_to_undo(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        await flow.step(look)
        with contextlib.suppress(Full):
            await flow.step(book, "a")
        raise ValueError

    rig = drive(body)
    rig.complete("look#1", 1)
    assert brief(rig.fail("book#1", Full())) == ["Finish failed"]


async def test_a_run_that_completes_undoes_nothing(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        await flow.step(book, "a")

    rig = drive(body)
    assert brief(rig.complete("book#1", 1)) == ["Finish completed"]


async def test_tasks_that_the_body_leaves_running_are_stopped_and_their_steps_awaited_and_undone(drive: Drive) -> None:
    async def clean_up(flow: Flow) -> None:
        try:
            await flow.step(book, "left")
        finally:
            await flow.step(look)

    async def body(flow: Flow) -> None:
        task = asyncio.create_task(clean_up(flow))
        await flow.step(look)
        assert not task.done()
        raise Full

    rig = drive(body)
    rig.complete("look#1", 1)
    assert rig.machine.final is None
    rig.complete("look#2", 1)
    assert rig.machine.final is None
    rig.complete("book#1", 1)
    rig.complete("unbook#1")
    assert rig.end.state == "failed"


async def test_what_a_leftover_task_starts_while_it_is_stopped_is_stopped_too(drive: Drive) -> None:
    async def body(flow: Flow) -> str:
        async def parent() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                task = asyncio.create_task(child())
                await asyncio.sleep(0)
                assert not task.done()

        async def child() -> None:
            await flow.step(book, "a")

        task = asyncio.create_task(parent())
        await asyncio.sleep(0)
        assert not task.done()
        return "done"

    rig = drive(body)
    assert rig.result == "done"


# --- unknown outcomes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["fault", "timeout", "cut off", "unreadable result"])
async def test_when_nobody_knows_whether_it_happened_the_compensation_gets_none(drive: Drive, how: str) -> None:
    async def body(flow: Flow) -> None:
        await flow.step(book, "a")

    rig = drive(body)
    if how == "fault":
        rig.fail("book#1", OSError("lost reply"))
    elif how == "timeout":
        rig.time_out("book#1")
    elif how == "unreadable result":
        rig.complete("book#1", "seven")
    else:
        rig.stop()
        rig.cut_off("book#1")
    assert rig.machine.call_of(rig.op("unbook#1")) == ((None, "a"), {})
    rig.complete("unbook#1")
    assert rig.end.state == ("cancelled" if how == "cut off" else "failed")


async def test_a_compensation_that_does_not_admit_none_is_not_called_the_rest_is_undone_and_then_it_blocks(
    drive: Drive,
) -> None:
    async def body(flow: Flow) -> None:
        await flow.step(book, "a")
        await flow.step(pay, 5)

    rig = drive(body)
    rig.complete("book#1", 1)
    commands = rig.fail("pay#1", OSError("lost reply"))
    assert brief(commands) == ["Stick repay#1", "Enter compensating"]
    assert isinstance(commands[0], Stick)
    assert attempts(rig.stick(commands[0])) == ["unbook#1"]
    assert brief(rig.complete("unbook#1")) == ["Enter blocked"]
    (incident,) = incidents(rig)
    assert (incident["operation"], incident["undoes"], incident["unknown"]) == ("repay#1", "pay#1", True)
    assert "nobody knows whether pay#1 happened, and repay does not take None as its 'paid'" in incident["reason"]
    again = rig.replay()
    assert brief(again.commands) == [] and again.machine.state == "blocked"
    assert brief(again.skip("repay#1")) == ["Finish failed"]
    assert again.failure.type == "StepFailed"
    again.machine.close()


async def test_a_crash_before_the_stuck_row_asks_for_it_again(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        await flow.step(pay, 5)

    rig = drive(body)
    rig.fail("pay#1", OSError("lost reply"))
    again = rig.replay()
    assert brief(again.commands) == ["Stick repay#1"]
    again.machine.close()


async def test_the_steps_own_arguments_reach_a_compensation_that_asks_for_them(drive: Drive) -> None:
    shop = App("shop")

    @shop.step
    async def rent(car: str, days: int = 3, *, insured: bool = False) -> str: ...

    @rent.compensation
    async def give_back(rental: str | None, car: str, days: int, insured: bool) -> None: ...

    async def body(flow: Flow) -> None:
        await flow.step(rent, "beetle", insured=True)
        raise Full

    rig = drive(body)
    rig.complete("rent#1", "r1")
    assert rig.machine.call_of(rig.op("give_back#1")) == (("r1", "beetle", 3), {"insured": True})


# --- compensations that fail --------------------------------------------------------------------------------------


async def test_a_compensation_is_retried_by_its_own_policy_then_the_others_run_then_it_blocks(drive: Drive) -> None:
    shop = App("shop")

    @shop.step
    async def hold() -> int: ...

    @hold.compensation(retry=Retry(attempts=2, first=3, jitter=0))
    def release(held: int | None) -> None: ...

    async def body(flow: Flow) -> None:
        await flow.step(book, "a")
        await flow.step(hold)
        raise Full

    rig = drive(body, raises=[Full])
    rig.complete("book#1", 1)
    rig.complete("hold#1", 1)
    assert attempts(rig.fail("release#1", OSError("down"))) == ["release#1"]
    assert rig.op("release#1").due == rig.now + 3 * SECOND
    assert attempts(rig.time_out("release#1", 9)) == ["unbook#1"]
    assert brief(rig.complete("unbook#1")) == ["Enter blocked"]
    (incident,) = incidents(rig)
    assert incident["attempts"] == 2 and not incident["unknown"]
    assert "attempt 2 of release took longer than 9 s; it is a plain function, which cannot be stopped" in str(incident)

    assert brief(rig.retry()) == ["RunAttempt release#1", "Enter compensating"]
    assert (rig.op("release#1").attempts, rig.op("release#1").due) == (0, 0)
    rig.fail("release#1", OSError("still down"))
    again = rig.replay()
    assert attempts(again.commands) == ["release#1"] and again.op("release#1").attempts == 1
    again.complete("release#1")
    assert (again.end.state, again.failure.declared) == ("failed", f"{Full.__module__}.Full")
    again.machine.close()


async def test_what_a_compensation_returns_means_nothing(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        await flow.step(pay, 5)
        raise Full

    rig = drive(body)
    rig.complete("pay#1", 5)
    assert brief(rig.complete("repay#1", object())) == ["Finish failed"]


async def test_skipping_one_of_two_incidents_leaves_the_other_and_tells_so(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        await flow.step(book, "a")
        await flow.step(book, "b")
        raise Full

    rig = drive(body)
    rig.complete("book#1", 1)
    rig.complete("book#2", 2)
    rig.fail("unbook#1", OSError("one"))
    rig.fail("unbook#2", OSError("two"))
    assert [row["operation"] for row in incidents(rig)] == ["unbook#1", "unbook#2"]
    assert brief(rig.skip("unbook#1")) == ["Enter blocked"]
    assert [row["operation"] for row in incidents(rig)] == ["unbook#2"]
    assert brief(rig.skip("unbook#2")) == ["Finish failed"]


async def test_two_people_who_skip_the_same_do_no_harm(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        await flow.step(book, "a")
        await flow.step(book, "b")
        raise Full

    rig = drive(body)
    rig.complete("book#1", 1)
    rig.complete("book#2", 2)
    rig.fail("unbook#1", OSError())
    rig.fail("unbook#2", OSError())
    rig.skip("unbook#1")
    assert rig.skip("unbook#1") == []
    again = rig.replay()
    assert list(again.machine.stuck) == ["unbook#2"]
    again.machine.close()


async def test_a_skip_that_comes_when_another_person_has_asked_to_retry_is_too_late(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        await flow.step(book, "a")
        raise Full

    rig = drive(body)
    rig.complete("book#1", 1)
    rig.fail("unbook#1", OSError())
    rig.retry()
    assert rig.skip("unbook#1") == []
    rig.complete("unbook#1")
    assert rig.end.state == "failed"


async def test_retry_of_one_operation_leaves_the_others(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        await flow.step(book, "a")
        await flow.step(book, "b")
        raise Full

    rig = drive(body)
    rig.complete("book#1", 1)
    rig.complete("book#2", 2)
    rig.fail("unbook#1", OSError())
    rig.fail("unbook#2", OSError())
    assert attempts(rig.retry("unbook#2")) == ["unbook#2"]


# --- cancel and deadline ------------------------------------------------------------------------------------------


async def test_cancel_awaits_what_is_in_flight_then_undoes_all(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        await flow.step(book, "a")
        await flow.step(book, "b")

    rig = drive(body)
    rig.complete("book#1", 1)
    assert abandoned(rig.stop()) == ["book#2"]
    again = rig.replay()
    assert brief(again.commands) == ["Abandon book#2"]
    again.complete("book#2", 2)
    again.complete("unbook#1")
    again.complete("unbook#2")
    assert undone(again) == ["book#2", "book#1"]
    assert again.end.state == "cancelled"
    again.machine.close()


async def test_cancel_during_a_backoff_makes_the_step_unknown(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        await flow.step(book.options(retry=Retry(attempts=5)), "a")

    rig = drive(body)
    rig.fail("book#1", OSError("lost reply"))
    assert abandoned(rig.stop()) == ["book#1"]
    rig.cut_off("book#1")
    assert rig.rows[-1].attempt == 1
    assert rig.machine.call_of(rig.op("unbook#1")) == ((None, "a"), {})


async def test_cancel_without_compensation_undoes_nothing(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        await flow.step(book, "a")
        await flow.sleep(60)

    rig = drive(body)
    rig.complete("book#1", 1)
    assert brief(rig.stop(compensate=False)) == ["StopTimer sleep#1", "Finish cancelled"]


@pytest.mark.parametrize("compensate", [True, False])
async def test_a_deadline_undoes_unless_asked_not_to(drive: Drive, compensate: bool) -> None:
    async def body(flow: Flow) -> None:
        await flow.step(book, "a")
        await flow.sleep(60)

    rig = drive(body, deadline=30, compensate_on_deadline=compensate)
    rig.complete("book#1", 1)
    rig.tell(Fact("", "run", "deadline", rig.now, due=START + 30 * SECOND))
    assert (undone(rig) == ["book#1"]) is compensate
    if compensate:
        rig.complete("unbook#1")
    assert (rig.end.state, rig.failure.type) == ("failed", "DeadlineExceeded")
    assert "run 'run' did not finish by its deadline, 2023-11-14 22:13:50 UTC" in rig.failure.message


@pytest.mark.parametrize("kind", ["cancel", "deadline"])
@pytest.mark.parametrize("error", [Full, asyncio.CancelledError])
async def test_a_stop_during_unwinding_changes_nothing(drive: Drive, kind: Any, error: type[BaseException]) -> None:
    async def body(flow: Flow) -> None:
        await flow.step(book, "a")
        raise error

    rig = drive(body)
    rig.complete("book#1", 1)
    assert rig.stop(kind) == []
    rig.complete("unbook#1")
    assert (rig.end.state, rig.failure.type) == ("failed", error.__name__)


@pytest.mark.parametrize("kind", ["cancel", "deadline"])
async def test_a_stop_after_the_end_changes_nothing(drive: Drive, kind: Any) -> None:
    async def body(flow: Flow) -> str:
        return "done"

    rig = drive(body)
    assert rig.stop(kind) == []
    assert rig.result == "done"


async def test_a_body_may_clean_up_durably_when_it_is_cancelled(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        try:
            await flow.sleep(60)
        finally:
            await flow.step(look)
            flow.publish("cleaned.up", {})

    rig = drive(body)
    assert attempts(rig.stop()) == ["look#1"]
    assert brief(rig.complete("look#1", 1)) == ["Publish cleaned.up#1", "Finish cancelled"]


async def test_a_body_that_survives_its_cancel_completes(drive: Drive) -> None:
    async def body(flow: Flow) -> str:
        try:
            await flow.sleep(60)
        except asyncio.CancelledError:
            return "enough"
        return "slept"

    rig = drive(body)
    rig.stop()
    assert rig.result == "enough"


# --- both at once: facts that were positioned before the cancel was applied ---------------------------------------


async def test_a_result_and_the_record_of_being_cut_off_settle_a_step_once(drive: Drive) -> None:
    """The owner has recorded both, because the first was on its way to the disk when the cancel was applied."""

    async def body(flow: Flow) -> None:
        await flow.step(book, "a")

    rig = drive(body)
    completed = rig.machine.decide(rig.op("book#1"), Returned(7), START, START)
    rig.stop()
    rig.tell(completed)
    rig.tell(Fact("book#1", "step", "failed", START))
    assert rig.machine.call_of(rig.op("unbook#1")) == ((7, "a"), {})
    rig.complete("unbook#1")
    assert undone(rig) == ["book#1"]


# --- scopes -------------------------------------------------------------------------------------------------------


async def test_a_scope_is_undone_alone_before_its_error_goes_on(drive: Drive) -> None:
    async def body(flow: Flow) -> str:
        await flow.step(book, "outer")
        try:
            async with flow.scope():
                await flow.step(book, "inner")
                async with flow.scope():
                    await flow.step(book, "innermost")
                await fail()
        except Full:
            pass
        await flow.step(book, "after")
        return "done"

    rig = drive(body)
    for op in ("book#1", "book#2", "book#3"):
        rig.complete(op, 1)
    assert rig.machine.state == "compensating"
    rig.complete("unbook#1")
    assert brief(rig.complete("unbook#2")) == ["RunAttempt book#4", "Enter running"]
    rig.complete("book#4", 1)
    assert undone(rig) == ["book#3", "book#2"]
    assert rig.result == "done"


async def test_a_run_that_completes_in_the_drain_that_ends_a_scopes_undo_is_running_before_it_has_completed(
    drive: Drive,
) -> None:
    async def body(flow: Flow) -> str:
        try:
            async with flow.scope():
                await flow.step(book, "inner")
                await fail()
        except Full:
            return "done"

    rig = drive(body)
    rig.complete("book#1", 1)
    assert brief(rig.complete("unbook#1")) == ["Enter running", "Finish completed"]


async def test_what_is_left_of_a_scope_that_ended_well_is_undone_with_the_run(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        async with flow.scope():
            await flow.step(book, "inner")
        raise Full

    rig = drive(body)
    rig.complete("book#1", 1)
    assert undone(rig) == ["book#1"]


async def test_a_scope_waits_for_what_its_tasks_have_in_flight(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        async with flow.scope():
            await asyncio.gather(flow.step(book, "a"), flow.step(book, "b"))

    rig = drive(body)
    rig.fail("book#1", Full())
    assert undone(rig) == []
    rig.complete("book#2", 1)
    assert undone(rig) == ["book#2"]


async def test_what_a_scopes_tasks_have_in_flight_is_undone_before_the_body_goes_on(drive: Drive) -> None:
    async def body(flow: Flow) -> str:
        try:
            async with flow.scope():
                await asyncio.gather(flow.step(book, "a"), flow.step(book, "b"))
        except Full:
            return "done"
        return "?"

    rig = drive(body)
    rig.fail("book#1", Full())
    assert rig.machine.final is None
    rig.complete("book#2", 1)
    rig.complete("unbook#1")
    assert rig.result == "done"


async def test_a_cancel_during_a_scopes_undo_is_heard_when_it_is_done(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        try:
            async with flow.scope():
                await flow.step(book, "a")
                await fail()
        finally:
            flow.publish("left", {})

    rig = drive(body)
    rig.complete("book#1", 1)
    assert rig.stop() == []
    assert brief(rig.complete("unbook#1")) == ["Publish left#1", "Finish cancelled"]


async def test_a_cancel_during_a_scopes_undo_waits_until_it_is_done(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        await flow.step(book, "outer")
        async with flow.scope():
            await flow.step(book, "a")
            await flow.step(book, "b")
            raise Full

    rig = drive(body)
    for op in ("book#1", "book#2", "book#3"):
        rig.complete(op, 1)
    assert rig.stop() == []
    rig.complete("unbook#1")
    rig.complete("unbook#2")
    rig.complete("unbook#3")
    assert undone(rig) == ["book#3", "book#2", "book#1"]
    assert rig.end.state == "cancelled"


async def test_a_scope_that_a_left_task_is_undoing_is_undone_to_its_end_although_the_body_is_over(drive: Drive) -> None:
    async def part(flow: Flow) -> None:
        async with flow.scope():
            await flow.step(book, "a")
            await flow.step(book, "b")
            raise Full

    async def body(flow: Flow) -> str:
        task = asyncio.create_task(part(flow))
        await flow.step(look)
        assert not task.done()
        return "done"

    rig = drive(body)
    rig.complete("book#1", 1)
    rig.complete("book#2", 2)
    rig.complete("look#1", 1)
    assert rig.machine.final is None
    assert attempts(rig.complete("unbook#1")) == ["unbook#2"]
    rig.complete("unbook#2")
    assert rig.result == "done"


async def test_a_restart_out_of_a_scope_undoes_nothing(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        async with flow.scope():
            await flow.step(book, "a")
            flow.restart()

    rig = drive(body)
    assert brief(rig.complete("book#1", 1)) == ["Restart"]


async def test_a_generator_that_is_closed_inside_a_scope_undoes_nothing(drive: Drive) -> None:
    async def booked(flow: Flow) -> Any:
        async with flow.scope():
            yield await flow.step(book, "a")

    async def body(flow: Flow) -> int:
        async with contextlib.aclosing(booked(flow)) as numbers:
            async for number in numbers:
                return int(number)
        return 0

    rig = drive(body)
    rig.complete("book#1", 7)
    assert rig.result == 7


async def test_a_scope_whose_undo_needs_a_person_blocks_and_then_goes_on(drive: Drive) -> None:
    async def body(flow: Flow) -> str:
        try:
            async with flow.scope():
                await flow.step(book, "a")
                await fail()
        except Full:
            return "went on"

    rig = drive(body)
    rig.complete("book#1", 1)
    assert brief(rig.fail("unbook#1", OSError())) == ["Enter blocked"]
    assert brief(rig.skip("unbook#1")) == ["Enter running", "Finish completed"]


# --- pivot --------------------------------------------------------------------------------------------------------


async def test_after_the_pivot_nothing_is_undone_and_an_error_is_an_incident(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        await flow.step(book, "a")
        flow.pivot()
        with contextlib.suppress(Full):
            await flow.step(book, "b")
        raise ValueError("lost")

    rig = drive(body)
    assert brief(rig.complete("book#1", 1)) == ["Pivot pivot#1", "RunAttempt book#2"]
    assert brief(rig.fail("book#2", Full())) == ["Enter blocked"]
    (incident,) = incidents(rig)
    assert incident["operation"] == "failure#1" and "ValueError: lost" in incident["reason"]
    again = rig.replay()
    assert brief(again.skip("failure#1")) == ["Finish failed"]
    once_more = again.replay()
    assert once_more.end.state == "failed"
    once_more.machine.close()


async def test_a_step_that_fails_for_good_after_the_pivot_needs_a_person_who_may_retry_or_skip(drive: Drive) -> None:
    async def body(flow: Flow) -> object:
        flow.pivot()
        try:
            return await flow.step(book, "a")
        except StepFailed as error:
            return str(error)

    rig = drive(body)
    assert brief(rig.fail("book#1", OSError("down"))) == ["Enter blocked"]
    assert brief(rig.retry()) == ["RunAttempt book#1", "Enter running"]
    rig.fail("book#1", OSError("down"))
    rig.skip("book#1")
    assert "step book failed after 1 attempt: OSError: down" in rig.result

    rig = drive(body)
    rig.fail("book#1", OSError("down"))
    rig.retry()
    rig.complete("book#1", 7)
    assert rig.result == 7


async def test_steps_in_flight_at_the_pivot_are_behind_it(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        task = asyncio.ensure_future(flow.step(book, "a"))
        await flow.step(look)
        flow.pivot()
        await task
        raise ValueError

    rig = drive(body)
    rig.complete("look#1", 1)
    rig.complete("book#1", 1)
    assert undone(rig) == [] and rig.machine.state == "blocked"


async def test_cancel_after_the_pivot_is_an_incident(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        flow.pivot()
        await flow.step(book, "a")

    rig = drive(body)
    assert abandoned(rig.stop()) == ["book#1"]
    assert brief(rig.complete("book#1", 1)) == ["Enter blocked"]
    rig.skip("failure#1")
    assert rig.end.state == "cancelled"


async def test_cancel_of_a_run_that_is_blocked_behind_its_pivot_gives_the_stuck_step_up(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        flow.pivot()
        await flow.step(book, "a")

    rig = drive(body)
    rig.fail("book#1", OSError("down"))
    assert abandoned(rig.stop()) == ["book#1"]
    rig.cut_off("book#1")
    assert [row["operation"] for row in incidents(rig)] == ["failure#1"]
    again = rig.replay()
    assert list(again.machine.stuck) == ["failure#1"]
    again.machine.close()


async def test_a_body_that_ends_and_leaves_a_stuck_step_gives_it_up_and_waits_for_that_to_be_recorded(
    drive: Drive,
) -> None:
    async def body(flow: Flow) -> str:
        flow.pivot()
        task = asyncio.ensure_future(flow.step(book, "a"))
        await flow.step(look)
        assert not task.done()
        return "done"

    rig = drive(body)
    rig.fail("book#1", OSError("down"))
    assert abandoned(rig.complete("look#1", 1)) == ["book#1"]
    assert rig.machine.final is None and rig.machine.state == "running"
    rig.cut_off("book#1")
    assert rig.result == "done"


async def test_a_stuck_record_of_a_step_that_was_given_up_meanwhile_needs_nobody(drive: Drive) -> None:
    async def body(flow: Flow) -> str:
        flow.pivot()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(flow.step(book, "a"), 10)
        return "done"

    rig = drive(body)
    stuck = rig.machine.decide(rig.op("book#1"), Raised(OSError("down")), START, START)
    rig.fire("timer#1")
    assert abandoned(rig.tell(stuck)) == ["book#1"]
    rig.cut_off("book#1")
    assert rig.result == "done"


# --- restart ------------------------------------------------------------------------------------------------------


async def test_a_restart_awaits_what_is_in_flight(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        task = asyncio.ensure_future(flow.step(book, "a"))
        await flow.step(look)
        assert not task.done()
        flow.restart()

    rig = drive(body)
    assert abandoned(rig.complete("look#1", 1)) == ["book#1"]
    assert isinstance(rig.complete("book#1", 1)[-1], Restart)


@pytest.mark.parametrize("kind", ["cancel", "deadline"])
async def test_a_stop_while_a_restart_awaits_what_is_in_flight_stops_the_run(drive: Drive, kind: Any) -> None:
    async def body(flow: Flow) -> None:
        task = asyncio.ensure_future(flow.step(book, "a"))
        await flow.step(look)
        assert not task.done()
        flow.restart()

    rig = drive(body)
    rig.complete("look#1", 1)
    rig.stop(kind)
    rig.complete("book#1", 1)
    rig.complete("unbook#1")
    assert isinstance(rig.machine.final, Finish)
    assert rig.end.state == ("cancelled" if kind == "cancel" else "failed")


async def test_a_stop_that_was_positioned_behind_the_restart_is_passed_on_to_the_next_generation(drive: Drive) -> None:
    async def body(flow: Flow) -> None:
        await flow.step(look)
        flow.restart()

    rig = drive(body)
    rig.complete("look#1", 1)
    (command,) = rig.stop(reason="enough")
    assert isinstance(command, PassOn) and command.fact.payload == '{"reason":"enough"}'
    again = rig.replay()
    assert brief(again.commands) == ["Restart", "PassOn"]
    again.machine.close()
