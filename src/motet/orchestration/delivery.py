"""Applying one fact to a machine: which operation it is about, what that means for it, and what the body hears."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from motet.errors import ChildFailed, Divergence, StepFailed
from motet.model.codec import Codec, plain
from motet.model.failure import Failure, decode_failure, rebuild
from motet.model.history import RECORDED_ONLY, Fact, FactKind
from motet.orchestration import awaiting
from motet.orchestration.commands import Abandon, PassOn, Restart, RunAttempt
from motet.orchestration.operation import Operation

if TYPE_CHECKING:
    from motet.orchestration.machine import Machine


def deliver(machine: Machine, position: int, fact: Fact) -> None:
    """Raises Divergence when the code has not done what the fact is about."""
    if fact.operation_kind == "run" and not fact.op:
        _RUN_FACTS[fact.kind](machine, fact)
        return
    if fact.kind == "changed" and fact.op not in machine.operations:
        return  # the code asks no more: every run takes this branch now
    op = _known(machine, position, fact)
    if op.settled:
        return  # it was given up, or a person was faster: what came first counts, and is not delivered twice
    op.position = position
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


def _known(machine: Machine, position: int, fact: Fact) -> Operation:
    op = machine.operations.get(fact.op)
    if op is not None and op.kind == fact.operation_kind:
        if fact.kind in RECORDED_ONLY or (op.begun and (op.outcome or not op.settled or op.kind in ("timer", "wait"))):
            return op
        state = "gave it up before it began" if op.begun else "has not begun it"
    elif op is not None:
        state = f"has {op.describe()} instead"
    else:
        state = _what_there_is(machine)
    raise Divergence(
        f"position {position} of the history is about {fact.operation_kind} {fact.op} ({fact.kind}); "
        f"the code at this point {state}",
        f"the code at this point {state}",
    )


def _what_there_is(machine: Machine) -> str:
    if machine.finished:
        return "has ended"
    waiting = [op.describe() for op in machine.operations.values() if op.in_flight]
    return f"waits for {', '.join(waiting)}" if waiting else "waits for nothing"


# --- facts about one operation -------------------------------------------------------------------------------


def _completed(machine: Machine, op: Operation, fact: Fact) -> None:
    if op.kind == "wait":
        awaiting.came(machine, op, fact)
        return
    op.result = fact.payload
    _settle(machine, op, fact)
    value, op.value = op.value, None
    if op.kind == "compensation" or op.future is None or op.future.done():
        return  # given up: the future was cancelled with whoever waited for it
    if value is None and fact.payload is not None:
        value = plain(fact.payload) if op.detached else _result_of(op).decode(fact.payload, f"the result of {op.op}")
    op.future.set_result(value)


def _answered(machine: Machine, op: Operation, fact: Fact) -> None:
    _settle(machine, op, fact)
    failure = _failure_of(fact)
    _throw(op, rebuild(failure, _declared_by(op)) or _failed_error(op, failure))


def _failed(machine: Machine, op: Operation, fact: Fact) -> None:
    op.attempts = fact.attempt
    op.error = fact.payload
    _settle(machine, op, fact)
    _throw(op, _failed_error(op, _failure_of(fact)))


def _retrying(machine: Machine, op: Operation, fact: Fact) -> None:
    op.attempts = fact.attempt
    op.error = fact.payload
    op.due = fact.due or 0
    machine.emit(Abandon(op) if op.abandoned else RunAttempt(op))


def _stuck(machine: Machine, op: Operation, fact: Fact) -> None:
    op.attempts = fact.attempt
    op.error = fact.payload
    if op.abandoned:
        machine.emit(Abandon(op))  # nobody waits for it any more, so nobody has to help it
    elif not op.stuck:
        machine.stick(op)


def _skipped(machine: Machine, op: Operation, fact: Fact) -> None:
    if not op.stuck:
        return  # somebody else has just asked to try it again
    _settle(machine, op, fact)
    failure = decode_failure(op.error) if op.error else Failure("Skipped", "skipped by a person")
    _throw(op, _failed_error(op, failure))


def _fired(machine: Machine, op: Operation, fact: Fact) -> None:
    op.settled = True
    op.outcome = fact.kind
    assert op.fire is not None
    op.fire()


def _recorded(machine: Machine, op: Operation, fact: Fact) -> None:
    op.settled = True
    op.outcome = fact.kind
    machine.unrecorded.pop(op.op, None)


def _settle(machine: Machine, op: Operation, fact: Fact) -> None:
    op.outcome = fact.kind
    machine.settle(op)
    machine.unwinding.note(op)


def _throw(op: Operation, error: BaseException) -> None:
    if op.kind == "compensation" or op.future is None or op.future.done():
        return
    op.future.set_exception(error)


def _failure_of(fact: Fact) -> Failure:
    return decode_failure(fact.payload) if fact.payload is not None else Failure("Error", "")


def _result_of(op: Operation) -> Codec[Any]:
    if op.workflow is not None:
        return op.workflow.result
    assert op.callee is not None
    return op.callee.result


def _declared_by(op: Operation) -> tuple[type[BaseException], ...]:
    if op.workflow is not None:
        return op.workflow.raises
    assert op.callee is not None
    return op.callee.raises


def _failed_error(op: Operation, failure: Failure) -> StepFailed | ChildFailed:
    if op.kind == "child":
        return ChildFailed(f"child run '{op.child_id}' ended without a result: {failure}")
    count = max(op.attempts, 1)
    happened = "it was rolled back" if op.kind == "transaction" else "whether its effect happened is unknown"
    return StepFailed(
        f"{op.kind} {op.name} failed after {count} attempt{'s' if count > 1 else ''}: {failure}; {happened}"
    )


# --- facts about the run -------------------------------------------------------------------------------------


def _stop(machine: Machine, fact: Fact) -> None:
    if machine.restarting:
        machine.late_stop = machine.late_stop or fact
        if isinstance(machine.final, Restart):
            machine.emit(PassOn(machine.late_stop))
    elif machine.stop is None and not machine.body_over:
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
    "changed": _recorded,
}
