"""Pruning a store by age: in small batches with breaths between them, so that nobody waits for long.

What may go, and what stays however old it is, the store decides, and looks again in each transaction. A crash or a
stop anywhere in between loses nothing: whoever prunes next goes on with what is there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec

from motet.errors import NotPossible, StoreError
from motet.model.clock import SECOND, Clock, Micros
from motet.model.keyring import Keyring
from motet.model.tombstone import Tombstone, digest_of
from motet.runtime.outlook import Outlook
from motet.runtime.worker import Worker
from motet.store.protocol import Store
from motet.store.retention import EndedRun, EventLimits, ExpectedKey, Holder, Retaining, RunsPage

log = logging.getLogger("motet.worker")

LOOKED_AT: Final = 500
RUNS_AT_ONCE: Final = 100
ROWS_AT_ONCE: Final = 2_000
BREATH_SECONDS: Final = 0.005
ROUND_SECONDS: Final = 3_600
DAY: Final = 24 * 3_600 * SECOND

Report = Callable[[int, int], None]
"""Called with what is done and what there is in all."""


class Holding(msgspec.Struct, frozen=True):
    """Who holds the log back: a reaction or an expectation that has come to `position` only, or the oldest open run,
    which might still wait for events behind it."""

    kind: str
    name: str
    position: int
    paused: bool = False


class Prunable(msgspec.Struct, frozen=True):
    """What pruning would remove, and what stays although it is old enough.

    Args:
        runs: with their histories.
        kept_runs: ended long ago, but something in their conversation is open.
        events: of the log.
        held_events: not passed yet by one of `holders`.
        kept_events: of open conversations, or needed by a dead letter, a delivery, an expectation or a wait.
        expected: what expectations have settled.
    """

    runs: int
    kept_runs: int
    events: int
    held_events: int
    kept_events: int
    expected: int
    holders: list[Holding]

    @property
    def total(self) -> int:
        return self.runs + self.events + self.expected


class Pruned(msgspec.Struct):
    """What was removed; `facts` are rows of histories, `workers` rows of workers that have ended."""

    runs: int = 0
    facts: int = 0
    events: int = 0
    expected: int = 0
    workers: int = 0


def retaining(store: Store) -> Retaining:
    """The store's verbs for it. Raises NotPossible: it has none."""
    if not isinstance(store, Retaining):
        raise NotPossible(f"{store.address} cannot be pruned by this version of Motet")
    return store


