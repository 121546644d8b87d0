"""How the records of a conversation hang together: which thing has caused which.

What a run does hangs on the run; what reacts to an event hangs on the event; what a reaction has published hangs on the
reaction; what nobody here has published hangs on the wait that has taken it. What nothing here has caused stands at the
left. Reads no store and no clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from motet.choreography.expectations import ExpectationNote
from motet.choreography.expecting import missed_id
from motet.conversation.nodes import Conversation, Edge, Node
from motet.conversation.reacted import Reached
from motet.conversation.twigs import (
    LAST,
    RunRecords,
    Twig,
    of_current,
    of_delivery,
    of_done,
    of_event,
    of_expected,
    of_pruned,
    of_run,
)
from motet.model.clock import SECOND, Micros
from motet.model.codec import plain
from motet.model.delivery import PARKED_EVENT, DeliveryRow
from motet.model.event import LoggedEvent
from motet.model.expected import Expected
from motet.model.identity import child_uid, effect_key
from motet.model.tombstone import Tombstone
from motet.status import iso
from motet.store.protocol import CursorRow


class Records(NamedTuple):
    """What the store holds of one conversation.

    Args:
        deliveries: those of its events that have rows.
        cursors: all readers of the log.
        notes: by name, what is known of the expectations.
        complete: whether that is all.
        pruned: what is left of runs that were pruned.
    """

    conversation: str
    runs: Sequence[RunRecords]
    events: Sequence[LoggedEvent]
    deliveries: Sequence[DeliveryRow]
    cursors: Sequence[CursorRow]
    expected: Sequence[Expected]
    notes: dict[str, ExpectationNote]
    complete: bool = True
    pruned: Sequence[Tombstone] = ()


def tell(records: Records, now: Micros) -> Conversation:
    """The story."""
    nodes = list(_lines(_Weaving(records).roots()))
    times = [row.created_at for row, _ in records.runs] + [row.recorded_at for row in records.events]
    times += [row.armed_at for row in records.expected] + [row.created_at for row in records.pruned]
    still_open = any(node.is_open for node in nodes)
    ends = [now] if still_open else [run.ended_at or run.created_at for run, _ in records.runs]
    ends += [row.ended_at for row in records.pruned]
    began = min(times, default=now)
    return Conversation(
        records.conversation, iso(began) or "", (max([*times, *ends], default=now) - began) / SECOND,
        len(records.runs) + len(records.pruned), len(records.events), sum(node.is_open for node in nodes),
        sum(node.has_failed for node in nodes), sum(node.state == "missed" for node in nodes), records.complete, nodes,
    )  # fmt: skip


class _Weaving:
    """From records to twigs: `_made` holds those that others may name as their cause."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._reached = Reached(records.cursors, records.deliveries)
        self._made: dict[str, Twig] = {}
        self._reactions: dict[tuple[str, str], Twig] = {}  # by event and name
        self._ranks: dict[str, int] = {}  # of publishes and children among the operations of their run
        self._all: list[Twig] = []
        self._events = {event.id for event in records.events}
        self._uids = {run.uid for run, _ in records.runs}
        self._ids = {run.id for run, _ in records.runs}
        self._started = {(run.cause, run.workflow) for run, _ in records.runs}
        self._taken: dict[str, Twig] = {}  # by the event's id, the wait that has taken it
        self._effects: dict[str | None, list[str]] = {}
        for event in records.events:
            self._effects.setdefault(event.causationid, []).append(event.source)

    def roots(self) -> list[Twig]:
        for records in self._records.runs:
            self._run(records)
        for tombstone in self._records.pruned:
            self._made[tombstone.uid] = self._add(of_pruned(tombstone))
        for event in self._records.events:
            twig = self._made[event.id] = self._add(of_event(event))
            twig.rank = self._ranks.get(event.id, 0)
        for row in self._records.expected:
            if row.state != "early" or row.early:  # else its trigger has come after all
                self._expectation(row)
        for event in self._records.events:
            self._deliveries(event)
        for event in self._records.events:
            self._hang_event(event)
        for records in self._records.runs:
            self._hang_run(records)
        return [twig for twig in self._all if twig.parent is None]

    def _add(self, twig: Twig) -> Twig:
        self._all.append(twig)
        return twig

    # --- making them ------------------------------------------------------------------------------------------

    def _run(self, records: RunRecords) -> None:
        run, status = records
        twig = self._made[run.uid] = self._add(of_run(run, status))
        for rank, item in enumerate(sorted([*status.done, *status.failed], key=lambda item: item.at)):
            key = effect_key(run.uid, run.generation, item.operation)
            uid = child_uid(run.uid, run.generation, item.operation, run.started_at)
            if (item.kind == "publish" and key in self._events) or (item.kind == "child" and uid in self._uids):
                self._ranks[key] = self._ranks[uid] = rank
                continue  # told by the event, or the child's run
            made = self._made[key] = self._add(of_done(item))
            made.rank = rank
            twig.hang(made, "orchestrated")
            if item.taken is not None:
                self._taken.setdefault(item.taken["id"], made)
        for current in status.current:
            if current.kind == "child" and current.run in self._ids:
                continue
            key = effect_key(run.uid, run.generation, current.operation)
            made = self._made[key] = self._add(of_current(current))
            twig.hang(made, "orchestrated")

    def _expectation(self, row: Expected) -> None:
        note = self._records.notes.get(row.expectation)
        twig = self._add(of_expected(row, note))
        trigger = self._made.get(row.event)
        if trigger is not None:
            trigger.hang(twig, "choreographed")
        self._made[f"{row.expectation} {row.position}"] = twig
        self._made[missed_id(row)] = twig  # what has come of its event has come of it

    def _deliveries(self, event: LoggedEvent) -> None:
        effects = self._effects.get(event.id, [])
        for delivered in self._reached.by(event, effects):
            twig = self._add(of_delivery(delivered))
            started = (event.id, delivered.note.starts) in self._started
            if started and delivered.state == "delivered":
                self._all.pop()  # told by the run
                continue
            if started or delivered.reaction in effects:
                twig.fields["filtered"] = False  # it was wanted
            self._reactions[event.id, delivered.reaction] = twig
            self._made[event.id].hang(twig, "choreographed")

    # --- what hangs on what -----------------------------------------------------------------------------------

    def _hang_event(self, event: LoggedEvent) -> None:
        twig = self._made[event.id]
        if twig.kind == "expectation":
            return
        if event.causationid is None:
            taken = self._taken.get(event.given_id)
            if taken is not None:
                taken.hang(twig, "choreographed")
            return
        uid, _, operation = event.id.partition(".")
        if operation and uid == event.causationid and uid in self._made:
            self._made[uid].hang(twig, "orchestrated")  # a publish of that run
            return
        reaction = event.source
        if event.type == PARKED_EVENT:
            reaction = plain(event.data).get("reaction", "")
        self._hang(twig, event.causationid, reaction)

    def _hang_run(self, records: RunRecords) -> None:
        run, _ = records
        if run.cause is None:
            return
        known = run.parent is not None and run.parent in self._made
        self._made[run.uid].rank = self._ranks.get(run.uid, 0)
        self._hang(self._made[run.uid], run.parent if known and run.parent else run.cause, "")

    def _hang(self, twig: Twig, cause: str, reaction: str) -> None:
        parent = self._made.get(cause)
        if parent is None and "." in cause:
            parent = self._made.get(cause.partition(".")[0])  # an operation that is not recorded yet
        if parent is None:
            return
        known = self._reactions.get((cause, reaction))
        edge: Edge = "orchestrated" if parent.kind in ("run", "operation") else "choreographed"
        (known or parent).hang(twig, edge)
        if known is not None and known.since is None:
            known.since = twig.since


def _lines(roots: Sequence[Twig]) -> Iterator[Node]:
    """Depth first, without recursion: chains of events may be long."""
    stack = [(twig, 0) for twig in reversed(_in_order(roots))]
    while stack:
        twig, depth = stack.pop()
        yield twig.node(depth)
        stack += [(kid, depth + 1) for kid in reversed(_in_order(twig.kids))]


def _in_order(twigs: Sequence[Twig]) -> list[Twig]:
    shown = [twig for twig in twigs if twig.kids or not twig.quiet]
    return sorted(shown, key=lambda twig: (twig.kind == "expectation", twig.since or LAST, twig.rank))
