"""The machine: identities, one resolution at a time, drains as units, attempts as facts, values from history."""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from motet import App, Flow, Retry, StepFailed
from motet.errors import (
    EndlessLoop,
    NeverAwaited,
    NotInWorkflow,
    PayloadTooLarge,
    StepCalledDirectly,
    UnknownWorkflow,
    WrongPlace,
    WrongType,
)
from motet.model.clock import SECOND, as_datetime
from motet.model.history import Fact
from motet.orchestration import machine as machine_module
from motet.orchestration.commands import Publish, RunAttempt, StartChild, StartTimer
from motet.orchestration.outcome import Raised, Returned
from tests.unit.rig import START, Rig, abandoned, attempts, brief

app = App("shop")
NOW = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


class Declined(Exception):
    def __init__(self, reason: str, code: int) -> None:
        super().__init__(reason)
        self.code = code


@dataclass
class Basket:
    owner: str
    items: list[str] = field(default_factory=list)


@app.step(retry=Retry(attempts=3, first=10, jitter=0), raises=[Declined])
async def charge(amount: int) -> int: ...


@app.step
async def ship(what: str = "") -> str: ...


@app.step
async def pack(basket: Basket) -> Basket: ...


@app.event("basket.packed", key="owner")
@dataclass
class Packed:
    owner: str


@pytest.fixture
def rigs() -> Iterator[list[Rig]]:
    made: list[Rig] = []
    yield made
    for rig in made:
        rig.machine.close()


@pytest.fixture
def drive(rigs: list[Rig]) -> Any:
    """Start a machine of a workflow function, which is registered nowhere else."""

    def start(function: Any, input: object = None, **options: Any) -> Rig:
        own = App("shop")
        own.registry.include(app.registry)
        rigs.append(Rig(own, own.workflow(**options)(function), input).start())
        return rigs[-1]

    return start


# --- identity (rule 4) --------------------------------------------------------------------------------------------


async def test_an_operation_is_called_by_name_and_occurrence(drive: Any) -> None:
    async def body(flow: Flow) -> None:
        first = flow.step(charge, 1)
        await flow.step(ship, "a")
        flow.publish("x.happened", {})
        await asyncio.sleep(5)
        await flow.step(charge, 2)
        await first

    rig: Rig = drive(body)
    rig.complete("ship#1", "x")
    rig.fire("sleep#1")
    assert rig.names == ["charge#1", "ship#1", "x.happened#1", "sleep#1", "charge#2"]


async def test_the_place_is_taken_when_the_step_is_made_and_it_begins_when_it_is_awaited(drive: Any) -> None:
    async def body(flow: Flow) -> list[int]:
        first, second = flow.step(charge, 1), flow.step(charge, 2)
        return [await second, await first]

    rig: Rig = drive(body)
    assert attempts(rig.commands) == ["charge#2"]
    rig.complete("charge#2", 20)
    rig.complete("charge#1", 10)
    assert rig.result == [20, 10]


async def test_effect_keys_come_from_uid_generation_and_operation_never_from_the_business_id() -> None:
    async def body(flow: Flow) -> None:
        await flow.step(charge, 1)

    workflow = App("shop").workflow(body)
    keys = set()
    for uid, generation, id in [("a", 1, "june"), ("a", 1, "july"), ("a", 2, "june"), ("b", 1, "june")]:
        rig = Rig(app, workflow, uid=uid, generation=generation, id=id).start()
        keys.add(rig.machine.key_of(rig.op("charge#1")))
        rig.machine.close()
    assert keys == {"a.1.charge#1", "a.2.charge#1", "b.1.charge#1"}


async def test_a_childs_default_id_is_another_one_for_each_run_and_generation_of_the_same_id() -> None:
    shop = App("shop")

    @shop.workflow
    async def part(flow: Flow) -> None: ...

    @shop.workflow
    async def whole(flow: Flow) -> None:
        await flow.child(part)

    ids = []
    for uid, generation in [("a", 1), ("a", 2), ("b", 1), ("a", 1)]:
        rig = Rig(shop, whole, uid=uid, generation=generation).start()
        ids.append(rig.op("part#1").child_id or "")
        rig.machine.close()
    assert all(id.startswith("run/part#1~") for id in ids)
    assert len(set(ids)) == 3 and ids[0] == ids[3]


# --- one resolution at a time (rule 1) ----------------------------------------------------------------------------


