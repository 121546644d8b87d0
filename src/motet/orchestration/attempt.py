"""What step code may know about the try that it is part of."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple

from motet.errors import NotInStep
from motet.model.cause import Cause, current_cause


class Attempt(NamedTuple):
    """One try of a step or compensation.

    Args:
        key: the idempotency key of the effect: the same on every attempt of this operation, and of no other.
        number: which try this is, counted from 1; a try that a crash cut off is not counted.
        token: the fencing token: grows each time the run gets another owner. A target that remembers the
            highest token it has seen can refuse an owner that has been replaced.
        run: the run's id.
        step: the step's or compensation's name.
        operation: the operation, as `create_enrollment#1`.
        conversation: the conversation that its run belongs to.
        traceparent: the W3C trace context of its run, if it has one.
    """

    key: str
    number: int
    token: int
    run: str
    step: str
    operation: str
    conversation: str = ""
    traceparent: str | None = None


current_attempt: ContextVar[Attempt | None] = ContextVar("motet_attempt", default=None)


def attempt() -> Attempt:
    """The attempt that the calling step code belongs to.

    Raises:
        NotInStep: called outside a step or compensation.
    """
    found = current_attempt.get()
    if found is None:
        raise NotInStep(
            "attempt() tells a step about its own try, and no step is running here; "
            "in a test, wrap the call in motet.testing.attempt_of(...)"
        )
    return found


def inherited() -> Cause | None:
    """What the calling code belongs to: the step that it is a part of, or the event that is being delivered."""
    found = current_attempt.get()
    if found is None:
        return current_cause.get()
    return Cause(found.conversation or found.run, found.key, found.traceparent)
