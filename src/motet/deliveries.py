"""Reactions and their dead letters as people see and steer them: from the store's records alone, without their code."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec

from motet.choreography.reactions import Reaction, ReactionNote, read_note
from motet.errors import BadValue, DeadLetterNotFound, NotPossible, ReactionNotFound
from motet.model.clock import SECOND, Clock, Micros, from_datetime
from motet.model.codec import encode, plain
from motet.model.delivery import DEAD, DeliveryRow, DeliveryState
from motet.model.event import LoggedEvent
from motet.model.failure import Failure, decode_failure
from motet.places import refuse_in_transaction
from motet.status import iso
from motet.store.protocol import CursorRow, DeliveryFilter, EventFilter, Store

ReactionState = Literal["running", "paused", "unattended"]
"""A worker delivers; a person has paused it; no worker that has its code runs."""

ReplayFrom = Literal["beginning"] | int | datetime
"""The first event that is delivered anew: its position, or the first that was recorded then or later."""

EVERYTHING = (1 << 63) - 1


class ReactionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a reaction stands. Times are ISO 8601 in UTC.

    Args:
        events: the names and patterns that it is for.
        starts: the workflow that each event starts.
        worker: who delivers.
        position: up to where the log has been dealt with, but for what has a row of its own (the counts below).
        behind: how many events of the log are still to be read, whether they are for it or not.
        lag_seconds: how long ago the first of these was recorded.
        delivered, failed: deliveries that came to their end, and attempts that failed, in all.
        retrying, waiting, running: to be tried again; behind another one of their key; at work for long.
        dead: dead letters.
        declared_at: where in the source.
    """

    name: str
    state: ReactionState
    events: tuple[str, ...]
    starts: str | None
    worker: str | None
    position: int
    behind: int
    lag_seconds: float
    delivered: int
    failed: int
    retrying: int
    waiting: int
    running: int
    dead: int
    hold: bool
    transaction: bool
    filtered: bool
    declared_at: str | None
    moved_at: str | None


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that a person decides about. Times are ISO 8601 in UTC.

    Args:
        position: the event's place in the log; with the reaction's name it names the dead letter.
        held: later events of its key wait for it.
        data: what would be delivered: the event's own, or what a person has put in its place (`edited`).
        trace: where the last attempt failed.
    """

    reaction: str
    position: int
    held: bool
    event: str
    type: str
    key: str | None
    source: str
    conversation: str
    time: str
    parked_at: str
    attempts: int
    error_type: str
    error: str
    trace: str | None
    data: Any
    edited: bool


class Replay(NamedTuple):
    """What a replay would do: deliver so many events behind this position anew."""

    reaction: str
    position: int
    events: int


class Deliveries:
    """The verbs of one connection."""

    def __init__(self, store: Store, clock: Clock, limit: int) -> None:
        self._store = store
        self._clock = clock
        self._limit = limit

    # --- reactions --------------------------------------------------------------------------------------------

    async def reactions(self) -> list[ReactionStatus]:
        """All of them, by name."""
        store = self._store
        cursors = await self._cursors()
        head, counts = await store.head(), await store.delivery_counts()
        names = {worker.id: worker.name for worker in await store.workers()}
        recorded = await store.recorded_behind([cursor.position for cursor in cursors])
        now = self._clock.now()
        return [
            _status(
                cursor, read_note(cursor.definition), head, counts.get(cursor.name, {}), names,
                recorded.get(cursor.position), now,
            )
            for cursor in cursors
        ]  # fmt: skip

    async def cursor(self, reaction: Reaction | str, *, of_any_kind: bool = False) -> CursorRow:
        """Raises ReactionNotFound; NotPossible: several apps have one of this name.

        Args:
            of_any_kind: expectations too.
        """
        name = reaction.name if isinstance(reaction, Reaction) else reaction
        cursors = await (self._store.cursors() if of_any_kind else self._cursors())
        found = [one for one in cursors if one.name == name] or [
            one for one in cursors if one.name.rpartition("/")[2] == name
        ]
        known = ", ".join(one.name for one in (found or cursors)) or "none"
        if not found:
            raise ReactionNotFound(f"there is no reaction '{name}' in {self._store.address}; known: {known}")
        if len(found) > 1:
            raise NotPossible(f"several reactions are named '{name}'; choose one: {known}")
        return found[0]

    async def _cursors(self) -> list[CursorRow]:
        return [cursor for cursor in await self._store.cursors() if cursor.kind == "reaction"]

    async def pause(self, reaction: Reaction | str, paused: bool) -> str:
        """Returns its full name."""
        name = (await self.cursor(reaction)).name
        self._refuse_in_transaction("pause" if paused else "resume")
        await self._store.pause(name, paused)
        return name

    async def plan_replay(self, reaction: Reaction | str, start: ReplayFrom) -> Replay:
        """Changes nothing. Raises ReactionNotFound; NotPossible: it has not come so far; BadValue."""
        cursor = await self.cursor(reaction)
        position = await self._position(start)
        if position > cursor.position:
            raise NotPossible(
                f"reaction {cursor.name} stands at position {cursor.position} and has not come to {position + 1} yet; "
                "what lies before it is never skipped: replay from an earlier position"
            )
        types = read_note(cursor.definition).events
        wanted = EventFilter(types, after=position, until=cursor.position, addressed=False)
        return Replay(cursor.name, position, await self._store.events_counted(wanted))

    async def _position(self, start: Any) -> int:
        if start == "beginning":
            return 0
        if isinstance(start, datetime):
            try:
                return await self._store.place_of(from_datetime(start))
            except ValueError as error:
                raise BadValue(f"a replay from {start!r}: {error}") from error
        if not isinstance(start, int) or isinstance(start, bool) or start < 1:
            raise BadValue(f"a replay from {start!r}; give a position from 1, 'beginning', or a time with its zone")
        return start - 1

    async def replay(self, reaction: Reaction | str, start: ReplayFrom) -> Replay:
        """See `App.replay`."""
        plan = await self.plan_replay(reaction, start)
        self._refuse_in_transaction("replay")
        await self._store.replay(plan.reaction, plan.position)
        return plan

    async def forget(self, reaction: Reaction | str) -> str:
        """See `App.forget`."""
        cursor = await self.cursor(reaction, of_any_kind=True)
        if cursor.owner is not None:
            raise NotPossible(
                f"a worker delivers to {cursor.kind} {cursor.name}, so its code is still there; remove it from the "
                "code and restart the workers first"
            )
        self._refuse_in_transaction("forget")
        await self._store.forget_reaction(cursor.name)
        return cursor.name

    # --- dead letters -----------------------------------------------------------------------------------------

    async def meant(
        self, reaction: Reaction | str | None = None, position: int | None = None, *, type: str | None = None,
        key: str | None = None, conversation: str | None = None, limit: int = EVERYTHING,
    ) -> DeliveryFilter:  # fmt: skip
        """Raises ReactionNotFound."""
        name = None if reaction is None else (await self.cursor(reaction)).name
        return DeliveryFilter(DEAD, name, position, key, type, conversation, limit)

    async def listed(self, filter: DeliveryFilter) -> list[DeadLetter]:
        """Dead letters in the order of reactions and positions."""
        rows = await self._store.deliveries(filter)
        events = {event.position: event for event in await self._store.events_at([row.position for row in rows])}
        return [_letter(row, events[row.position]) for row in rows if row.position in events]

    async def count(self, filter: DeliveryFilter) -> int:
        """How many dead letters are meant."""
        return await self._store.deliveries_counted(filter)

    async def letter(self, reaction: Reaction | str, position: int) -> DeadLetter:
        """Raises ReactionNotFound, DeadLetterNotFound."""
        found = await self.listed(await self.meant(reaction, position))
        if not found:
            raise await self._missing(reaction, position)
        return found[0]

    async def behind(self, letter: DeadLetter, limit: int = 100) -> list[int]:
        """The positions of what waits behind it because it is held, at most so many."""
        if not letter.held:
            return []
        wanted = DeliveryFilter(
            ("waiting",), letter.reaction, key=letter.key, limit=limit, after=(letter.reaction, letter.position)
        )
        return [row.position for row in await self._store.deliveries(wanted)]

    async def edit(self, reaction: Reaction | str, position: int, data: Any) -> None:
        """See `App.edit`."""
        name = (await self.cursor(reaction)).name
        text = encode(data, f"the data of the event at position {position} for {name}", self._limit)
        self._refuse_in_transaction("edit")
        if not await self._store.edit_delivery(name, position, text):
            raise await self._missing(name, position)

    async def redrive(self, filter: DeliveryFilter) -> int:
        self._refuse_in_transaction("redrive")
        return self._done(filter, await self._store.redrive(filter, self._clock.now()))

    async def discard(self, filter: DeliveryFilter) -> int:
        self._refuse_in_transaction("discard")
        return self._done(filter, await self._store.discard(filter))

    def _done(self, filter: DeliveryFilter, count: int) -> int:
        if not count and filter.reaction is not None and filter.position is not None:
            raise _not_dead(filter.reaction, filter.position)
        return count

    def _refuse_in_transaction(self, verb: str) -> None:
        refuse_in_transaction(verb, self._store.address, "leave it to a reaction without one")

    async def _missing(self, reaction: Reaction | str, position: int) -> DeadLetterNotFound:
        return _not_dead((await self.cursor(reaction)).name, position)


def _not_dead(reaction: str, position: int) -> DeadLetterNotFound:
    return DeadLetterNotFound(
        f"reaction {reaction} has no dead letter at position {position}; 'motet dead-letters' lists them"
    )


def _status(
    cursor: CursorRow, note: ReactionNote, head: int, counts: dict[DeliveryState, int], workers: dict[int, str],
    recorded: Micros | None, now: Micros,
) -> ReactionStatus:  # fmt: skip
    state: ReactionState = "paused" if cursor.paused else "running" if cursor.owner is not None else "unattended"
    return ReactionStatus(
        name=cursor.name, state=state, events=note.events, starts=note.starts,
        worker=None if cursor.owner is None else workers.get(cursor.owner),
        position=cursor.position, behind=max(head - cursor.position, 0),
        lag_seconds=0.0 if recorded is None else max(now - recorded, 0) / SECOND,
        delivered=cursor.delivered, failed=cursor.failed,
        retrying=counts.get("retrying", 0), waiting=counts.get("waiting", 0), running=counts.get("running", 0),
        dead=dead(counts), hold=note.hold, transaction=note.transaction, filtered=note.filtered,
        declared_at=note.place, moved_at=iso(cursor.moved_at),
    )  # fmt: skip


def dead(counts: dict[DeliveryState, int]) -> int:
    """How many of these deliveries are dead letters."""
    return sum(counts.get(state, 0) for state in DEAD)


def _letter(row: DeliveryRow, event: LoggedEvent) -> DeadLetter:
    failure = decode_failure(row.error) if row.error is not None else Failure("Exception", "no reason is recorded")
    return DeadLetter(
        reaction=row.reaction, position=row.position, held=row.state == "held", event=event.given_id, type=event.type,
        key=event.subject, source=event.source, conversation=event.correlationid, time=iso(event.time) or "",
        parked_at=iso(row.at) or "", attempts=row.attempts, error_type=failure.type, error=failure.message,
        trace=failure.trace, data=plain(event.data if row.data is None else row.data), edited=row.data is not None,
    )  # fmt: skip