async def test_the_loop_is_drained_between_two_facts_of_one_batch(drive: Any) -> None:
    order: list[str] = []

    async def branch(flow: Flow, name: str) -> None:
        await flow.step(ship, name)
        order.append(name)
        await flow.step(charge, len(order))

    async def body(flow: Flow) -> None:
        await asyncio.gather(branch(flow, "a"), branch(flow, "b"))

    rig: Rig = drive(body)
    assert attempts(rig.complete("ship#2", "b")) == ["charge#1"]
    assert attempts(rig.complete("ship#1", "a")) == ["charge#2"]
    assert order == ["b", "a"]
    assert rig.op("charge#1").arguments == "[1]"


async def test_a_timer_and_a_result_in_one_batch_are_told_one_after_the_other(drive: Any) -> None:
    async def body(flow: Flow) -> str:
        try:
            async with asyncio.timeout(10):
                return await flow.step(ship, "a")
        except TimeoutError:
            return "late"

    rig: Rig = drive(body)
    rig.fire("timer#1")
    rig.complete("ship#1", "there")
    assert rig.result == "late"

    rig = drive(body)
    position = rig.keep(rig.machine.decide(rig.op("ship#1"), Returned("there"), START, START))
    fired = rig.keep(Fact("timer#1", "timer", "fired", START))
    rig.do(rig.machine.apply(position.position, position.fact))
    rig.do(rig.machine.apply(fired.position, fired.fact))
    assert rig.result == "there"


async def test_what_an_abandoned_step_did_is_kept_and_not_delivered(drive: Any) -> None:
    async def body(flow: Flow) -> str:
        try:
            await asyncio.wait_for(flow.step(ship, "a"), 10)
        except TimeoutError:
            await flow.step(charge, 1)
        return "went on"

    rig: Rig = drive(body)
    assert abandoned(rig.fire("timer#1")) == ["ship#1"]
    assert rig.complete("ship#1", "late") == []
    assert rig.op("ship#1").result == '"late"'
    rig.complete("charge#1", 1)
    assert rig.result == "went on"
    again = rig.replay()
    assert again.result == "went on"
    again.machine.close()


async def test_an_abandoned_step_that_fails_is_not_tried_again(drive: Any) -> None:
    async def body(flow: Flow) -> None:
        try:
            await asyncio.wait_for(flow.step(charge, 1), 10)
        except TimeoutError:
            await flow.step(ship, "a")

    rig: Rig = drive(body)
    rig.fire("timer#1")
    rig.fail("charge#1", OSError())
    assert [row.kind for row in rig.rows if row.op == "charge#1"] == ["failed"]


async def test_a_retry_that_was_on_its_way_when_the_step_was_abandoned_still_settles_it(drive: Any) -> None:
    async def body(flow: Flow) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(flow.step(charge, 1), 10)

    rig: Rig = drive(body)
    retrying = rig.machine.decide(rig.op("charge#1"), Raised(OSError()), START, START)
    rig.fire("timer#1")
    assert abandoned(rig.tell(retrying)) == ["charge#1"]
    rig.cut_off("charge#1")
    assert rig.result is None


