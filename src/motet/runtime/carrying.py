"""How each command of a machine becomes mutations, and each inbox message becomes a fact."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from motet.errors import RunExists
from motet.model.codec import plain
from motet.model.failure import decode_failure, encode_fault
from motet.model.history import Fact, FactKind, Recorded
from motet.model.identity import child_uid, effect_key
from motet.model.run import Parked
from motet.orchestration import awaiting
from motet.orchestration import commands as c
from motet.orchestration.machine import Machine
from motet.orchestration.operation import Operation
from motet.orchestration.outcome import Interrupted
from motet.runtime.announcing import run_became
from motet.runtime.awaited import registration, wait_name
from motet.runtime.suspects import accuse
from motet.store.mutations import (
    AppendEvent,
    BeginGeneration,
    EndRun,
    EndWait,
    EnterState,
    Mutation,
    PutInbox,
    ShowProgress,
    StartRun,
)  # fmt: skip
from motet.store.protocol import Receipt

if TYPE_CHECKING:
    from motet.runtime.driver import Driver

log = logging.getLogger("motet.worker")

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class Drain:
    """What one drain has asked for.

    Args:
        resumed: it is what replay left over: parts of it may have been carried out before a crash.
    """

    __slots__ = ("durable", "resumed", "submitted", "unit")

    def __init__(self, resumed: bool) -> None:
        self.resumed = resumed
        self.unit: list[Mutation] = []
        self.submitted: list[Callable[[], None]] = []  # to do once the unit is on its way, never before it
        self.durable: list[Callable[[Receipt], None]] = []  # to do once the unit is on disk


def carry_out(driver: Driver, command: c.Command, drain: Drain) -> None:
    """Add to the drain what the command asks for."""
    _ACTIONS[type(command)](driver, command, drain)


def _abandon(driver: Driver, command: c.Abandon, drain: Drain) -> None:
    op = command.op
    if op.kind == "child":
        uid = _uid_of_child(driver, op)
        key = f"cancel:{effect_key(driver.run.uid, driver.run.generation, op.op)}"
        drain.unit.append(PutInbox(uid, key, "cancel", None, driver.house.clock.now()))
    else:
        drain.submitted.append(lambda: driver.launching.settle_abandoned(op))


def _stick(driver: Driver, command: c.Stick, drain: Drain) -> None:
    op = command.op
    target = op.target.op if op.target is not None else None
    payload = msgspec.json.encode({"type": "UnknownOutcome", "message": command.reason}).decode()
    fact = Fact(op.op, op.kind, "stuck", driver.house.clock.now(), payload, op.attempts, target=target)
    drain.submitted.append(lambda: driver.record(fact))


def _start_timer(driver: Driver, command: c.StartTimer, drain: Drain) -> None:
    op = command.op

    def fire() -> None:
        driver.timers.pop(op.op, None)
        if not driver.leaving:
            driver.record(Fact(op.op, "timer", "fired", driver.house.clock.now()))

    driver.timers[op.op] = driver.house.timers.at(op.due, fire)


def _stop_timer(driver: Driver, command: c.StopTimer, drain: Drain) -> None:
    timer = driver.timers.pop(command.op.op, None)
    if timer is not None:
        timer.cancel()


def _start_wait(driver: Driver, command: c.StartWait, drain: Drain) -> None:
    drain.unit.append(registration(driver, command.op))


def _stop_wait(driver: Driver, command: c.StopWait, drain: Drain) -> None:
    drain.unit.append(EndWait(driver.run.uid, wait_name(driver, command.op)))


def _publish(driver: Driver, command: c.Publish, drain: Drain) -> None:
    run, event, op = driver.run, command.event, command.op
    now = driver.house.clock.now()
    subject = event.subject if event.subject is not None else run.id
    _row(driver, drain, op, Fact(op.op, "publish", "published", now, None, digest=op.digest, target=subject))
    drain.unit.append(
        AppendEvent(
            driver.machine.key_of(op), run.workflow, event.type, subject, driver.machine.now, now,
            run.conversation, run.uid, event.data, event.version, event.recipient, run.traceparent,
        )
    )  # fmt: skip


def _pivot(driver: Driver, command: c.Pivot, drain: Drain) -> None:
    op = command.op
    _row(driver, drain, op, Fact(op.op, "pivot", "pivoted", driver.house.clock.now()))


def _change(driver: Driver, command: c.Change, drain: Drain) -> None:
    op = command.op
    _row(driver, drain, op, Fact(op.op, "change", "changed", driver.house.clock.now()))


def _row(driver: Driver, drain: Drain, op: Operation, fact: Fact) -> None:
    """A fact that the workflow itself has made: recorded with the drain, not delivered."""
    position = driver.next_position
    driver.next_position += 1
    machine = driver.machine
    run = driver.run
    drain.unit.append(Recorded(run.uid, run.generation, position, machine.position, *fact, op.site))
    machine.apply(position, fact)


def _start_child(driver: Driver, command: c.StartChild, drain: Drain) -> None:
    op, run, house = command.op, driver.run, driver.house
    workflow = op.workflow
    assert workflow is not None and op.child_id is not None
    now = house.clock.now()
    parent = None if op.detached else f"{run.uid}.{run.generation}.{op.op}"
    child = StartRun(
        uid=_uid_of_child(driver, op), id=op.child_id, workflow=workflow.name, version=workflow.version,
        state="running", generation=1, epoch=1, owner=house.id, input=op.arguments, result=None, error=None,
        current=None, note=None, attributes=run.attributes, conversation=run.conversation, cause=run.uid,
        parent=parent, created_at=now, started_at=now, ended_at=None,
        deadline_at=None if workflow.deadline is None else now + workflow.deadline, wake_at=None, crashes=0,
        parked=None, python=PYTHON, fingerprint=house.registry.fingerprint, queue=workflow.queue,
        priority=workflow.priority, traceparent=run.traceparent,
    )  # fmt: skip
    # After a crash nobody knows whether it has been started: then it is put back for whoever claims it.
    if drain.resumed or not house.make_room(child):
        child = child.unowned()
    drain.unit.append(child)

    def started(receipt: Receipt) -> None:
        winner = receipt.lost.get(child.uid)
        if winner is not None:
            error = RunExists(f"the id '{child.id}' belongs to another run, of {winner.workflow}; choose another id")
            driver.record(Fact(op.op, "child", "failed", house.clock.now(), encode_fault(error, trace=False)))
            return
        house.adopt(child, receipt)
        if op.detached:
            payload = msgspec.json.encode(child.id).decode()
            driver.record(Fact(op.op, "child", "completed", house.clock.now(), payload, digest=op.digest))

    drain.durable.append(started)


def _uid_of_child(driver: Driver, op: Operation) -> str:
    return child_uid(driver.run.uid, driver.run.generation, op.op, driver.run.started_at)


def _note(driver: Driver, command: c.Note, drain: Drain) -> None:
    if drain.resumed and command.text == driver.run.note:
        return
    driver.run = driver.run._replace(note=command.text)
    drain.unit.append(ShowProgress(driver.run.uid, None, command.text))


def _enter(driver: Driver, command: c.Enter, drain: Drain) -> None:
    run = driver.run
    driver.run = run._replace(state=command.state, error=command.error)
    parked: Parked | None = "incident" if command.state == "blocked" else None
    drain.unit.append(EnterState(run.uid, command.state, command.error, parked, driver.house.registry.fingerprint))
    if command.state == "blocked":
        if run.state != "blocked":  # what is told is that it stands still now; another incident is in its status
            now = driver.house.clock.now()
            name = f"{run.uid}.{run.generation}.blocked.{driver.next_position}"
            drain.unit.append(run_became(run, "blocked", command.error, now, name))
        blocked = driver.run
        drain.durable.append(lambda _: driver.house.blocked(blocked))


def _restart(driver: Driver, command: c.Restart, drain: Drain) -> None:
    generation = driver.run.generation + 1
    now = driver.house.clock.now()
    consumed = msgspec.json.encode(driver.machine.consumed).decode() if driver.machine.consumed else None
    version = _next_version(driver, command.input)
    drain.unit.append(BeginGeneration(driver.run.uid, generation, command.input, now, consumed, version))
    drain.durable.append(lambda _: driver.begin_generation(command.input, generation, now, consumed, version))


def _next_version(driver: Driver, input: str | None) -> int:
    run, registry = driver.run, driver.house.registry
    chosen, newest = registry.successor(run.workflow, run.version, input), registry.workflows[run.workflow]
    if chosen is not newest:
        log.warning(
            "run '%s' restarts as v%d, for v%d of %s cannot read its input; let v%d take what flow.restart gives",
            run.id, chosen.version, newest.version, run.workflow, newest.version,
        )  # fmt: skip
    return chosen.version


def _pass_on(driver: Driver, command: c.PassOn, drain: Drain) -> None:
    if command.fact.kind == "cancel":  # a deadline is looked at anew
        key = f"cancel:{driver.run.generation + 1}"
        message = PutInbox(driver.run.uid, key, "cancel", command.fact.payload, driver.house.clock.now())
        drain.unit.append(message)
        # When the next generation begins: one that restarts all the time would always be gone when the inbox is read.
        driver.hear(message)


def _finish(driver: Driver, command: c.Finish, drain: Drain) -> None:
    run = driver.run
    now = driver.house.clock.now()
    drain.unit.append(EndRun(run.uid, command.state, command.result, command.error, now))
    drain.unit.append(run_became(run, command.state, command.error, now, f"{run.uid}.{command.state}"))
    if run.parent is not None:
        uid, _, _ = run.parent.partition(".")
        message = {"parent": run.parent, "id": run.id, "state": command.state}
        told = msgspec.json.encode({**message, "result": command.result, "error": command.error}).decode()
        drain.unit.append(PutInbox(uid, f"child:{run.uid}", "child", told, now))
    ended = run._replace(state=command.state, result=command.result, error=command.error, ended_at=now)
    drain.durable.append(lambda _: driver.end(ended))


_ACTIONS: dict[type, Callable[[Driver, Any, Drain], None]] = {
    c.Abandon: _abandon,
    c.Stick: _stick,
    c.StartTimer: _start_timer,
    c.StopTimer: _stop_timer,
    c.StartWait: _start_wait,
    c.StopWait: _stop_wait,
    c.Publish: _publish,
    c.Pivot: _pivot,
    c.Change: _change,
    c.StartChild: _start_child,
    c.Note: _note,
    c.Enter: _enter,
    c.Restart: _restart,
    c.PassOn: _pass_on,
    c.Finish: _finish,
}


def cut_off(op: Operation) -> Interrupted:
    """Why an operation that nobody waits for any more is not tried again."""
    last = f"; the last attempt failed: {decode_failure(op.error)}" if op.error else ""
    return Interrupted(f"{op.op} was not finished when the workflow stopped waiting for it{last}")


# --- the inbox -----------------------------------------------------------------------------------------------


def fact_of(machine: Machine, message: PutInbox, at: int) -> Fact | None:
    """What the message means to this run; None if it means nothing (any more)."""
    if message.kind == "child":
        return _child_ended(machine, message, at)
    if message.kind == "cancel":
        return Fact("", "run", "cancel", at, message.payload)
    if message.kind == "retry":
        return Fact("", "run", "retry", at, message.payload)
    if message.kind == "skip":
        stuck = machine.stuck.get(plain(message.payload)["op"]) if message.payload else None
        if stuck is None:
            return None
        target = stuck.target.op if stuck.target is not None else None
        return Fact(stuck.op, stuck.kind, "skipped", at, message.payload, stuck.attempts, target=target)
    return None


def _child_ended(machine: Machine, message: PutInbox, at: int) -> Fact | None:
    told = plain(message.payload or "{}")
    _, generation, name = told["parent"].split(".", 2)
    op = machine.operations.get(name)
    if int(generation) != machine.identity.generation or op is None or op.settled:
        return None
    if told["state"] == "completed":
        return Fact(op.op, "child", "completed", at, told["result"], digest=op.digest)
    kind: FactKind = "answered" if told["error"] and decode_failure(told["error"]).declared else "failed"
    return Fact(op.op, "child", kind, at, told["error"], digest=op.digest)


# --- what status shows ---------------------------------------------------------------------------------------


def current_of(driver: Driver) -> str | None:
    """The operations in flight, as JSON, with the one that is accused; and behind which position all has been asked for
    (`applied`), which is what a change of the code wants to know (`orchestration.changing`)."""
    rows = [_describe(driver, op) for op in driver.machine.operations.values() if op.in_flight or op.stuck]
    return msgspec.json.encode(rows).decode() if rows else None


def _describe(driver: Driver, op: Operation) -> dict[str, Any]:
    row: dict[str, Any] = {"operation": op.op, "kind": op.kind, "name": op.name, "site": op.site}
    row["applied"] = driver.machine.position if not driver.machine.unrecorded else -1
    if op.callee is not None:
        flying = driver.launching.flying.get(op.op)
        row["attempt"] = op.attempts + 1 if flying or not op.error else op.attempts
        row["attempts"] = op.callee.retry.attempts
        row["running"] = flying is not None
        row["started_at"] = flying.started_at if flying is not None else None
        row["error"] = str(decode_failure(op.error)) if op.error else None
        row["next_attempt_at"] = op.due if op.error and not flying and not op.stuck else None
        row["stuck"] = op.stuck
        row["undoes"] = op.target.op if op.target is not None else None
    elif op.kind == "timer":
        row["due_at"] = op.due
    elif op.kind == "wait":
        want = awaiting.wanted(op)
        row |= {"types": want.types, "key": want.key, "since": op.since, "due_at": op.due or None}
    elif op.kind == "child":
        row["run"] = op.child_id
    if op.op == driver.launching.accused:
        accuse(row, driver.run)
    return row
