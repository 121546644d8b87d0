"""What a store must do, as a few small protocols. The conformance suite (`motet.testing.conformance`) is their
specification; every call may raise StoreUnavailable (try again), and none is ever half done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

from motet.model.clock import Micros
from motet.model.event import Heading, LoggedEvent
from motet.model.history import Recorded
from motet.model.run import Run, RunState, Version
from motet.model.tombstone import Tombstone
from motet.store.edges import (
    CursorKind,
    CursorRow,
    Delivering,
    DeliveryFilter,
    EventFilter,
    ExpectedFilter,
    ExpectedView,
    Expecting,
    Following,
    Subscription,
)  # fmt: skip
from motet.store.mutations import Mutation, PutInbox
from motet.store.taking import Taken
from motet.store.transactions import AttemptTransaction, DeliveryFence, RunFence, Transacting

__all__ = [
    "AttemptTransaction", "CursorKind", "CursorRow", "DeliveryFence", "DeliveryFilter", "EventFilter",
    "ExpectedFilter", "ExpectedView", "Fence", "OpenRuns", "OpenVersion", "Owning", "Progress", "Prospect", "QueueRow",
    "Reading", "Receipt", "RunFence", "RunFilter", "Schemas", "Store", "Subscription", "Taken", "Ticket",
    "Traffic", "Versions", "WorkerInfo", "WorkerRow", "WorkerState", "Writing",
]  # fmt: skip


class Fence(NamedTuple):
    """A worker's right to write: its row's counter must stand at `batch - 1`, and it must not be buried."""

    worker: int
    batch: int


class Ticket(NamedTuple):
    """A client's receipt, which has no worker's row to keep it in: a batch whose ticket is in the store is not
    written again. Random for each batch; the store keeps the latest 10,000."""

    id: str


class Receipt(NamedTuple):
    """What a commit tells: for each start that lost, by its uid, the run that has the id; the uids of those that
    wanted an owner at once and wait for one instead, because their queue has a limit; and, of those that lost, by their
    uid, what is left of the run that has the id if it was pruned."""

    lost: dict[str, Run]
    waiting: frozenset[str] = frozenset()
    pruned: Mapping[str, Tombstone] = MappingProxyType({})


class WorkerInfo(NamedTuple):
    """What a worker says of itself. `host`, `pid` and `pid_started` find a dead one on the same machine."""

    identity: str
    name: str
    host: str
    pid: int
    pid_started: int
    program: str
    fingerprint: str


WorkerState = Literal["running", "draining"]


class WorkerRow(NamedTuple):
    """A registered worker. Its counter moves with each batch that it writes and with each heartbeat."""

    id: int
    identity: str
    name: str
    host: str
    pid: int
    pid_started: int
    program: str
    fingerprint: str
    batch: int
    buried: bool
    started_at: Micros
    seen_at: Micros
    beats: int = 0
    state: WorkerState = "running"

    @property
    def counter(self) -> int:
        """What others watch: one that moves belongs to a living worker."""
        return self.batch + self.beats


class Prospect(NamedTuple):
    """What a worker could do: read its runs' inbox, claim due runs now, or at `next_wake`. In `crowded` queues, runs
    wait for a place that some worker's run would have to leave."""

    inbox: bool
    claimable: bool
    next_wake: Micros | None
    crowded: frozenset[str] = frozenset()


class QueueRow(NamedTuple):
    """A queue: how many of its runs may be driven at the same time, how many are, how many are due and wait for a
    worker, and since when the first of these does."""

    name: str
    concurrency: int | None
    running: int
    pending: int
    oldest: Micros | None


class OpenRuns(NamedTuple):
    """The runs that have not ended: by state, and how many are due and driven by nobody, and since when the first is.
    Of a run whose owner has died, the time of its start stands for it."""

    states: dict[str, int]
    due: int
    oldest_due: Micros | None


class OpenVersion(NamedTuple):
    """Runs of one version of a workflow that have not ended, in one state, and since when the first of them exists.

    Args:
        fingerprint: of the code that has started them or, if they are blocked, that has tried last.
    """

    workflow: str
    version: int
    fingerprint: str
    state: RunState
    runs: int
    since: Micros