async def test_a_step_that_is_given_up_in_the_drain_that_began_it_never_starts(drive: Any) -> None:
    async def body(flow: Flow) -> str:
        task = asyncio.create_task(_await(flow.step(charge, 1)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return "done"

    rig: Rig = drive(body)
    assert brief(rig.commands) == ["Finish completed"]


# --- a drain is a unit (rule 2) -----------------------------------------------------------------------------------


async def test_a_last_publish_and_the_end_of_the_run_are_commands_of_one_drain(drive: Any) -> None:
    async def body(flow: Flow) -> int:
        paid = await flow.step(charge, 1)
        flow.publish(Packed("ann"))
        return paid

    rig: Rig = drive(body)
    assert brief(rig.complete("charge#1", 7)) == ["Publish basket.packed#1", "Finish completed"]


async def test_a_publish_is_asked_for_although_the_body_goes_on_to_wait(drive: Any) -> None:
    async def body(flow: Flow) -> None:
        flow.publish("question.asked", {"n": 1}, key="q1")
        await flow.step(charge, 1)

    rig: Rig = drive(body)
    command = rig.commands[0]
    assert isinstance(command, Publish) and isinstance(rig.commands[1], RunAttempt)
    assert (command.event.type, command.event.subject, command.event.data) == ("question.asked", "q1", '{"n":1}')
    assert rig.machine.unrecorded == {}


async def test_a_publish_without_a_row_is_sent_again_after_replay_and_only_then(drive: Any) -> None:
    async def body(flow: Flow) -> None:
        await flow.step(charge, 1)
        flow.publish("x.happened", {})
        await flow.step(ship, "a")

    rig: Rig = drive(body)
    rig.complete("charge#1", 1)
    again = rig.replay(rig.rows[:1])
    assert brief(again.commands) == ["Publish x.happened#1", "RunAttempt ship#1"]
    once = again.replay()
    assert brief(once.commands) == ["RunAttempt ship#1"]
    once.machine.close()


async def test_facts_of_one_batch_leave_the_publishes_of_their_drains_without_rows_and_that_is_no_divergence(
    drive: Any,
) -> None:
    async def branch(flow: Flow, name: str) -> None:
        await flow.step(ship, name)
        flow.publish(f"{name}.shipped", {})

    async def body(flow: Flow) -> None:
        await asyncio.gather(branch(flow, "a"), branch(flow, "b"), branch(flow, "c"))

    rig: Rig = drive(body)
    for name in ("ship#1", "ship#2"):  # both have their place before either was applied
        rig.keep(rig.machine.decide(rig.op(name), Returned("x"), START, START))
    again = rig.replay()
    assert brief(again.commands) == ["Publish a.shipped#1", "Publish b.shipped#1", "RunAttempt ship#3"]
    assert [row.applied for row in again.rows] == [0, 0, 2, 2]
    again.machine.close()


# --- an attempt is one command, its outcome a recorded fact (rule 3) ----------------------------------------------


async def test_backoff_and_attempts_are_facts_that_replay_repeats(drive: Any) -> None:
    async def body(flow: Flow) -> int:
        return await flow.step(charge, 1)

    rig: Rig = drive(body)
    assert attempts(rig.fail("charge#1", OSError("down"))) == ["charge#1"]
    due = rig.op("charge#1").due
    assert due == rig.now + 10 * SECOND
    assert (rig.rows[0].kind, rig.rows[0].attempt, rig.rows[0].due) == ("retrying", 1, due)
    again = rig.replay()
    assert attempts(again.commands) == ["charge#1"]
    assert (again.op("charge#1").due, again.op("charge#1").attempts) == (due, 1)
    again.fail("charge#1", OSError("down"))
    assert again.op("charge#1").due == again.now + 20 * SECOND
    again.fail("charge#1", OSError("down for good"))
    assert again.end.state == "failed"
    assert again.failure.type == "StepFailed"
    assert "step charge failed after 3 attempts: OSError: down for good" in again.failure.message
    assert "whether its effect happened is unknown" in again.failure.message


async def test_a_declared_error_is_an_answer_caught_by_its_class_with_its_fields(drive: Any) -> None:
    async def body(flow: Flow) -> list[object]:
        try:
            await flow.step(charge, 1)
        except Declined as error:
            return [str(error), error.code]
        return []

    rig: Rig = drive(body)
    rig.fail("charge#1", Declined("no money", 51))
    assert rig.rows[0].kind == "answered"
    assert rig.result == ["no money", 51]


async def test_a_timeout_is_a_fault_and_says_which_attempt_took_too_long(drive: Any) -> None:
    async def body(flow: Flow) -> None:
        await flow.step(charge.options(retry=Retry(attempts=1)), 1)

    rig: Rig = drive(body)
    rig.time_out("charge#1", 2.5)
    assert "attempt 1 of shop/charge took longer than 2.5 s" in rig.failure.message


async def test_an_unencodable_result_is_not_tried_again_because_the_effect_has_happened(drive: Any) -> None:
    async def body(flow: Flow) -> str:
        try:
            await flow.step(charge, 1)
        except StepFailed as error:
            return str(error)
        return ""

    rig: Rig = drive(body)
    rig.complete("charge#1", object())
    assert rig.rows[0].kind == "failed"
    assert "the result of step shop/charge is not JSON-able" in rig.result


@pytest.mark.parametrize("value", ["seven", None, {"n": 7}])
async def test_a_result_of_the_wrong_type_fails_the_step_at_once(drive: Any, value: object) -> None:
    async def body(flow: Flow) -> None:
        await flow.step(charge, 1)

    rig: Rig = drive(body)
    rig.complete("charge#1", value)
    assert "the result of step shop/charge is not int" in rig.failure.message


# --- what the body hears (rule 7) ---------------------------------------------------------------------------------


async def test_arguments_are_recorded_when_the_step_is_made_whatever_the_body_changes_later(drive: Any) -> None:
    async def body(flow: Flow) -> list[str]:
        basket = Basket("ann", ["apple"])
        made = flow.step(pack, basket)
        basket.items.append("worm")
        packed = await made
        return basket.items + packed.items

    rig: Rig = drive(body)
    (basket,), _ = rig.machine.call_of(rig.op("pack#1"))
    assert basket == Basket("ann", ["apple"])
    basket.items.append("what the first attempt does to its arguments")
    (basket,), _ = rig.machine.call_of(rig.op("pack#1"))
    assert basket == Basket("ann", ["apple"])
    rig.complete("pack#1", basket)
    assert rig.result == ["apple", "worm", "apple"]


async def test_a_result_is_delivered_decoded_live_as_in_replay(drive: Any) -> None:
    seen: list[Basket] = []

    async def body(flow: Flow) -> None:
        seen.append(await flow.step(pack, Basket("ann")))
        seen[-1].items.append("of the body")
        await flow.step(charge, 1)

    mine = Basket("ann", ["of the step"])
    rig: Rig = drive(body)
    rig.complete("pack#1", mine)
    again = rig.replay()
    assert mine == Basket("ann", ["of the step"])
    assert seen == [Basket("ann", ["of the step", "of the body"])] * 2
    again.machine.close()


async def test_the_input_is_decoded_for_each_replay(drive: Any) -> None:
    async def body(flow: Flow, basket: Basket) -> list[str]:
        basket.items.append("of the body")
        await flow.step(charge, 1)
        return basket.items

    rig: Rig = drive(body, Basket("ann"))
    again = rig.replay()
    again.complete("charge#1", 1)
    assert again.result == ["of the body"]


async def test_now_random_and_uuid_come_from_history(drive: Any) -> None:
    seen: list[list[object]] = []

    async def body(flow: Flow) -> None:
        seen.append([flow.now(), flow.random(), flow.uuid()])
        await flow.step(charge, 1)
        seen[-1] += [flow.now(), flow.random(), flow.uuid()]
        await asyncio.sleep(60)
        seen[-1] += [flow.now()]
        await flow.step(charge, 2)

    rig: Rig = drive(body)
    random.seed(1)
    rig.complete("charge#1", 1)
    rig.fire("sleep#1")
    random.seed(2)
    rig.replay().machine.close()
    assert seen[0] == seen[1]
    assert seen[0][0] == NOW
    assert seen[0][3] == NOW + timedelta(seconds=1)
    assert seen[0][6] == NOW + timedelta(seconds=61)
    assert isinstance(seen[0][2], uuid.UUID) and seen[0][2].version == 4 and seen[0][2] != seen[0][5]


async def test_time_never_runs_backwards_in_a_body(drive: Any) -> None:
    async def body(flow: Flow) -> list[datetime]:
        before = flow.now()
        await flow.step(charge, 1)
        return [before, flow.now()]

    rig: Rig = drive(body)
    rig.outcome("charge#1", Returned(1), seconds=-3600)
    assert rig.result[0] == rig.result[1]


# --- refusals -----------------------------------------------------------------------------------------------------


async def test_a_step_called_directly_in_a_body_is_refused_and_anywhere_else_is_the_plain_function(drive: Any) -> None:
    @app.step(name="pure")
    def pure(number: int) -> int:
        return number + 1

    async def body(flow: Flow) -> int:
        return pure(1)

    rig: Rig = drive(body)
    assert rig.failure.type == StepCalledDirectly.__name__
    assert "step shop/pure was called directly" in rig.failure.message
    assert "write: await flow.step(pure, ...)" in rig.failure.message
    assert pure(1) == 2


async def test_a_compensation_called_directly_in_a_body_is_refused(drive: Any) -> None:
    shop = App("shop")

    @shop.step
    def pay() -> int:
        return 1

    @pay.compensation
    def repay(paid: int | None) -> int | None:
        return paid

    async def body(flow: Flow) -> None:
        repay(1)

    rig: Rig = drive(body)
    assert "compensation repay was called directly in a workflow body" in rig.failure.message
    assert repay(1) == 1


async def test_a_step_that_is_never_awaited_is_an_error(drive: Any) -> None:
    async def body(flow: Flow) -> str:
        flow.step(charge, 1)
        return "forgot"

    rig: Rig = drive(body)
    assert rig.failure.type == NeverAwaited.__name__
    assert "created charge#1 and never awaited it" in rig.failure.message


async def test_a_step_that_is_never_awaited_before_a_restart_is_an_error_too(drive: Any) -> None:
    async def body(flow: Flow) -> None:
        flow.step(charge, 1)
        flow.restart()

    rig: Rig = drive(body)
    assert rig.failure.type == NeverAwaited.__name__


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda flow: flow.step(charge, "much"), WrongType, "the arguments of step shop/charge is not"),
        (lambda flow: flow.step(charge, object()), Exception, "an argument of step shop/charge is not JSON-able"),
        (lambda flow: flow.step(charge), TypeError, "missing a required argument: 'amount'"),
        (lambda flow: flow.step(ship, "x" * 3_000_000), PayloadTooLarge, "the limit is 2,097,152"),
        (lambda flow: flow.step(lambda: 1), WrongType, "decorate the function with @app.step"),
        (lambda flow: flow.child(charge), WrongType, "decorate the function with @app.workflow"),
        (lambda flow: flow.child(flows_alone, 1), WrongType, "takes no input; start it without one"),
        (lambda flow: flow.child(stranger), UnknownWorkflow, "is not registered in this app; include its module"),
        (lambda flow: flow.publish(Basket("x")), WrongType, "Basket is not a declared event"),
        (lambda flow: flow.publish("nul", "a\0b"), Exception, "holds a NUL character"),
        (lambda flow: flow.note(""), Exception, "it must have 1 to 512"),
    ],
)
async def test_a_bad_value_is_an_error_at_the_call_and_leaves_nothing(
    drive: Any, call: Any, error: type[Exception], message: str
) -> None:
    async def body(flow: Flow) -> str:
        with pytest.raises(error) as caught:
            call(flow)
        return str(caught.value)

    rig: Rig = drive(body)
    assert message in rig.result
    assert brief(rig.commands) == ["Finish completed"]


