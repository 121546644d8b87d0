"""What step code, or a reaction's handler, may know about the try that it is part of."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import NamedTuple

from motet.errors import NotInStep
from motet.model.cause import Cause


class Attempt(NamedTuple):
    """One try of a step or compensation, or of delivering an event to a reaction.

    Args:
        key: the idempotency key of the effect: the same on every attempt of this operation, or at every delivery of
            this event to this reaction, and of no other.
        number: which try this is, counted from 1; a try that a crash cut off is not counted.
        token: the fencing token: grows each time the run, or the reaction, gets another owner. A target that remembers
            the highest token it has seen can refuse an owner that has been replaced.
        run: the run's id; of a delivery, nothing.
        step: the step's or compensation's name; of a delivery, the reaction's.
        operation: the operation, as `create_enrollment#1`; of a delivery, the event's id.
        conversation: the conversation that its run or event belongs to.
        traceparent: the W3C trace context of its run or event, if it has one.
        reaction: the name of the reaction that an event is delivered to; None in a step.
    """

    key: str
    number: int
    token: int
    run: str
    step: str
    operation: str
    conversation: str = ""
    traceparent: str | None = None
    reaction: str | None = None


current_attempt: ContextVar[Attempt | None] = ContextVar("motet_attempt", default=None)

current_delivery: ContextVar[Callable[[], Attempt] | None] = ContextVar("motet_delivery", default=None)
"""Set while an event is delivered. Few handlers ask, and each delivery would have to make the answer; so it is made for
those who ask."""


def attempt() -> Attempt:
    """The attempt that the calling step code belongs to, or the handler of a reaction.

    Raises:
        NotInStep: called outside a step, compensation or handler.
    """
    found = current_attempt.get()
    if found is not None:
        return found
    delivery = current_delivery.get()
    if delivery is None:
        raise NotInStep(
            "attempt() tells a step, or the handler of a reaction, about its own try, and neither is running here; "
            "in a test, wrap the call in motet.testing.attempt_of(...)"
        )
    return delivery()


def inherited() -> Cause | None:
    """What the calling code belongs to: the step that it is a part of, or the event that is being delivered."""
    found = current_attempt.get()
    if found is not None:
        return Cause(found.conversation or found.run, found.key, found.traceparent)
    delivery = current_delivery.get()
    if delivery is None:
        return None
    found = delivery()
    return Cause(found.conversation, found.operation, found.traceparent)
