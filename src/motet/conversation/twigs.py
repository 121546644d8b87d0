"""The single things that a conversation is woven from, each from its record."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from motet.choreography.expectations import ExpectationNote
from motet.conversation.nodes import Edge, Node, NodeKind
from motet.conversation.reacted import Delivered
from motet.model.clock import SECOND, Micros, as_datetime
from motet.model.event import ENGINE, LoggedEvent
from motet.model.expected import Expected
from motet.model.forgotten import WORD, is_forgotten
from motet.model.run import Run
from motet.model.tombstone import Tombstone
from motet.orchestration.timing import END_OF_TIME
from motet.status import Current, Done, RunStatus, iso

LAST: Final = "9"
"""Behind all times in ISO 8601 that there are."""


class Twig:
    """A node that is still growing.

    Args:
        fields: those of `Node`, without its depth and edge.
        quiet: not worth a line unless something has come of it.
    """

    __slots__ = ("edge", "fields", "kids", "kind", "parent", "quiet", "rank", "since")

    def __init__(self, kind: NodeKind, name: str, state: str, *, quiet: bool = False, **fields: Any) -> None:
        self.kind: NodeKind = kind
        self.fields: dict[str, Any] = {"name": name, "state": state, **fields}
        self.quiet = quiet
        self.since: str | None = fields.get("at")  # what it is sorted by
        self.rank = 0  # among those of the same time
        self.edge: Edge | None = None
        self.parent: Twig | None = None
        self.kids: list[Twig] = []

    def hang(self, kid: Twig, edge: Edge) -> None:
        """Hang another one, with all that hangs on it, on this one; one that hangs already stays where it is, and
        nothing ever hangs on itself, whatever records from outside may say."""
        above: Twig | None = self
        while above is not None and above is not kid:
            above = above.parent
        if above is None and kid.parent is None:
            kid.parent, kid.edge = self, edge
            self.kids.append(kid)

    def node(self, depth: int) -> Node:
        return Node(depth=depth, kind=self.kind, edge=self.edge, **self.fields)


class RunRecords(NamedTuple):
    """A run, and what its history says."""

    run: Run
    status: RunStatus


def of_run(run: Run, status: RunStatus) -> Twig:
    error = ": ".join(part for part in (status.error_type, status.error) if part) or None
    if status.incidents:
        error = "; ".join(": ".join(part for part in (row.operation, row.reason) if part) for row in status.incidents)
    detail: str | None = None
    if status.stop is not None:
        asked = "its deadline passed" if status.stop.kind == "deadline" else "it was asked to stop"
        detail = f"{asked} ({status.stop.reason})" if status.stop.reason else asked
    elif status.generation > 1:
        detail = f"generation {status.generation}; what earlier ones have done is not shown"
    due = iso(run.wake_at) if run.state == "waiting" and run.wake_at else None
    return Twig(
        "run", run.id, run.state, at=iso(run.created_at), seconds=status.seconds, workflow=run.workflow, id=run.uid,
        error=error, detail=detail, due=due,
    )  # fmt: skip


def of_pruned(tombstone: Tombstone) -> Twig:
    return Twig(
        "run", tombstone.id, tombstone.state, at=iso(tombstone.created_at), workflow=tombstone.workflow,
        seconds=(tombstone.ended_at - tombstone.created_at) / SECOND, id=tombstone.uid,
        detail=f"pruned {as_datetime(tombstone.pruned_at):%Y-%m-%d}; what it did is not kept any more",
    )  # fmt: skip


def of_done(item: Done) -> Twig:
    detail = item.note if item.note is not None else (item.kind if item.kind not in ("step", "compensation") else None)
    return Twig(
        "operation", item.operation, item.outcome, at=item.at, seconds=item.seconds, attempts=item.attempts or None,
        error=item.error, undoes=item.undoes, detail=detail,
    )  # fmt: skip


def of_current(item: Current) -> Twig:
    state = "stuck" if item.stuck else "running" if item.running else "retrying" if item.last_error else "waiting"
    detail = item.kind if item.kind not in ("step", "compensation") else None
    twig = Twig(
        "operation", item.operation, state, at=item.started_at or item.failed_at, attempts=item.attempt,
        error=item.last_error, undoes=item.undoes, due=item.next_attempt_at or item.due_at, detail=detail,
    )  # fmt: skip
    twig.since = LAST
    return twig


def of_event(event: LoggedEvent) -> Twig:
    to = f"to {event.recipient}" if event.recipient is not None else None
    gone = WORD if is_forgotten(event.data) else None
    return Twig(
        "event", event.type, "published", quiet=event.source == ENGINE, at=iso(event.recorded_at),
        key=event.subject, id=event.given_id, position=event.position,
        detail=", ".join(filter(None, (to, gone))) or None,
    )  # fmt: skip


def of_delivery(delivered: Delivered) -> Twig:
    row, state = delivered.row, delivered.state
    return Twig(
        "reaction", delivered.reaction, state,
        at=iso(row.at) if row is not None and state in ("parked", "held") else None,
        attempts=row.attempts if row is not None else None, error=delivered.error,
        due=iso(row.due) if row is not None and state == "retrying" else None, filtered=delivered.note.filtered,
        detail="behind another event of its key" if state == "waiting" else None,
    )  # fmt: skip


def of_expected(row: Expected, note: ExpectationNote | None) -> Twig:
    due = row.due
    if due is None and note is not None:
        due = min(row.armed_at + note.within, END_OF_TIME)
    detail = f"{note.expected} after {note.after}" if note is not None else None
    return Twig(
        "expectation", row.expectation, row.state, at=iso(_judged(row)), key=row.key,
        due=iso(due), detail=detail,
    )  # fmt: skip


def _judged(row: Expected) -> Micros | None:
    """When what it is was known."""
    if row.state in ("met", "late"):
        return row.came_at
    return row.missed_at
