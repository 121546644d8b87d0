"""Replay: the same history leads to the same place; code that has changed is told apart, in words; leaving memory."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from motet import App, Flow, Workflow
from motet.errors import Divergence
from motet.model.history import Fact, Recorded
from motet.runtime import logs
from tests.unit.rig import START, Rig, brief

ROOT = Path(__file__).parent.parent.parent
DATA = ROOT / "tests" / "data"

app = App("shop")


@app.step
async def charge(amount: int) -> int: ...


@charge.compensation
async def refund(amount: int | None) -> None: ...


@app.step
async def ship(what: str = "") -> str: ...


def workflow(function: Any) -> Workflow[Any, Any]:
    return Workflow(function, "shop/buy")


@pytest.fixture
def rigs() -> Iterator[list[Rig]]:
    made: list[Rig] = []
    yield made
    for rig in made:
        rig.machine.close()


# --- changed code (rule 8) ----------------------------------------------------------------------------------------


async def one_after_the_other(flow: Flow) -> None:
    await flow.step(charge, 1)
    flow.publish("paid", {})
    await flow.step(ship, "a")
    await flow.sleep(5)


async def removed(flow: Flow) -> None:
    await flow.step(ship, "a")
    await flow.sleep(5)


async def reordered(flow: Flow) -> None:
    await flow.step(ship, "a")
    await flow.step(charge, 1)
    flow.publish("paid", {})
    await flow.sleep(5)


async def renamed(flow: Flow) -> None:
    await flow.step(renamed_charge, 1)
    flow.publish("paid", {})
    await flow.step(ship, "a")


@app.step(name="debit")
async def renamed_charge(amount: int) -> int: ...


async def of_another_kind(flow: Flow) -> None:
    await flow.step(charge, 1)
    await flow.step(paid)


@app.step
async def paid() -> None: ...


async def publish_added(flow: Flow) -> None:
    flow.publish("started", {})
    await one_after_the_other(flow)


async def publish_removed(flow: Flow) -> None:
    await flow.step(charge, 1)
    await flow.step(ship, "a")


async def ended_early(flow: Flow) -> None:
    await flow.step(charge, 1)
    flow.publish("paid", {})


async def not_begun(flow: Flow) -> None:
    later = flow.step(charge, 1)
    await flow.step(ship, "a")
    await later


async def given_up(flow: Flow) -> None:
    task = asyncio.ensure_future(flow.step(charge, 1))
    await asyncio.sleep(0)
    task.cancel()
    await flow.step(ship, "a")


async def cut_before(flow: Flow) -> None:
    flow.publish("before.pivot", {})
    flow.pivot()
    await one_after_the_other(flow)


@pytest.mark.parametrize(
    ("changed", "position", "about", "code"),
    [
        (removed, 1, "step charge#1 (completed)", "waits for step ship#1"),
        (reordered, 1, "step charge#1 (completed)", "waits for step ship#1"),
        (renamed, 1, "step charge#1 (completed)", "waits for step debit#1"),
        (of_another_kind, 2, "publish paid#1 (published)", "has step paid#1 instead"),
        (publish_removed, 2, "publish paid#1 (published)", "waits for step ship#1"),
        (ended_early, 3, "step ship#1 (completed)", "has ended"),
        (not_begun, 1, "step charge#1 (completed)", "has not begun it"),
        (given_up, 1, "step charge#1 (completed)", "gave it up before it began"),
    ],
)
async def test_changed_code_is_told_apart_in_words(
    rigs: list[Rig], changed: Any, position: int, about: str, code: str
) -> None:
    rigs.append(rig := Rig(app, workflow(one_after_the_other)).start())
    rig.complete("charge#1", 1)
    rig.complete("ship#1", "x")
    with pytest.raises(Divergence) as error:
        rig.replay(workflow=workflow(changed))
    assert str(error.value) == f"position {position} of the history is about {about}; the code at this point {code}"


@pytest.mark.parametrize(("changed", "publish"), [(publish_added, "started#1"), (cut_before, "before.pivot#1")])
async def test_a_publish_without_a_row_before_recorded_facts_is_changed_code(
    rigs: list[Rig], changed: Any, publish: str
) -> None:
    rigs.append(rig := Rig(app, workflow(one_after_the_other)).start())
    rig.complete("charge#1", 1)
    with pytest.raises(Divergence) as error:
        rig.replay(workflow=workflow(changed))
    assert str(error.value) == (
        f"the code makes publish {publish} before position 1, where the history has no such record"
    )


async def test_the_right_code_goes_on_where_changed_code_has_diverged(rigs: list[Rig]) -> None:
    rigs.append(rig := Rig(app, workflow(one_after_the_other)).start())
    rig.complete("charge#1", 1)
    with pytest.raises(Divergence):
        rig.replay(workflow=workflow(removed))
    rigs.append(again := rig.replay())
    assert brief(again.commands) == ["RunAttempt ship#1"]


async def test_what_is_new_behind_the_recorded_part_is_no_divergence(rigs: list[Rig]) -> None:
    async def longer(flow: Flow) -> None:
        await one_after_the_other(flow)
        flow.publish("thanked", {})
        await flow.step(charge, 2)

    rigs.append(rig := Rig(app, workflow(one_after_the_other)).start())
    rig.complete("charge#1", 1)
    rigs.append(again := rig.replay(workflow=workflow(longer)))
    again.complete("ship#1", "x")
    again.fire("sleep#1")
    assert again.names[-2:] == ["thanked#1", "charge#2"]


async def test_changed_arguments_are_not_fatal(rigs: list[Rig]) -> None:
    async def dearer(flow: Flow) -> None:
        await flow.step(charge, 2)
        flow.publish("paid", {"much": True})
        await flow.step(ship, "b")

    rigs.append(rig := Rig(app, workflow(one_after_the_other)).start())
    rig.complete("charge#1", 1)
    rigs.append(again := rig.replay(workflow=workflow(dearer)))
    assert again.op("charge#1").digest != rig.rows[0].digest
    assert brief(again.commands) == ["RunAttempt ship#1"]


async def test_operations_made_in_another_order_are_the_same_operations(rigs: list[Rig]) -> None:
    """As versions of Python do: a global number would take it for changed code."""

    async def forwards(flow: Flow) -> None:
        await asyncio.gather(flow.step(charge, 1), flow.step(ship, "a"))

    async def backwards(flow: Flow) -> None:
        await asyncio.gather(flow.step(ship, "a"), flow.step(charge, 1))

    rigs.append(rig := Rig(app, workflow(forwards)).start())
    rig.complete("charge#1", 1)
    rigs.append(again := rig.replay(workflow=workflow(backwards)))
    assert brief(again.commands) == ["RunAttempt ship#1"]


async def test_the_first_settlement_of_an_operation_counts(rigs: list[Rig]) -> None:
    async def body(flow: Flow) -> None:
        await flow.step(charge, 1)
        await flow.step(ship, "a")

    rigs.append(rig := Rig(app, workflow(body)).start())
    rig.complete("charge#1", 1)
    assert rig.tell(Fact("charge#1", "step", "failed", START)) == []
    assert rig.op("charge#1").outcome == "completed"


# --- leaving memory (rule 6) --------------------------------------------------------------------------------------


async def closing(flow: Flow) -> None:
    """Tries everything that it must not do when it leaves memory."""
    ticks = _ticks(flow)
    await anext(ticks)
    flow.step(charge, 99)
    waiting = [asyncio.ensure_future(_stubborn(flow)), asyncio.ensure_future(flow.step(charge, 1))]
    try:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group, flow.scope():
            group.create_task(_stubborn(flow))
            await flow.step(ship, "a")
    finally:
        flow.publish("left.memory", {})
        flow.note("leaving")
        flow.pivot()
        with contextlib.suppress(BaseException):
            await flow.step(charge, 2)
        await flow.sleep(5)
        await asyncio.gather(*waiting)
        flow.restart()


async def _ticks(flow: Flow) -> AsyncIterator[int]:
    try:
        yield 1
    finally:
        flow.publish("generator.left", {})


async def _stubborn(flow: Flow) -> None:
    while True:
        with contextlib.suppress(BaseException):
            await flow.step(ship, "again and again")


async def test_leaving_memory_does_nothing_durable_and_warns_of_nothing(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rig = Rig(app, workflow(closing)).start()
        rig.complete("ship#1", "x")
        before = (rig.names, list(rig.commands), len(rig.rows))
        names = list(rig.machine.operations)
        machine = rig.machine
        machine.close()
        assert machine.flight == {} and machine.unrecorded == {} and machine.note is None and not machine.pivoted
        assert (names, list(rig.commands), len(rig.rows)) == before
        machine.close()
        del rig, machine
        gc.collect()
    assert caught == []
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


# --- log records --------------------------------------------------------------------------------------------------


async def test_a_bodys_log_records_carry_the_run_and_are_muted_in_replay(
    rigs: list[Rig], caplog: pytest.LogCaptureFixture
) -> None:
    logs.install()
    log = logging.getLogger("shop.flow")

    async def body(flow: Flow) -> None:
        log.warning("begins")
        try:
            await flow.step(charge, 1)
            log.warning("has charged")
            await flow.step(ship, "a")
        finally:
            log.warning("ends")

    rigs.append(rig := Rig(app, workflow(body)).start())
    rig.complete("charge#1", 1)
    assert [record.getMessage() for record in caplog.records] == ["begins", "has charged"]
    assert {(record.run, record.step, record.attempt) for record in caplog.records} == {("run", "", "")}
    rigs.append(again := rig.replay())
    assert len(caplog.records) == 2
    again.complete("ship#1", "x")
    assert caplog.records[-1].getMessage() == "ends"


# --- another Python, another process ------------------------------------------------------------------------------


async def everything(flow: Flow) -> list[object]:
    """What differs between versions of Python, if anything does: wait_for, TaskGroup, timeout, wait, gather."""
    seen: list[object] = [flow.random(), str(flow.uuid())]

    async def pair(number: int) -> int:
        first = await flow.step(charge, number)
        return first + await flow.step(charge, number + 1)

    seen.append(await asyncio.gather(pair(1), pair(10)))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(flow.step(ship, "slow"), 5)
    with contextlib.suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(pair(100 * number))
            await flow.step(charge.options(timeout=1), -1)
            raise ValueError
    done, _ = await asyncio.wait(
        [asyncio.ensure_future(pair(1)), asyncio.ensure_future(flow.sleep(3))], return_when="FIRST_COMPLETED"
    )
    seen.append(len(done))
    async with asyncio.timeout(50):
        await asyncio.sleep(1)
    seen.append(flow.now().isoformat())
    flow.publish("all.done", seen)
    return seen


def drive_everything() -> Rig:
    """The history of `everything`, as an owner writes it who lets the earliest timer ring when all else has settled."""
    rig = Rig(app, workflow(everything)).start()
    while rig.machine.final is None:
        flight = [op for op in rig.machine.flight.values() if op.name != "ship"]
        if flight:
            rig.complete(flight[-1].op, len(rig.rows))
            continue
        waiting = [op for op in rig.machine.operations.values() if op.kind == "timer" and not op.settled]
        if waiting:
            rig.fire(min(waiting, key=lambda op: op.due).op)
        for op in list(rig.machine.flight.values()):
            rig.complete(op.op, "late")
    return rig


def main(path: str) -> None:
    """Replay a recorded history fact by fact, and print what the machine asks for after each."""
    data = json.loads(Path(path).read_text())
    rig = Rig(app, workflow(everything))
    told = [brief(rig.machine.start())]
    for row in data["rows"]:
        recorded = Recorded(*row)
        told.append(brief(rig.machine.apply(recorded.position, recorded.fact)))
    print(json.dumps({"told": told, "result": rig.result}))
    rig.machine.close()


def test_a_history_recorded_with_python_3_11_replays_on_this_one() -> None:
    recorded = json.loads((DATA / "history_3_11.json").read_text())
    assert recorded["python"] == "3.11"
    for interpreter in _interpreters():
        for seed in ("0", "1"):
            printed = subprocess.run(
                [interpreter, "-c", "import sys; from tests.unit.test_machine_replay import main; main(sys.argv[1])",
                 str(DATA / "history_3_11.json")],
                env=_around(seed), cwd=ROOT, capture_output=True, text=True, check=True,
            )  # fmt: skip
            replayed = json.loads(printed.stdout)
            assert replayed == {"told": recorded["told"], "result": recorded["result"]}, interpreter


def _interpreters() -> Iterator[str]:
    """The running Python, and the newest of this machine if `make check` has prepared it."""
    yield sys.executable
    newest = ROOT / ".venv-newest" / "bin" / "python"  # `python -m tools.newest_python` makes it
    if newest.exists():
        yield str(newest)


def _around(seed: str) -> dict[str, str]:
    return {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT / "src")}


def record(path: Path) -> None:
    """Write the history that the test above replays: `python -c "from tests.unit.test_machine_replay import ..."`."""
    rig = drive_everything()
    fresh = Rig(app, workflow(everything))
    told = [brief(fresh.machine.start())]
    told += [brief(fresh.machine.apply(row.position, row.fact)) for row in rig.rows]
    data = {"python": f"{sys.version_info.major}.{sys.version_info.minor}", "rows": rig.rows, "told": told}
    path.write_text(json.dumps({**data, "result": rig.result}, indent=1) + "\n")