class Versions(NamedTuple):
    """What is in flight on which version, and which workers that are not buried know which."""

    open: list[OpenVersion]
    known: dict[Version, list[int]]


class RunFilter(NamedTuple):
    """Which runs to list: newest first, below `before` (a uid) for the next page."""

    workflow: str | None = None
    states: tuple[RunState, ...] = ()
    conversation: str | None = None
    limit: int = 50
    before: str | None = None


class Traffic(NamedTuple):
    """What has been seen in the log.

    Args:
        published: type, source, and how many.
        caused: the type of an event, then type and source of those that it has caused, and how many.
        started: the type of an event, the workflow whose runs it has started, and how many.
    """

    published: list[tuple[str, str, int]]
    caused: list[tuple[str, str, str, int]]
    started: list[tuple[str, str, int]]


class Schemas(NamedTuple):
    """The schema that a store has (None: there is no store yet), the one that this program speaks, and the oldest one
    whose programs may go on with what the store has."""

    found: int | None
    spoken: int
    oldest: int | None


Progress = Callable[[int, int], None]
"""Called now and then with what is done and what there is in all."""


class Writing(Protocol):
    """The committer's side."""

    async def commit(self, units: Sequence[list[Mutation]], guard: Fence | Ticket | None) -> Receipt:
        """Apply all units in one transaction, durably.

        Args:
            guard: a worker's fence, or a client's ticket; None where every mutation is a start.

        Raises:
            LeaseLost: the fence did not hold; nothing was written.
            StoreRejected: a record can never be stored, contradicts one that is there, or asks for a forbidden
                change of state; nothing was written.
            StoreUnavailable: whether it was written is unknown. With a fence ask `committed`, then write it again
                or not; with a ticket, or where every mutation is a start, write it again.
        """
        ...

    async def committed(self, fence: Fence) -> bool:
        """After a lost reply: whether this very batch was committed. Raises LeaseLost: buried meanwhile."""
        ...


class Owning(Protocol):
    """Who drives what. `shared`: by workers of several machines."""

    shared: bool

    async def register(
        self, worker: WorkerInfo, catalog: dict[str, str], now: Micros, limits: Mapping[str, int | None] | None = None
    ) -> int:
        """A fresh worker id, larger than any before; keeps what the worker's code says of its workflows, by
        `workflow@version` (these are the versions that it knows), and, in `limits`, of its queues: how many runs of
        each may be driven at the same time, None for no limit. What was said last holds, whoever said it."""
        ...

    async def resign(self, worker: int) -> None:
        """The worker stops in good order: its row ends, what it still owned is free."""
        ...

    async def workers(self) -> list[WorkerRow]:
        """All workers that are not buried."""
        ...

    async def beat(self, worker: int) -> bool:
        """Move the worker's counter without a batch; False: it is buried, or never was."""
        ...

    async def drain(self, worker: int) -> None:
        """The worker takes nothing new from now on, which others can see; what it owns it keeps."""
        ...

    async def bury(self, worker: int, counter: int) -> bool:
        """Declare a worker dead, if its counter (`WorkerRow.counter`) still stands there; its runs are free."""
        ...

    async def claim(
        self, worker: int, known: Sequence[Version], fingerprint: str, now: Micros, limit: int,
        full: Sequence[str] = (),
    ) -> list[Run]:  # fmt: skip
        """Take due runs that nobody owns, of versions that the worker knows: in turn from the queues that are not
        `full`, in a queue those of the highest priority first, and of these those due longest. Of a queue with a limit
        never more than it leaves, whatever other workers claim at the same time.

        Raises:
            LeaseLost: the worker is buried.
            StoreUnavailable: whether any were taken is unknown; `owned` tells.
        """
        ...

    async def take(
        self, worker: int, known: Sequence[Version], fingerprint: str, now: Micros, limit: int,
        full: Sequence[str] = (),
    ) -> Taken:  # fmt: skip
        """Claim, and read what is to be known of what was taken. What comes for one of these runs while it is claimed
        may be missing, and is found by the next `prospect`. Raises as `claim`."""
        ...

    async def owned(self, worker: int) -> list[Run]:
        """The runs that belong to this worker."""
        ...


