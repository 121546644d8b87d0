"""What the code that runs now belongs to: conversation and cause flow by themselves into all that it does."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple


class Cause(NamedTuple):
    """Where something comes from.

    Args:
        conversation: the conversation that it belongs to.
        id: a step's key, or an event's id.
        traceparent: the W3C trace context, if there is one.
    """

    conversation: str
    id: str
    traceparent: str | None = None


class OwnTransaction(NamedTuple):
    """A function that was given a connection to its store: a reaction's handler, or a transaction's.

    Args:
        store: the store's address.
        name: how errors call it.
    """

    store: str
    name: str


own_transaction: ContextVar[OwnTransaction | None] = ContextVar("motet_own_transaction", default=None)
"""Set while such a function runs: nobody else can write to that store meanwhile."""
