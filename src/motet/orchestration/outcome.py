"""From what an attempt did to the fact that is recorded: answers, faults, retries, and when a person is needed.

An error that the step declares is an answer: known not to have happened, never retried. Everything else is a fault:
retried by policy, then final, with its outcome unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from motet.errors import BadValue, StepInterrupted, StepTimedOut
from motet.model.clock import Micros
from motet.model.codec import encode
from motet.model.failure import declared_class, encode_declared, encode_fault
from motet.model.history import Fact, FactKind
from motet.orchestration.operation import Operation

if TYPE_CHECKING:
    from motet.orchestration.definitions import Callee


class Returned(msgspec.Struct, frozen=True):
    """The attempt returned this value."""

    value: Any


class Raised(msgspec.Struct, frozen=True):
    """The attempt raised this error."""

    error: BaseException


class TimedOut(msgspec.Struct, frozen=True):
    """The attempt did not end in time. A plain function cannot be stopped: its thread goes on, unheard."""

    seconds: float


class Interrupted(msgspec.Struct, frozen=True):
    """Nobody knows what the attempt did, and no other will follow: a crash, or its worker was stopped."""

    reason: str


Outcome = Returned | Raised | TimedOut | Interrupted


def verdict(op: Operation, outcome: Outcome, *, pivoted: bool, at: Micros, started_at: Micros, limit: int) -> Fact:
    """The fact to record for one attempt's outcome. Pure but for the chance in a retry's wait, which it records."""
    callee = op.callee
    assert callee is not None
    # What cuts an operation off is no attempt of its own.
    attempt = max(op.attempts, 1) if isinstance(outcome, Interrupted) else op.attempts + 1

    def fact(kind: FactKind, payload: str | None, due: Micros | None = None) -> Fact:
        target = op.target.op if op.target is not None else None
        return Fact(op.op, op.kind, kind, at, payload, attempt, started_at, due, op.digest, target)

    error: BaseException
    may_retry = True
    if isinstance(outcome, Returned):
        if op.kind == "compensation":  # what it returns means nothing; it must not fail by it
            return fact("completed", None)
        try:
            payload = encode(outcome.value, callee.result_words, limit)
            op.value = callee.result.decode(payload, callee.result_words)
            return fact("completed", payload)
        except BadValue as bad:
            # The effect has happened (unless it is a transaction's); trying again would only make it happen again.
            error, may_retry = bad, False
    elif isinstance(outcome, Raised):
        error = outcome.error
        declared = declared_class(error, callee.raises)
        if declared is not None:
            try:
                return fact("answered", encode_declared(error, declared, f"{callee.noun} {callee.name}", limit))
            except BadValue as bad:
                error, may_retry = bad, False
    elif isinstance(outcome, TimedOut):
        error = _timeout(callee, attempt, outcome.seconds)
    else:
        error, may_retry = StepInterrupted(outcome.reason), False
    if may_retry and not op.abandoned and callee.retry.allows(attempt, error):
        return fact("retrying", encode_fault(error), at + callee.retry.wait(attempt))
    needs_person = op.kind == "compensation" or (pivoted and not op.abandoned)
    return fact("stuck" if needs_person else "failed", encode_fault(error))


def _timeout(callee: Callee, attempt: int, seconds: float) -> StepTimedOut:
    left = "" if callee.is_async else "; it is a plain function, which cannot be stopped: its thread goes on alone"
    return StepTimedOut(f"attempt {attempt} of {callee.name} took longer than {seconds:g} s{left}")