class Pruner:
    """Prunes one store of what was over before a time.

    Args:
        keys: what tombstones know of inputs is made with the current one.
    """

    def __init__(self, store: Store, clock: Clock, before: Micros, keys: Keyring | None = None) -> None:
        self._store = store
        self._retaining = retaining(store)
        self._keys = keys
        self._clock = clock
        self._before = before

    async def count(self) -> Prunable:
        """What would go now; changes nothing and takes no lock."""
        runs = kept_runs = events = kept_events = expected = 0
        async for page in self._runs(inputs=False):
            runs += len(page.ended)
            kept_runs += page.kept
        limits = await self._retaining.event_limits(self._before)
        async for positions, kept in self._events(limits):
            events += len(positions)
            kept_events += kept
        async for keys in self._expected():
            expected += len(keys)
        holders = [Holding(*holder) for holder in limits.holders if _holds(holder, limits)]
        return Prunable(runs, kept_runs, events, limits.held, kept_events, expected, holders)

    async def prune(self, total: int = 0, report: Report | None = None) -> Pruned:
        """Remove it.

        Args:
            total: what `count` has found, for the report.
        """
        done = Pruned()

        def tell() -> None:
            if report is not None:
                now = done.runs + done.events + done.expected
                report(now, max(now, total))

        await self._store.empty_outbox()  # what lies there is as old as the log is when it comes into it
        async for page in self._runs(inputs=True):
            await self._prune_page(page, done, tell)
        limits = await self._retaining.event_limits(self._before)
        async for positions, _ in self._events(limits):
            if positions:
                done.events += await self._retaining.prune_events(limits, positions)
                tell()
                await asyncio.sleep(BREATH_SECONDS)  # tidy: others write meanwhile
        async for keys in self._expected():
            if keys:
                done.expected += await self._retaining.prune_expected(self._before, keys)
                tell()
                await asyncio.sleep(BREATH_SECONDS)  # tidy: others write meanwhile
        done.workers = await self._retaining.prune_workers(self._before)
        return done

    async def _prune_page(self, page: RunsPage, done: Pruned, tell: Callable[[], None]) -> None:
        left = [self._tombstone(run) for run in page.ended]
        while left:
            pruned = await self._retaining.prune_runs(self._before, left[:RUNS_AT_ONCE], ROWS_AT_ONCE)
            left = left[pruned.dealt_with :]
            done.runs += pruned.runs
            done.facts += pruned.facts
            tell()
            await asyncio.sleep(BREATH_SECONDS)  # tidy: others write meanwhile
        restarted = page.restarted
        while restarted:
            pruned = await self._retaining.prune_generations(self._before, restarted, ROWS_AT_ONCE)
            restarted = restarted[pruned.dealt_with :]
            done.facts += pruned.facts
            await asyncio.sleep(BREATH_SECONDS)  # tidy: others write meanwhile

    def _tombstone(self, run: EndedRun) -> Tombstone:
        return Tombstone(
            run.id, run.uid, run.workflow, run.version, run.state, run.epoch, run.conversation, run.created_at,
            run.ended_at, self._clock.now(), digest_of(run.uid, run.input, self._keys),
        )  # fmt: skip

    # --- pages ------------------------------------------------------------------------------------------------

    async def _runs(self, *, inputs: bool) -> AsyncIterator[RunsPage]:
        after: str | None = ""
        while after is not None:
            page = await self._retaining.ended_runs(
                self._before, after, RUNS_AT_ONCE if inputs else LOOKED_AT, inputs=inputs
            )  # fmt: skip
            after = page.after
            yield page

    async def _events(self, limits: EventLimits) -> AsyncIterator[tuple[list[int], int]]:
        after: int | None = 0
        while after is not None:
            page = await self._retaining.old_events(limits, after, LOOKED_AT)
            after = page.after
            yield page.positions, page.kept

    async def _expected(self) -> AsyncIterator[list[ExpectedKey]]:
        after: ExpectedKey | None = ("", "", -1)
        while after is not None:
            page = await self._retaining.settled_expected(self._before, after, LOOKED_AT)
            after = page.after
            yield page.keys


def _holds(holder: Holder, limits: EventLimits) -> bool:
    """A run holds only what it might wait for."""
    return limits.held > 0 if holder.kind != "run" else bool(limits.awaited)


class Pruning:
    """A worker's part that prunes by itself, once an hour; of several workers the oldest does."""

    def __init__(self, worker: Worker, days: float) -> None:
        self._worker = worker
        self._age = round(days * DAY)
        self._next: Micros = 0
        self._busy = False
        self._look = asyncio.Event()
        self._rounds: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Raises NotPossible: the store cannot be pruned."""
        retaining(self._worker.session.store)
        self._worker.parts.append(self)
        self._rounds = asyncio.get_running_loop().create_task(self._work(), name="motet-pruning")

    async def stop(self) -> None:
        if self._rounds is not None:
            self._rounds.cancel()
            await asyncio.gather(self._rounds, return_exceptions=True)

    def look(self) -> None:
        self._look.set()

    async def outlook(self) -> Outlook:
        return Outlook(self._busy or self._next <= self._worker.clock.now(), self._next)

    async def _work(self) -> None:
        clock = self._worker.clock
        while True:
            self._look.clear()
            if self._next <= clock.now():
                self._busy = True
                try:
                    await self._round(clock.now() - self._age)
                except StoreError as error:
                    log.warning("%s; pruning again in an hour", error)
                except Exception:
                    log.exception("could not prune; trying again in an hour")
                finally:
                    self._next = clock.now() + ROUND_SECONDS * SECOND
                    self._busy = False
            try:
                async with asyncio.timeout(max((self._next - clock.now()) / SECOND, 0.0)):
                    await self._look.wait()
            except TimeoutError:
                pass  # it is time

    async def _round(self, before: Micros) -> None:
        store, me = self._worker.session.store, self._worker.committer.worker
        others = [worker.id for worker in await store.workers() if worker.state == "running"]
        if me is None or me != min(others, default=me):
            return
        pruned = await Pruner(store, self._worker.clock, before, self._worker.settings.keys).prune()
        if pruned.runs or pruned.events:
            log.info("pruned %d runs and %d events", pruned.runs, pruned.events)
