"""A run's states and the only transitions between them.

    pending ──> running <──> waiting
                   │  ▲         │
                   │  └─────────┤  (retry, skip, cancel: a person, or the right code, wakes a blocked run)
                   ▼            ▼
             compensating ──> blocked
                   │            │
                   ▼            ▼
       completed | failed | cancelled

`running` and `compensating` have an owner; `pending` and `waiting` wait for one; `blocked` waits for a person.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from motet.model.clock import Micros

RunState = Literal["pending", "running", "waiting", "compensating", "completed", "failed", "cancelled", "blocked"]

STATES: Final[tuple[RunState, ...]] = (
    "pending", "running", "waiting", "compensating", "completed", "failed", "cancelled", "blocked",
)  # fmt: skip
ENDED: Final[frozenset[RunState]] = frozenset({"completed", "failed", "cancelled"})

TRANSITIONS: Final[dict[RunState, frozenset[RunState]]] = {
    "pending": frozenset({"running", "blocked"}),
    "running": frozenset({"running", "waiting", "compensating", "completed", "failed", "cancelled", "blocked"}),
    "waiting": frozenset({"running", "compensating", "blocked"}),
    "compensating": frozenset({"running", "compensating", "waiting", "completed", "failed", "cancelled", "blocked"}),
    "blocked": frozenset({"running", "compensating", "blocked", "completed", "failed", "cancelled"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}


def may_become(before: RunState, after: RunState) -> bool:
    """Whether the transition is allowed."""
    return after in TRANSITIONS[before]


def sources(after: RunState) -> tuple[RunState, ...]:
    """The states from which `after` may be reached; the stores' `WHERE` clauses are made from it."""
    return tuple(state for state in STATES if after in TRANSITIONS[state])


Parked = Literal["incident", "divergence", "crash", "corrupt"]
"""Why a blocked run is blocked: an operation needs a person; the code has changed; it killed its workers; a record
cannot be read."""


DEFAULT_QUEUE: Final = "default"


class Version(NamedTuple):
    """One version of a workflow: a run stays with the one that it began with, and is driven by workers that have it."""

    workflow: str
    version: int


class Run(NamedTuple):
    """One row of the run table: an execution of a workflow.

    Times are microseconds since 1970; `input`, `result`, `error`, `attributes` and `current` are JSON text. `input` is
    that of this generation; from the second on, `first_input` is the one that the run was started with. Of a queue's
    runs, those of higher `priority` come first. `consumed` is what earlier generations have waited for and got.
    `origin` tells whose history it keeps, if it is a rerun (`Origin`).
    """

    uid: str
    id: str
    workflow: str
    version: int
    state: RunState
    generation: int
    epoch: int
    owner: int | None
    input: str | None
    result: str | None
    error: str | None
    current: str | None
    note: str | None
    attributes: str | None
    conversation: str
    cause: str | None
    parent: str | None
    created_at: Micros
    started_at: Micros
    ended_at: Micros | None
    deadline_at: Micros | None
    wake_at: Micros | None
    crashes: int
    parked: Parked | None
    python: str
    fingerprint: str
    first_input: str | None = None
    queue: str = DEFAULT_QUEUE
    priority: int = 0
    consumed: str | None = None
    traceparent: str | None = None
    origin: str | None = None

    def unowned(self) -> Run:
        """This start without an owner: due at once, for whoever claims it."""
        epoch = self.epoch - 1 if self.owner is not None else self.epoch
        return self._replace(owner=None, epoch=epoch, state="pending", wake_at=self.created_at)

    @property
    def started_with(self) -> str | None:
        """The input that `start` was given; the same id with the same input is the same run, however often it has
        restarted since."""
        return self.first_input if self.generation > 1 else self.input
