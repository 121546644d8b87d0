"""What a store must do to let go of what is over: pruned by age, with tombstones for ids.

A part of the store's protocol (`motet.store.protocol`), with the same rules. Pruning is a walk in pages: each is read
without any lock, and what it found is then removed in a short transaction that looks again whether it may.

What is kept, however old it is: runs that have not ended, and all of their conversation; events that a reaction or an
expectation has not passed, that a delivery or an open expectation still needs, or that an open run might wait for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from motet.model.clock import Micros
from motet.model.run import RunState
from motet.model.tombstone import Tombstone


class EndedRun(NamedTuple):
    """A run that may be pruned; `input` is the one that it was started with, if it was asked for."""

    uid: str
    id: str
    workflow: str
    version: int
    state: RunState
    epoch: int
    conversation: str
    created_at: Micros
    ended_at: Micros
    input: str | None = None


class RunsPage(NamedTuple):
    """What a look at some runs, in the order of their uids, has found.

    Args:
        ended: those that may be pruned.
        restarted: open ones with histories of earlier generations: uid and generation.
        kept: how many have ended long ago and stay, because something in their conversation is open.
        after: where the next page begins; None: this was the last.
    """

    ended: list[EndedRun]
    restarted: list[tuple[str, int]]
    kept: int
    after: str | None


class PrunedRuns(NamedTuple):
    """What was removed, of how many runs nothing is left, and how many of those that were named are dealt with: the
    others are for the next call."""

    runs: int
    facts: int
    dealt_with: int


class Holder(NamedTuple):
    """Who holds the log back: `name` of a reaction or an expectation that has come to `position` only; or the id of
    the oldest open run, which may still wait for events of the awaited types behind it."""

    kind: Literal["reaction", "expectation", "run"]
    name: str
    position: int
    paused: bool = False


class EventLimits(NamedTuple):
    """How far the log may be pruned.

    Args:
        until: the last position that is old enough and that every reader has passed.
        held: how many events are old enough and beyond that.
        awaited: types that runs wait for; of these, only up to `awaited_until`.
        holders: who holds them back.
    """

    until: int
    held: int
    awaited: frozenset[str]
    awaited_until: int
    holders: tuple[Holder, ...]


class EventsPage(NamedTuple):
    """The positions of events that may be pruned, how many of those that were looked at stay, and where the next page
    begins; None: this was the last."""

    positions: list[int]
    kept: int
    after: int | None


ExpectedKey = tuple[str, str, int]
"""Of what is expected: expectation, key, position."""


class ExpectedPage(NamedTuple):
    """What is settled and may be pruned."""

    keys: list[ExpectedKey]
    after: ExpectedKey | None


@runtime_checkable
class Retaining(Protocol):
    """`before` is a time: only what was over by then is pruned."""

    async def ended_runs(self, before: Micros, after: str, limit: int, *, inputs: bool) -> RunsPage:
        """Look at so many runs behind `after`, a uid; the first page begins behind an empty one."""
        ...

    async def prune_runs(self, before: Micros, tombstones: Sequence[Tombstone], rows: int) -> PrunedRuns:
        """Remove these runs with their histories, leaving their tombstones; what is open by now stays. Stops after
        about so many rows."""
        ...

    async def prune_generations(self, before: Micros, runs: Sequence[tuple[str, int]], rows: int) -> PrunedRuns:
        """Remove what these open runs' histories hold of generations before this one, at most so many rows."""
        ...

    async def tombstone(self, id: str) -> Tombstone | None:
        """What is left of a pruned run."""
        ...

    async def tombstones(self, conversation: str, limit: int) -> list[Tombstone]:
        """The pruned runs of a conversation, oldest first."""
        ...

    async def event_limits(self, before: Micros) -> EventLimits:
        """How far the log may be pruned now."""
        ...

    async def old_events(self, limits: EventLimits, after: int, limit: int) -> EventsPage:
        """Look at so many events behind position `after`."""
        ...

    async def prune_events(self, limits: EventLimits, positions: Sequence[int]) -> int:
        """Remove these events, but for what somebody needs by now; returns how many."""
        ...

    async def settled_expected(self, before: Micros, after: ExpectedKey, limit: int) -> ExpectedPage:
        """Look at so many rows of what is expected; the first page begins behind `("", "", -1)`."""
        ...

    async def prune_expected(self, before: Micros, keys: Sequence[ExpectedKey]) -> int:
        """Remove what is settled of these; returns how many."""
        ...

    async def prune_workers(self, before: Micros) -> int:
        """Forget workers that have ended; returns how many."""
        ...

    async def compact(self) -> Mapping[str, int]:
        """Give free space back to the system, in one go that others wait for; the sizes `before` and `after`, in
        bytes."""
        ...
