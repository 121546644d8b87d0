"""What workers and clients write: small typed records, committed in groups.

Each carries its own identity and is idempotent: to write it twice is to write it once. A *unit* is a list of
mutations that must be one fact, as all that one drain of a machine asks for; it is never split over two
transactions. Within a batch, mutations are applied kind by kind in the order of `KINDS`, those of one kind in the
order in which they were submitted.

What a mutation finds changed decides what it does: one that has been applied changes nothing; a change of state that
the transition table forbids is refused, as is a fact that contradicts the one at its position; what is said to a run
that has ended, or that there is none, is forgotten.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from motet.model.clock import Micros
from motet.model.delivery import DeliveryState
from motet.model.event import EventRow
from motet.model.expected import ExpectedState
from motet.model.history import Recorded
from motet.model.run import Parked, Run, RunState

StartRun = Run
"""A run begins to exist; whoever comes second with the same id loses, and reads back who won. Facts of it in the same
batch are written if it wins. A rerun (`Run.origin`) may wait for events from where the run that it comes from could."""

RecordFact = Recorded
"""A row of a run's history."""

AppendEvent = EventRow
"""An event enters the log."""


class AppendOnce(NamedTuple):
    """An event from outside enters the log, unless one with its id has done so in the last days. As `EventRow`."""

    id: str
    source: str
    type: str
    subject: str | None
    time: Micros
    recorded_at: Micros
    correlationid: str
    causationid: str | None
    data: str
    version: int
    recipient: str | None
    traceparent: str | None


class MoveCursor(NamedTuple):
    """A reader of the log has dealt with everything up to `position`, or left a row of its own behind. Never moves
    back; one that has changed hands meanwhile (its epoch is another) stays where it is.

    Args:
        delivered, failed: how many deliveries have come to their end, and how many attempts have failed, in all.
        crashes: what its owner knows now of the crashes of its owners.
    """

    name: str
    epoch: int
    position: int
    delivered: int
    failed: int
    crashes: int
    at: Micros


class KeepExpected(NamedTuple):
    """What is expected after a trigger, as it is now (`Expected`). An expectation whose cursor has changed hands
    meanwhile (its epoch is another) is its new owner's to keep: then nothing is written."""

    expectation: str
    key: str
    position: int
    state: ExpectedState
    event: str
    conversation: str
    armed_at: Micros
    due: Micros | None
    triggers: int
    early: int
    came_at: Micros | None
    came: str | None
    missed_at: Micros | None
    epoch: int


class MissExpected(NamedTuple):
    """What was open is missed. Refused, with all that is one fact with it, if it is not open any more."""

    expectation: str
    key: str
    position: int
    due: Micros
    missed_at: Micros


class KeepDelivery(NamedTuple):
    """A delivery that is not simply in order, as it is now (`DeliveryRow`). Refused, with all that is one fact with
    it, if the reaction has changed hands meanwhile (its epoch is another)."""

    reaction: str
    position: int
    state: DeliveryState
    key: str | None
    attempts: int
    crashes: int
    due: Micros | None
    error: str | None
    data: str | None
    at: Micros
    epoch: int


class DropDelivery(NamedTuple):
    """A delivery that had a row is done; the row stays until the reaction's position has passed it. Refused as
    `KeepDelivery` is."""

    reaction: str
    position: int
    epoch: int


class RegisterWait(NamedTuple):
    """A run waits for an event of one of these types about this key, and is told of the earliest that it has not
    consumed: in its inbox, now or when it comes. Once more: it looks again.

    Args:
        op: generation and operation.
        consumed: JSON: by type, the position up to which the run has consumed such events, then single ones beyond.
    """

    uid: str
    op: str
    key: str
    consumed: str


class EndWait(NamedTuple):
    """It waits no more, or has what it waited for."""

    uid: str
    op: str


class AwaitedEvent(msgspec.Struct):
    """What an inbox says of an event that a run waits for: the operation, and the log's row as JSON."""

    op: str
    row: msgspec.Raw


class RetireId(NamedTuple):
    """Free the id of a run that has failed or was cancelled; the run keeps it with its uid behind it."""

    uid: str
    id: str


class ShowProgress(NamedTuple):
    """What the run is doing now, for its status: operations in flight as JSON, and the user's note.

    A note alone leaves `current` as it is; without a note the last one stands. The crashes of a run that is acquitted
    are counted from 0 again.
    """

    uid: str
    current: str | None
    note: str | None
    acquitted: bool = False


class EnterState(NamedTuple):
    """The run is compensating, blocked, or running again."""

    uid: str
    state: RunState
    error: str | None
    parked: Parked | None
    fingerprint: str


class BeginGeneration(NamedTuple):
    """The run starts over, running, with a fresh history and another input; `consumed` is kept for it.

    Args:
        version: its workflow's from now on; None: as before.
    """

    uid: str
    generation: int
    input: str | None
    started_at: Micros
    consumed: str | None = None
    version: int | None = None


class EndRun(NamedTuple):
    """The run has completed, failed or was cancelled; nobody owns it, and its inbox is gone."""

    uid: str
    state: RunState
    result: str | None
    error: str | None
    ended_at: Micros


class ReleaseRun(NamedTuple):
    """The run leaves its owner's memory: to be claimed at `wake_at`, or when its inbox fills."""

    uid: str
    state: RunState
    wake_at: Micros | None
    current: str | None


class PutInbox(NamedTuple):
    """Something that others have to tell a run. While `key` waits in its inbox, the same again changes nothing."""

    uid: str
    key: str
    kind: str
    payload: str | None
    at: Micros


class TakeInbox(NamedTuple):
    """The owner has recorded it."""

    uid: str
    key: str


Mutation = (
    StartRun | RetireId | RecordFact | AppendEvent | AppendOnce | ShowProgress | EnterState | BeginGeneration | EndRun
    | ReleaseRun | PutInbox | TakeInbox | KeepExpected | MissExpected | RegisterWait | EndWait | KeepDelivery
    | DropDelivery | MoveCursor
)  # fmt: skip

KINDS: tuple[type, ...] = (
    RetireId, StartRun, RecordFact, AppendEvent, AppendOnce, ShowProgress, EnterState, BeginGeneration, PutInbox,
    RegisterWait, TakeInbox, EndRun, ReleaseRun, KeepExpected, MissExpected, EndWait, KeepDelivery, DropDelivery,
    MoveCursor,
)  # fmt: skip
"""All kinds, in the order in which a batch applies them. A wait looks before messages are taken: a run that comes back
to memory looks again, and what it finds may be what it takes in this very batch."""

KIND_NAMES: dict[type, str] = {
    kind: {"Run": "StartRun", "Recorded": "RecordFact", "EventRow": "AppendEvent"}.get(kind.__name__, kind.__name__)
    for kind in KINDS
}

_PAYLOADS = ("input", "result", "error", "payload", "data", "current")
_PAYLOAD_INDEXES: dict[type, tuple[int, ...]] = {
    kind: tuple(index for index, name in enumerate(kind._fields) if name in _PAYLOADS)  # type: ignore[attr-defined]
    for kind in KINDS
}


def size_of(unit: list[Mutation]) -> int:
    """The unit's payload in bytes; what bounds a batch."""
    total = 0
    for mutation in unit:
        for index in _PAYLOAD_INDEXES[type(mutation)]:
            text = mutation[index]
            if isinstance(text, str):
                total += len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
    return total
