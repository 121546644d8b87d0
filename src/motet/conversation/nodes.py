"""A conversation as people and programs get it: a tree, told line by line."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

NodeKind = Literal["run", "operation", "event", "reaction", "expectation"]

Edge = Literal["orchestrated", "choreographed"]
"""Why it came about: its run's code says so; or something reacted to an event, whose publisher did not know of it."""

FAILED: Final = frozenset({"failed", "cancelled", "stuck", "blocked", "parked", "held", "missed"})
OPEN: Final = frozenset({
    "pending", "running", "waiting", "compensating", "blocked", "stuck", "retrying", "paused", "held", "open",
})  # fmt: skip


class Node(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened, or is to happen. Times are ISO 8601 in UTC.

    Args:
        depth: in the tree, from 0; it hangs on the last one before it that is less deep by one.
        name: a run's id, an operation, an event's type, the name of a reaction or an expectation.
        state: a run's; `published` of an event; what became of an operation (completed, answered, failed, skipped,
            fired, pivoted, running, retrying, waiting, stuck), of a delivery (delivered, pending, paused, running,
            retrying, waiting, parked, held), of an expectation (open, met, missed, late, early).
        edge: None for what nothing in this conversation has caused.
        at: when it began, of an operation when it ended; of a delivery only where something tells.
        seconds: how long it took.
        attempts: how many there have been, of a delivery how many have failed.
        workflow: of a run.
        key: of an event or expectation.
        id: an event's id, a run's uid.
        position: an event's place in the log.
        due: when it is tried again, or by when it is expected.
        undoes: the operation that a compensation undoes.
        filtered: of a delivery: the reaction has a filter, which may not have wanted the event.
        error: why it failed.
        detail: what else there is to say.
    """

    depth: int
    kind: NodeKind
    name: str
    state: str
    edge: Edge | None = None
    at: str | None = None
    seconds: float | None = None
    attempts: int | None = None
    workflow: str | None = None
    key: str | None = None
    id: str | None = None
    position: int | None = None
    due: str | None = None
    undoes: str | None = None
    filtered: bool = False
    error: str | None = None
    detail: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether something is still to come of it."""
        return self.state in OPEN

    @property
    def has_failed(self) -> bool:
        """Whether it did not go well; what a run has coped with counts too."""
        return self.state in FAILED


class Conversation(msgspec.Struct, frozen=True):
    """The whole story. `open` and `failed` count the nodes that are, `missed` the expectations; `complete` is False if
    there is more of it than can be shown."""

    conversation: str
    began_at: str
    seconds: float
    runs: int
    events: int
    open: int
    failed: int
    missed: int
    complete: bool
    nodes: list[Node]