class Reading(Protocol):
    """What status, replay and wake-up need."""

    async def run(self, id: str) -> Run | None: ...

    async def runs(self, filter: RunFilter) -> list[Run]: ...

    async def outcomes(self, uids: Sequence[str]) -> list[Run]:
        """Those of these runs that have ended or are blocked."""
        ...

    async def missing(self, uids: Sequence[str]) -> list[str]:
        """Those of these runs that are not there: pruned, or never written."""
        ...

    async def histories(self, runs: Sequence[tuple[str, int]]) -> dict[str, list[Recorded]]:
        """By uid, the facts of these runs' generations in the order of their positions."""
        ...

    async def inbox(self, worker: int) -> list[PutInbox]:
        """What waits for the runs that this worker owns, oldest first."""
        ...

    async def events(self, after: int, limit: int) -> list[LoggedEvent]:
        """The log behind position `after`, in its order; an earlier position is never filled later."""
        ...

    async def events_at(self, positions: Sequence[int]) -> list[LoggedEvent]:
        """The events at these places in the log, in its order."""
        ...

    async def events_of(self, conversation: str, after: int, limit: int) -> list[LoggedEvent]:
        """A conversation's events behind position `after`, in the log's order."""
        ...

    async def events_found(self, filter: EventFilter) -> list[LoggedEvent]:
        """Those that the filter means, in the log's order."""
        ...

    async def events_counted(self, filter: EventFilter) -> int:
        """How many the filter means, whatever its limit."""
        ...

    async def headings(self, types: Sequence[str], after: int, until: int) -> list[Heading]:
        """The events of these types behind `after`, up to `until`. Reads no data, however large it is."""
        ...

    async def catalog(self, workflow: str, version: int) -> str | None: ...

    async def catalogs(self) -> dict[str, str]:
        """By workflow, what the newest version's code says of it."""
        ...

    async def traffic(self, last: int) -> Traffic:
        """Who has published what and what came of what, in the log's last so many events and the last so many runs."""
        ...

    async def prospect(
        self, worker: int, known: Sequence[Version], fingerprint: str, now: Micros, full: Sequence[str] = ()
    ) -> Prospect:
        """Whether there is anything to do for this worker, which has no room for more of the `full` queues. Cheap,
        and writes nothing."""
        ...

    async def queues(self, now: Micros) -> list[QueueRow]:
        """All queues that were declared or that have runs, by name."""
        ...

    async def counts(self) -> dict[str, int]:
        """Runs by state."""
        ...

    async def open_runs(self, now: Micros) -> OpenRuns:
        """The runs that have not ended, counted; those that have cost nothing."""
        ...

    async def versions(self) -> Versions:
        """What is in flight on which version, and who knows it; runs that have ended cost nothing."""
        ...

    async def knowing(self, version: Version) -> list[int]:
        """The workers that are not buried and have this version."""
        ...

    async def loads(self) -> dict[int, int]:
        """By worker, how many runs it owns; those that own none are left out."""
        ...

    async def changed(self) -> bool:
        """Whether anybody has committed anything since the last call. Cheap: asked at every hint."""
        ...

    async def hint(self) -> bool:
        """Wait until it is worth asking `changed` again: very soon after a commit, and now and then without any.
        True: somebody has told of a commit, so there is no need to ask."""
        ...


class Store(Writing, Transacting, Owning, Following, Delivering, Expecting, Reading, Protocol):
    """One store, opened once per process; `address` as it may be shown, without a password; `identity` says which store
    it is, once it is open, unless the address says all (None)."""

    address: str

    @property
    def identity(self) -> str | None: ...

    async def open(self, *, create: bool) -> None:
        """Raises StoreMissing, StoreRefused, StoreUnavailable."""
        ...

    async def close(self) -> None: ...

    async def schemas(self) -> Schemas:
        """Which schema the store has; changes nothing, and needs no open store. Raises StoreRefused: it is something
        else; StoreUnavailable."""
        ...

    async def backup(self, path: str, progress: Progress | None = None) -> None:
        """A consistent copy while everything runs. Raises StoreRefused: the target exists."""
        ...

    async def findings(self) -> list[str]:
        """What is wrong or risky with the store as it is; empty when all is well."""
        ...
