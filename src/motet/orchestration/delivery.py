"""Applying one fact to a machine: which operation it is about, what that means for it, and what the body hears."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from motet.errors import ChildFailed, Divergence, StepFailed
from motet.model.codec import plain
from motet.model.failure import Failure, decode_failure, rebuild
from motet.model.history import RECORDED_ONLY, Fact, FactKind
from motet.orchestration.commands import RunAttempt
from motet.orchestration.operation import Operation

if TYPE_CHECKING:
    from motet.orchestration.machine import Machine


def deliver(machine: Machine, fact: Fact) -> None:
    """Raises Divergence when the code has not done what the fact is about."""
    if fact.operation_kind == "run" and not fact.op:
        _RUN_FACTS[fact.kind](machine, fact)
        return
    op = _known(machine, fact)
    op.position = machine.position
    _OPERATION_FACTS[fact.kind](machine, op, fact)


def describe_incidents(machine: Machine) -> str:
    """Why the run needs a person, as JSON: one record for each stuck operation."""
    return msgspec.json.encode([_incident(op) for op in machine.stuck.values()]).decode()


def _incident(op: Operation) -> dict[str, Any]:
    reason = str(decode_failure(op.error)) if op.error else "needs a person"
    return {
        "operation": op.op,
        "kind": op.kind,
        "undoes": op.target.op if op.target is not None else None,
        "unknown": op.target is not None and op.target.outcome != "completed",
        "attempts": op.attempts,
        "reason": reason,
    }


def _known(machine: Machine, fact: Fact) -> Operation:
    op = machine.operations.get(fact.op)
    if op is None:
        raise Divergence(
            f"the history has {fact.operation_kind} {fact.op} ({fact.kind}) at position {machine.position}; "
            f"the code at this point has {_what_there_is(machine)}"
        )
    if op.kind != fact.operation_kind:
        raise Divergence(
            f"position {machine.position} of the history is about {fact.operation_kind} {fact.op}; "
            f"in the code that is a {op.kind}"
        )
    ready = fact.kind in RECORDED_ONLY or op.begun
    if not ready or (op.settled and not op.abandoned):
        state = "has not begun it" if not ready else "has it settled already"
        raise Divergence(
            f"the history has {fact.operation_kind} {fact.op} ({fact.kind}) at position {machine.position}; "
            f"the code at this point {state}"
        )
    return op


def _what_there_is(machine: Machine) -> str:
    if machine.finished:
        return "ended"
    waiting = [op.op for op in machine.operations.values() if op.in_flight]
    return f"only {', '.join(waiting)} in flight" if waiting else "nothing in flight"


# --- facts about one operation -------------------------------------------------------------------------------


def _completed(machine: Machine, op: Operation, fact: Fact) -> None:
    op.result = fact.payload
    _settle(machine, op, fact)
    if op.abandoned or op.future is None or op.future.done():
        return
    if op.value is None and fact.payload is not None:
        codec = op.workflow.result if op.workflow is not None else _callee_of(op).result
        op.value = fact.payload if op.detached else codec.decode(fact.payload, f"the result of {op.op}")
    op.future.set_result(op.value)
    op.value = None


def _answered(machine: Machine, op: Operation, fact: Fact) -> None:
    _settle(machine, op, fact)
    failure = _failure_of(fact)
    declared = op.workflow.raises if op.workflow is not None else _callee_of(op).raises
    _throw(op, rebuild(failure, declared) or _failed_error(op, failure))


def _failed(machine: Machine, op: Operation, fact: Fact) -> None:
    op.error = fact.payload
    _settle(machine, op, fact)
    _throw(op, _failed_error(op, _failure_of(fact)))


def _retrying(machine: Machine, op: Operation, fact: Fact) -> None:
    op.attempts = fact.attempt
    op.error = fact.payload
    op.due = fact.due or 0
    if not op.abandoned:
        machine.emit(RunAttempt(op))


def _stuck(machine: Machine, op: Operation, fact: Fact) -> None:
    op.attempts = fact.attempt
    op.error = fact.payload
    if not op.stuck:
        machine.stick(op)


def _skipped(machine: Machine, op: Operation, fact: Fact) -> None:
    _settle(machine, op, fact)
    failure = decode_failure(op.error) if op.error else Failure("Skipped", "skipped by a person")
    _throw(op, _failed_error(op, failure))


def _fired(machine: Machine, op: Operation, fact: Fact) -> None:
    if op.settled:
        return
    op.settled = True
    op.outcome = fact.kind
    assert op.fire is not None
    op.fire()


def _recorded(machine: Machine, op: Operation, fact: Fact) -> None:
    op.recorded = op.settled = True
    op.outcome = fact.kind
    machine.unrecorded.pop(op.op, None)


def _settle(machine: Machine, op: Operation, fact: Fact) -> None:
    op.outcome = fact.kind
    op.started_at = fact.started_at or fact.at
    machine.settle(op)
    machine.unwinding.note(op)


def _throw(op: Operation, error: BaseException) -> None:
    if op.kind == "compensation" or op.abandoned or op.future is None or op.future.done():
        return
    op.future.set_exception(error)


def _failure_of(fact: Fact) -> Failure:
    return decode_failure(fact.payload) if fact.payload is not None else Failure("Error", "")


def _callee_of(op: Operation) -> Any:
    assert op.callee is not None
    return op.callee


def _failed_error(op: Operation, failure: Failure) -> StepFailed | ChildFailed:
    if op.kind == "child":
        return ChildFailed(f"child run '{op.child_id}' ended without a result: {failure}")
    count = max(op.attempts, 1)
    error = StepFailed(
        f"step {op.name} failed after {count} attempt{'s' if count > 1 else ''}: {failure}; "
        "whether its effect happened is unknown"
    )
    error.__cause__ = None
    return error


# --- facts about the run -------------------------------------------------------------------------------------


def _stop(machine: Machine, fact: Fact) -> None:
    if machine.body_over or machine.stop is not None:
        return
    machine.stop = fact
    assert machine.main is not None
    machine.main.cancel()


def _retry(machine: Machine, fact: Fact) -> None:
    only = plain(fact.payload).get("op") if fact.payload else None
    for op in list(machine.stuck.values()):
        if op.kind == "run" or only not in (None, op.op):
            continue
        machine.unstick(op)
        op.attempts = 0
        op.due = 0
        machine.emit(machine.unwinding.command_for(op) if op.kind == "compensation" else RunAttempt(op))


_RUN_FACTS: dict[FactKind, Callable[[Machine, Fact], None]] = {
    "cancel": _stop,
    "deadline": _stop,
    "retry": _retry,
}

_OPERATION_FACTS: dict[FactKind, Callable[[Machine, Operation, Fact], None]] = {
    "completed": _completed,
    "answered": _answered,
    "failed": _failed,
    "retrying": _retrying,
    "stuck": _stuck,
    "skipped": _skipped,
    "fired": _fired,
    "published": _recorded,
    "pivoted": _recorded,
}
