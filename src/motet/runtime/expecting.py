"""Following the log for expectations: arming, meeting, and saying what is missed.

    claim the cursors ──> read the log's head ──> read up to it, page by page ──> judge what is overdue ──┐
            ▲                                                                                              │
            └────────── something was written, an expectation is due, or the poll ─────────────────────────┘

A miss is never told by the clock alone. The time is read first, then the head of the log, then everything up to there,
and only then what was overdue by that time is missed: what happened in time may lie in the log unread, after a night
without workers for instance.

Each page is one unit: the rows that its events have changed and the cursor's move. Nothing is kept in memory but how
far was read, so a million open expectations cost nothing here; and a crash repeats a page from the rows as they were.
Pages without a concern move the cursor now and then only, for to read them again does no harm.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from motet.choreography.expectations import Expectation
from motet.choreography.expecting import Ledger, Rule, next_look, overdue
from motet.errors import LeaseLost, StoreError, StoreRejected
from motet.model.clock import SECOND, Micros
from motet.model.event import Heading
from motet.model.expected import Expected
from motet.orchestration.definitions import Workflow
from motet.orchestration.registry import Registry
from motet.runtime.missing import Missing, remedy_of
from motet.runtime.outlook import Outlook
from motet.runtime.worker import Worker
from motet.store.mutations import KeepExpected, MoveCursor, Mutation
from motet.store.protocol import CursorRow, Receipt, Subscription

log = logging.getLogger("motet.worker")

PAGE = 1_000
MISSES_AT_ONCE = 100
PAUSE_SECONDS = 0.02
SAVE_SECONDS = 1.0
LEASE_LOOK_SECONDS = 0.25


class Watched(NamedTuple):
    """An expectation as a worker follows it.

    Args:
        remedy: the workflow that each miss starts.
    """

    rule: Rule
    subscription: Subscription
    remedy: Workflow[Any, Any] | None


def watched_by(expectations: Iterable[Expectation], registry: Registry) -> list[Watched]:
    """Those of an app, checked. Raises DefinitionError."""
    found: list[Watched] = []
    for expectation in expectations:
        rule, remedy = expectation.rule(registry.events), remedy_of(expectation)
        found.append(Watched(rule, expectation.subscription(rule), remedy))
    return found


class Follower:
    """One expectation whose cursor this worker owns."""

    def __init__(self, worker: Worker, watched: Watched, cursor: CursorRow) -> None:
        self._worker = worker
        self._store = worker.session.store
        self.rule = watched.rule
        self._missing = Missing(worker, watched.rule, watched.remedy)
        self.owner, self.epoch = cursor.owner, cursor.epoch
        self.read = self._saved = cursor.position
        self._delivered, self._failed = cursor.delivered, cursor.failed
        self._saved_at = worker.clock.monotonic()

    async def follow(self, now: Micros, head: int) -> None:
        """Read up to `head`, which was read at `now` or later; then judge. Raises LeaseLost, StoreError."""
        while self.read < head:
            await self._take(min(self.read + PAGE, head))
        await self._judge(now)
        if self.read > self._saved and self._worker.clock.monotonic() - self._saved_at >= SAVE_SECONDS:
            self.save()

    async def open(self, limit: int) -> list[Expected]:
        """What is open, that which is due first at the front."""
        return await self._store.expected_open(self.rule.name, limit)

    def save(self) -> None:
        """Record how far was read, if nothing else has to be recorded with it."""
        if self.read > self._saved:
            self._worker.committer.submit([self._move()])

    async def _take(self, until: int) -> None:
        rule = self.rule
        found = await self._store.headings([rule.expected, rule.after], self.read, until)
        concerning = [heading for heading in found if rule.concerns(heading)]
        changes = await self._changes(concerning) if concerning else []
        self.read = until
        self._delivered += len(concerning)
        if changes:
            await self._write([*(KeepExpected(*row, self.epoch) for row in changes), self._move()])
        elif until - self._saved >= PAGE:
            self.save()

    async def _changes(self, headings: Sequence[Heading]) -> list[Expected]:
        name = self.rule.name
        keys = {heading.subject: None for heading in headings if heading.subject is not None}
        if not self.rule.each:
            rows = await self._store.expected_for(name, [*keys], "all")
        else:  # of what was settled nothing can change, and of that there may be much
            answered = {heading.subject for heading in headings if heading.type == self.rule.expected}
            rows = await self._store.expected_for(name, [key for key in keys if key in answered], "unsettled")
            rows += await self._store.expected_for(name, [key for key in keys if key not in answered], "early")
        ledger = Ledger(self.rule, rows)
        for heading in headings:
            ledger.take(heading)
        return ledger.changes()

    async def _judge(self, now: Micros) -> None:
        while rows := overdue(await self.open(MISSES_AT_ONCE), self.rule, now):
            units = await self._missing.units(rows)
            written = await asyncio.gather(*(self._write(unit) for unit in units), return_exceptions=True)
            for unit, outcome in zip(units, written, strict=True):
                if isinstance(outcome, BaseException):
                    raise outcome
                self._missing.check_started(unit, outcome)

    async def _write(self, unit: list[Mutation]) -> Receipt:
        """Commit it as one fact. Raises LeaseLost: the cursor is another's by now; StoreRejected."""
        committer = self._worker.committer
        written = asyncio.ensure_future(committer.write(unit, fenced=True))
        try:
            while not written.done():  # what a lost lease leaves behind is dropped without a word
                if committer.worker != self.owner:
                    raise LeaseLost(f"worker {self.owner} has been declared dead; {self.rule.name} belongs to others")
                await asyncio.wait({written}, timeout=LEASE_LOOK_SECONDS)
            return written.result()
        finally:
            written.cancel()

    def _move(self) -> MoveCursor:
        self._saved, self._saved_at = self.read, self._worker.clock.monotonic()
        return MoveCursor(
            self.rule.name, self.epoch, self.read, self._delivered, self._failed, 0, self._worker.clock.now()
        )