@app.workflow
async def flows_alone(flow: Flow) -> None: ...


@App("other").workflow
async def stranger(flow: Flow) -> None: ...


@pytest.mark.parametrize(
    "call",
    [
        lambda: app.start("shop/x", id="a"),
        lambda: app.publish("x", {}),
        lambda: app.cancel("a"),
        lambda: app.retry("a"),
        lambda: app.skip("a"),
        lambda: app.status("a"),
        lambda: app.result("a"),
        app.runs,
    ],
)
async def test_the_verbs_of_the_app_are_refused_in_a_body(drive: Any, call: Any) -> None:
    async def body(flow: Flow) -> None:
        await call()

    rig: Rig = drive(body)
    assert rig.failure.type == "PublishInWorkflow"
    assert "inside a workflow body would be done again in replay" in rig.failure.message


async def test_flow_is_refused_outside_of_its_own_body(drive: Any) -> None:
    flows: list[Flow] = []

    async def body(flow: Flow) -> None:
        flows.append(flow)
        await flow.step(charge, 1)

    rig: Rig = drive(body)
    for verb in (lambda: flows[0].publish("x", {}), lambda: flows[0].step(charge, 1), flows[0].now, flows[0].random):
        with pytest.raises(WrongPlace, match="flow works only in the body of its own run, 'run'"):
            verb()
    assert rig.names == ["charge#1"]

    async def thief(flow: Flow) -> None:
        flows[0].publish("x", {})

    other: Rig = drive(thief)
    assert other.failure.type == "WrongPlace"


