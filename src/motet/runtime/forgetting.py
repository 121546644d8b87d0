"""Forgetting a conversation: its payloads are erased, its shape stays.

Runs, steps, events and reactions are still told by status and conversation, with `(forgotten)` where content was:
inputs, results, error texts, data of events and of dead letters, notes, attributes, and what tombstones know of inputs.
Ids, keys, names, types and times stay: they are the shape.

Invariants: nothing that is open is written to. Each exchange is a compare-and-set in a short transaction, so a stop in
the middle leaves a conversation half forgotten, and to forget it again goes on. What users' transactions have
published and committed comes into the log first, where it is delivered, or in the way, or forgotten, like all else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final, get_args

import msgspec

from motet.choreography.patterns import Patterns
from motet.choreography.reactions import read_note
from motet.errors import ConversationNotFound, NotPossible
from motet.model.delivery import DEAD, DeliveryState
from motet.model.event import ENGINE
from motet.model.forgotten import (
    FORGOTTEN,
    WORD,
    forgotten_fact,
    forgotten_failure,
    forgotten_report,
    is_forgotten,
)
from motet.model.keyring import Keyring
from motet.model.run import ENDED, STATES, RunState
from motet.store.payloads import TABLES, PayloadChange, PayloadRow, Payloads, Table, Values
from motet.store.places import open_row
from motet.store.protocol import DeliveryFilter, ExpectedFilter, RunFilter, Store
from motet.store.retention import Retaining
from motet.store.sealing import Sealer

PAGE: Final = 100
SHOWN: Final = 20
"""So many of each kind are named of what is in the way."""
EVERYTHING: Final = 1 << 31
_OPEN: Final[tuple[RunState, ...]] = tuple(state for state in STATES if state not in ENDED)
_UNDER_WAY: Final[tuple[DeliveryState, ...]] = tuple(
    state for state in get_args(DeliveryState) if state not in (*DEAD, "done")
)  # fmt: skip


class Forgotten(msgspec.Struct):
    """What was erased: rows of each kind that held something.

    Args:
        discarded: dead letters that were given up for it.
        scrubbed: whether the database keeps no earlier state beside its tables; False: a reader is still at one, and it
            goes when the next checkpoint comes.
    """

    conversation: str
    runs: int = 0
    facts: int = 0
    events: int = 0
    messages: int = 0
    deliveries: int = 0
    digests: int = 0
    discarded: int = 0
    scrubbed: bool = False


@dataclass(slots=True)
class Obstacles:
    """What in a conversation still needs what would be erased: in words, each with its way out."""

    firm: list[str]
    weak: list[str]


class Forgetter:
    """Forgets conversations of one store."""

    def __init__(self, store: Store, keys: Keyring | None = None) -> None:
        self._sealer = None if keys is None else Sealer(keys)
        if not isinstance(store, Payloads) or not isinstance(store, Retaining):
            raise NotPossible(f"{store.address} cannot forget conversations with this version of Motet")
        self._store: Store = store
        self._payloads: Payloads = store
        self._retaining: Retaining = store

    async def named(self, key: str) -> str:
        """The conversation of this name, or that of the run with this id. Raises ConversationNotFound."""
        await self._store.empty_outbox()
        if await self._is_there(key):
            return key
        run = await self._store.run(key)
        if run is not None:
            return run.conversation
        pruned = await self._retaining.tombstone(key)
        if pruned is not None:
            return pruned.conversation
        raise ConversationNotFound(
            f"there is no conversation '{key}' in {self._store.address}, nor a run with this id; a conversation is "
            "called by the id of the run or the key of the event that began it"
        )

    async def _is_there(self, name: str) -> bool:
        return bool(
            await self._store.runs(RunFilter(conversation=name, limit=1))
            or await self._store.events_of(name, 0, 1)
            or await self._retaining.tombstones(name, 1)
        )

    # --- what is in the way -----------------------------------------------------------------------------------

    async def obstacles(self, conversation: str) -> Obstacles:
        """What is open in it. What is `weak` is given up when somebody insists; the rest never is."""
        store = self._store
        firm = [
            f"run '{run.id}' is {run.state}: cancel it, or wait for its end"
            for run in await store.runs(RunFilter(None, _OPEN, conversation, SHOWN))
        ]
        firm += [
            f"the event at position {row.position} is being delivered to {row.reaction} ({row.state}): wait for it"
            for row in await store.deliveries(DeliveryFilter(_UNDER_WAY, conversation=conversation, limit=SHOWN))
        ]
        weak = [
            f"the event at position {row.position} is a dead letter of {row.reaction}: redrive or discard it"
            for row in await store.deliveries(DeliveryFilter(DEAD, conversation=conversation, limit=SHOWN))
        ]
        weak += [
            f"expectation {row.expectation} is open for key '{row.key}': wait until it is met or missed"
            for row in await store.expected(ExpectedFilter(None, ("open",), conversation, SHOWN))
        ]
        return Obstacles(firm, weak + await self._undelivered(conversation))

    async def _undelivered(self, conversation: str) -> list[str]:
        """Reactions that have not come to all of its events."""
        waiting: list[str] = []
        for cursor in await self._store.cursors():
            if cursor.kind != "reaction":
                continue
            patterns = Patterns(read_note(cursor.definition).events)
            after = cursor.position
            while page := await self._store.events_of(conversation, after, PAGE):
                after = page[-1].position
                meant = [event for event in page if event.recipient is None and patterns.match(event.type)]
                if any(not is_forgotten(event.data) for event in meant):
                    waiting.append(f"reaction {cursor.name} has not come to all of its events{_why(cursor.paused)}")
                    break
        return waiting

    # --- forgetting -------------------------------------------------------------------------------------------

    async def forget(self, conversation: str, *, force: bool = False) -> Forgotten:
        """Erase its payloads.

        Args:
            force: give up its dead letters, and what reactions and expectations have not come to.

        Raises:
            NotPossible: something in it is open.
        """
        await self._store.empty_outbox()
        obstacles = await self.obstacles(conversation)
        reasons = [*obstacles.firm, *([] if force else obstacles.weak)]
        if reasons:
            more = "" if obstacles.firm or force else "; or insist (--force), and that is given up"
            raise NotPossible(f"conversation '{conversation}' is not over: {'; '.join(reasons)}{more}")
        done = Forgotten(conversation)
        if force:
            letters = DeliveryFilter(DEAD, conversation=conversation, limit=EVERYTHING)
            done.discarded = await self._store.discard(letters)
        counts: dict[Table, int] = {}
        for table in TABLES:
            counts[table] = 0
            async for rows in self._pages(table, conversation):
                changes = [change for row in rows if (change := self._erasing(table, row)) is not None]
                if changes:
                    counts[table] += await self._payloads.replace_payloads(table, changes)
        done.runs, done.facts, done.events = counts["run"], counts["history"], counts["event"]
        done.messages, done.deliveries = counts["inbox"], counts["delivery"]
        done.digests = await self._payloads.forget_digests(conversation)
        done.scrubbed = await self._payloads.scrub()
        return done

    async def _pages(self, table: Table, conversation: str) -> AsyncIterator[Sequence[PayloadRow]]:
        after = None
        while rows := await self._payloads.payloads(table, conversation, after, PAGE):
            after = rows[-1].key
            yield rows

    def _erasing(self, table: Table, row: PayloadRow) -> PayloadChange | None:
        """None: there is nothing in it (any more), or it has not ended."""
        opened = row if self._sealer is None else open_row(self._sealer, table, row)
        after = _erased(table, opened)
        return PayloadChange(row.key, row.values, after) if after != opened.values else None


def _why(paused: bool) -> str:
    return ": it is paused, resume it" if paused else ": wait for it, or forget it if no code declares it any more"


def _erased(table: Table, row: PayloadRow) -> Values:
    if table == "run":
        if row.about[0] not in ENDED:
            return row.values
        input, first, result, error, _, note, _ = (_text(value) for value in row.values)
        return (
            _marked(input), _marked(first), _marked(result), forgotten_failure(error), None, note and WORD, None
        )  # fmt: skip
    if table == "history":
        kind, operation_kind = row.about
        return forgotten_fact(kind, operation_kind, _text(row.values[0])), None
    if table == "delivery":
        return forgotten_failure(_text(row.values[0])), None
    if table == "event" and row.about[1] == ENGINE:
        return (forgotten_report(_text(row.values[0])),)
    return tuple(_marked(_text(value)) for value in row.values)


def _marked(text: str | None) -> str | None:
    return None if text is None else FORGOTTEN


def _text(value: str | int | None) -> str | None:
    return value if isinstance(value, str) else None
