"""The ordered record of what happened to a run's operations: facts, each with its position.

A fact is everything that a run's machine may not decide by itself: an attempt's outcome, a timer that fired, a
cancel. Facts are applied one at a time in the order of their positions, live and in replay alike.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from motet.model.clock import Micros

FactKind = Literal[
    "completed",  # a step, transaction, compensation or child ended with a result, an event has come
    "answered",  # ... with an error that it declares: known not to have happened
    "failed",  # ... by a fault, for good: whether it happened is unknown (a transaction: known not to have)
    "retrying",  # an attempt failed; the next one is due at `due`
    "stuck",  # attempts are exhausted (or impossible) where only a person can help
    "skipped",  # a person decided to go on without it
    "fired",  # a timer is due
    "published",  # an event is in the log
    "pivoted",  # the point of no return was passed
    "changed",  # the run takes the new branch of a change in its code
    "cancel",  # somebody asked the run to stop
    "deadline",  # the run's time is over
    "retry",  # a person asked to try again what is stuck
]

OperationKind = Literal[
    "step", "transaction", "compensation", "timer", "wait", "child", "publish", "pivot", "change", "run"
]  # fmt: skip

STEPS: frozenset[str] = frozenset({"step", "transaction"})
"""The operations that call a step of the user's, and can be undone."""

RECORDED_ONLY: frozenset[FactKind] = frozenset({"published", "pivoted", "changed"})
"""Facts that the workflow itself made: rows without a resolution that is delivered."""


class Fact(NamedTuple):
    """What happened, before the owner has given it a position.

    Args:
        op: the operation, as `create_enrollment#1`; empty for facts about the run itself.
        operation_kind: what kind of operation that is.
        kind: what happened to it.
        at: when it was recorded; the workflow's `flow.now()` after this fact.
        payload: JSON text: result, error record, or details.
        attempt: which attempt it is about, from 1; 0 where there are none.
        started_at: when that attempt began.
        due: when the next attempt is due.
        digest: a checksum of the operation's encoded arguments.
        target: for a compensation, the operation that it undoes.
    """

    op: str
    operation_kind: OperationKind
    kind: FactKind
    at: Micros
    payload: str | None = None
    attempt: int = 0
    started_at: Micros | None = None
    due: Micros | None = None
    digest: int | None = None
    target: str | None = None


class Recorded(NamedTuple):
    """A fact with its place: a row of the history table.

    `applied` is the position up to which the owner had applied facts when it recorded this one: every
    publish made by those drains is in the history already, so one without a row is a divergence. `site` is where the
    code created the operation (`orchestration/sites.py`); replay does not look at it.
    """

    uid: str
    generation: int
    position: int
    applied: int
    op: str
    operation_kind: OperationKind
    kind: FactKind
    at: Micros
    payload: str | None
    attempt: int
    started_at: Micros | None
    due: Micros | None
    digest: int | None
    target: str | None
    site: str | None = None

    @property
    def fact(self) -> Fact:
        return Fact(*self[4:-1])