async def test_io_threads_and_as_completed_are_refused(drive: Any) -> None:
    async def threads(flow: Flow) -> None:
        await asyncio.to_thread(print)  # motet: ok that it is refused is the test

    async def completed(flow: Flow) -> None:
        for step in asyncio.as_completed([flow.step(charge, 1), flow.step(charge, 2)]):
            await step

    for body in (threads, completed):
        assert drive(body).failure.type == NotInWorkflow.__name__


async def test_a_body_that_never_waits_is_stopped(drive: Any, rigs: list[Rig]) -> None:
    async def body(flow: Flow) -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(EndlessLoop, match="loops without end"):
        drive(body)
    own = App("shop")
    Rig(own, own.workflow(body)).machine.close()


async def test_system_exit_in_a_body_ends_the_run_and_nothing_else(drive: Any) -> None:
    async def body(flow: Flow) -> None:
        raise SystemExit(3)

    rig: Rig = drive(body)
    assert (rig.end.state, rig.failure.type) == ("failed", "SystemExit")

    async def in_a_task(flow: Flow) -> None:
        async def leave() -> None:
            raise SystemExit(3)

        await asyncio.create_task(leave())

    assert drive(in_a_task).failure.type == "SystemExit"


async def test_a_body_that_cancels_itself_fails(drive: Any) -> None:
    async def body(flow: Flow) -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "as if nothing were"

    rig: Rig = drive(body)
    assert (rig.end.state, rig.failure.type) == ("failed", "CancelledError")