class Watching:
    """The expectations of one app in one worker: a part of it."""

    def __init__(self, worker: Worker, watched: Sequence[Watched]) -> None:
        self._worker = worker
        self._store = worker.session.store
        self._watched = {one.rule.name: one for one in watched}
        self._followers: dict[str, Follower] = {}
        self._look = worker.session.pulse.listen()
        self._at_once = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises StoreError."""
        if not self._watched:
            return
        await self._store.subscribe([one.subscription for one in self._watched.values()], self._worker.clock.now())
        self._worker.parts.append(self)
        self.look()
        self._serving = asyncio.get_running_loop().create_task(self._serve(), name="motet-expectations")

    async def stop(self) -> None:
        """Before the worker lets go of everything."""
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
        for follower in self._followers.values():
            follower.save()

    def look(self) -> None:
        self._look.set()
        self._at_once.set()

    async def outlook(self) -> Outlook:
        owner, head = self._worker.committer.worker, await self._store.head()
        busy, dues = owner is None, list[Micros]()
        for cursor in await self._store.cursors():
            follower = self._followers.get(cursor.name)
            if cursor.name not in self._watched or cursor.paused or cursor.owner not in (None, owner):
                continue
            if follower is None or follower.epoch != cursor.epoch or follower.read < head:
                busy = True
            elif (due := next_look(await follower.open(1), follower.rule)) is not None:
                dues.append(due)
        return Outlook(busy, min(dues, default=None))

    async def _serve(self) -> None:
        wait = 0.0
        while True:
            await _heard(self._look, wait)
            self._look.clear()
            self._at_once.clear()
            wait = await self._try_round()
            await _heard(self._at_once, PAUSE_SECONDS)  # under load every commit is a change

    async def _try_round(self) -> float:
        """What goes wrong is tried again from what the store says."""
        try:
            return await self._round()
        except LeaseLost as error:
            log.info("%s", error)  # the committer has said so aloud
        except StoreRejected as error:
            log.error("an expectation cannot go on: %s", error)
        except StoreError as error:
            log.warning("%s; looking again", error)
        except Exception:
            log.exception("expectations could not be followed; trying again")
        self._followers.clear()
        return self._worker.settings.poll_seconds

    async def _round(self) -> float:
        """Everything that can be done now; returns how many seconds until something is due."""
        wait = self._worker.settings.poll_seconds
        worker = self._worker.committer.worker
        if worker is None:
            return wait
        await self._take_cursors(worker)
        for follower in list(self._followers.values()):
            now = self._worker.clock.now()  # before the head, for what was overdue then
            await follower.follow(now, await self._store.head())
            due = next_look(await follower.open(1), follower.rule)
            if due is not None:
                wait = min(wait, max((due - self._worker.clock.now()) / SECOND, 0.0))
        return wait

    async def _take_cursors(self, worker: int) -> None:
        """Follow what is ours by the store's word, after claiming what is free; forget all else."""
        mine = {cursor.name: cursor for cursor in await self._store.cursors() if cursor.name in self._watched}
        if free := [cursor.name for cursor in mine.values() if cursor.owner is None]:
            mine.update({cursor.name: cursor for cursor in await self._claim(worker, free)})
        for name, cursor in mine.items():
            follower = self._followers.get(name)
            if cursor.owner != worker or cursor.paused:
                self._followers.pop(name, None)
            elif follower is None or (follower.owner, follower.epoch) != (worker, cursor.epoch):
                self._followers[name] = Follower(self._worker, self._watched[name], cursor)
        for name in self._followers.keys() - mine.keys():  # renamed by newer code
            del self._followers[name]

    async def _claim(self, worker: int, free: Sequence[str]) -> list[CursorRow]:
        try:
            return await self._store.claim_cursors(worker, free)
        except LeaseLost as error:
            self._worker.committer.lose_lease(error, worker)
            raise


async def _heard(event: asyncio.Event, seconds: float) -> None:
    """Wait for it, at most so long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