async def test_generator_exit_raised_by_a_body_is_an_error_like_any_other(drive: Any) -> None:
    async def body(flow: Flow) -> None:
        raise GeneratorExit

    assert drive(body).failure.type == "GeneratorExit"


async def test_nobody_can_cancel_the_ending_unseen(drive: Any) -> None:
    async def body(flow: Flow) -> None:
        async def spoil() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                for task in asyncio.all_tasks():  # motet: ok the order does not matter here
                    task.cancel()

        task = asyncio.create_task(spoil())
        await asyncio.sleep(0)
        assert not task.done()
        raise ValueError

    with pytest.raises(WrongPlace, match="has cancelled the ending of the run"):
        drive(body)


# --- limits (rule 8) ----------------------------------------------------------------------------------------------


async def test_a_long_history_warns_once_and_is_refused_in_the_end(
    drive: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert (machine_module.WARN_OPERATIONS, machine_module.MAX_OPERATIONS) == (5_000, 50_000)
    monkeypatch.setattr(machine_module, "WARN_OPERATIONS", 5)
    monkeypatch.setattr(machine_module, "MAX_OPERATIONS", 9)

    async def body(flow: Flow) -> None:
        for number in range(20):
            await flow.step(charge, number)

    rig: Rig = drive(body)
    for number in range(1, 10):
        rig.complete(f"charge#{number}", number)
    assert rig.failure.type == "HistoryTooLong"
    assert "run 'run' has 9 operations" in rig.failure.message and "flow.restart" in rig.failure.message
    assert [record.getMessage() for record in caplog.records] == [
        "run 'run' has 5 operations; its replay grows with each; end rounds with flow.restart(input)"
    ]
    caplog.clear()
    rig.replay().machine.close()
    assert caplog.records == []


async def test_what_the_limit_stops_can_still_be_undone(drive: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_module, "WARN_OPERATIONS", 2)
    monkeypatch.setattr(machine_module, "MAX_OPERATIONS", 3)
    shop = App("shop")

    @shop.step
    async def book() -> int: ...

    @book.compensation
    async def unbook(booked: int | None) -> None: ...

    async def body(flow: Flow) -> None:
        for _ in range(20):
            await flow.step(book)

    rig: Rig = drive(body)
    for number in (1, 2, 3):
        rig.complete(f"book#{number}", number)
    for number in (1, 2, 3):
        rig.complete(f"unbook#{number}")
    assert rig.failure.type == "HistoryTooLong"


# --- verbs --------------------------------------------------------------------------------------------------------


async def test_a_detached_child_gives_its_id_and_is_not_cancelled_with_its_parent(rigs: list[Rig]) -> None:
    shop = App("shop")

    @shop.workflow
    async def part(flow: Flow, n: int) -> None: ...

    @shop.workflow
    async def whole(flow: Flow) -> str:
        return await flow.child(part, 1, id="other", detached=True)

    rigs.append(rig := Rig(shop, whole).start())
    assert isinstance(rig.commands[0], StartChild)
    assert brief(rig.stop()) == []
    again = rig.replay()
    rigs.append(again)
    assert brief(again.commands) == ["StartChild part#1"]
    again.tell(Fact("part#1", "child", "completed", START, '"other"'))
    assert again.end.state == "cancelled"

    rigs.append(rig := Rig(shop, whole).start())
    rig.tell(Fact("part#1", "child", "completed", START, '"other"'))
    assert rig.result == "other"


async def test_a_child_that_was_given_up_is_started_all_the_same_after_a_crash_so_that_it_can_report(
    rigs: list[Rig],
) -> None:
    shop = App("shop")

    @shop.workflow
    async def part(flow: Flow) -> None: ...

    @shop.workflow
    async def whole(flow: Flow) -> None:
        await flow.child(part)

    rigs.append(rig := Rig(shop, whole).start())
    assert abandoned(rig.stop()) == ["part#1"]
    rigs.append(again := rig.replay())
    assert brief(again.commands) == ["StartChild part#1", "Abandon part#1"]


async def test_a_renamed_workflow_keeps_the_name_of_its_operations(rigs: list[Rig]) -> None:
    shop = App("shop")

    @shop.workflow(aliases=["part"])
    async def better_part(flow: Flow) -> None: ...

    @shop.workflow
    async def whole(flow: Flow) -> None:
        await flow.child(better_part)

    rigs.append(rig := Rig(shop, whole).start())
    assert rig.names == ["part#1"]


async def test_a_note_is_told_and_told_again_after_a_crash(drive: Any) -> None:
    async def body(flow: Flow) -> None:
        flow.note("one")
        flow.note("two")
        await flow.step(charge, 1)

    rig: Rig = drive(body)
    assert brief(rig.commands) == ["Note", "Note", "RunAttempt charge#1"]
    again = rig.replay()
    assert brief(again.commands) == ["Note", "RunAttempt charge#1"]
    assert again.machine.note == "two"
    again.machine.close()


async def test_sleep_is_a_timer_of_its_own_and_a_timeout_another(drive: Any) -> None:
    async def body(flow: Flow) -> None:
        async with asyncio.timeout(30):
            await flow.sleep(timedelta(seconds=10))

    rig: Rig = drive(body)
    assert [(c.op.op, c.op.due) for c in rig.commands if isinstance(c, StartTimer)] == [
        ("timer#1", START + 30 * SECOND),
        ("sleep#1", START + 10 * SECOND),
    ]
    assert brief(rig.fire("sleep#1")) == ["StopTimer timer#1", "Finish completed"]


async def test_who_sleeps_for_ages_sleeps_until_the_end_of_the_calendar(drive: Any) -> None:
    async def body(flow: Flow) -> None:
        await flow.sleep(1e15)

    rig: Rig = drive(body)
    assert as_datetime(rig.op("sleep#1").due).year == 9999


async def test_timers_that_the_body_leaves_behind_are_forgotten(drive: Any) -> None:
    fired: list[int] = []

    async def body(flow: Flow) -> None:
        asyncio.get_running_loop().call_later(60, fired.append, 1)

    rig: Rig = drive(body)
    assert brief(rig.commands) == ["StartTimer timer#1", "StopTimer timer#1", "Finish completed"]


async def test_a_restart_ends_the_generation_with_its_next_input(drive: Any) -> None:
    async def body(flow: Flow, number: int) -> None:
        await flow.step(charge, number)
        flow.restart(number + 1)

    rig: Rig = drive(body, 1)
    rig.complete("charge#1", 1)
    assert rig.restart.input == "2"


@pytest.mark.parametrize("verb", [lambda flow: flow.restart("many"), lambda flow: flow.restart()])
async def test_a_restart_with_a_wrong_input_is_refused(drive: Any, verb: Any) -> None:
    async def body(flow: Flow, number: int) -> None:
        verb(flow)

    rig: Rig = drive(body, 1)
    assert rig.failure.type == "WrongType"


async def test_a_restart_in_a_task_of_the_body_is_refused(drive: Any) -> None:
    async def body(flow: Flow) -> None:
        async def leave() -> None:
            flow.restart()

        await asyncio.create_task(leave())

    rig: Rig = drive(body)
    assert "call it in the body itself, not in one of its tasks" in rig.failure.message


async def test_an_input_that_no_longer_fits_the_code_fails_nothing(drive: Any) -> None:
    async def body(flow: Flow, number: int) -> None: ...

    own = App("shop")
    rig = Rig(own, own.workflow(body), "one")
    with pytest.raises(WrongType, match="the input of run 'run' is not int"):
        rig.start()
    rig.machine.close()


async def _await(awaitable: Any) -> Any:
    return await awaitable
