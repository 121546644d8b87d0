"""One door for writes: takes whatever is ready and commits it in one transaction.

At once when idle, in larger groups under load, with no artificial delay: while one batch is on its way to the disk,
the next one gathers. One batch is in flight per process.

What can happen to a batch, and what follows:

    committed          each unit's `done` is called, in the order in which the units were submitted
    reply lost, error  read the receipt (the worker's own row, under lock): there, or write it again
    store away         wait and try again, for as long as it takes; nothing is given up or acknowledged
    record refused     split until the culprit is alone; its unit fails, all others are committed
    lease lost         units of the fenced worker are dropped; those of clients go into an unfenced batch

Invariants: a unit is never split over two transactions; a fenced unit is written under the identity under which it was
submitted or not at all, for a process that registers anew must not write what the worker before it had in mind.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from motet.config import Settings
from motet.errors import LeaseLost, StoreError, StoreRejected
from motet.model.clock import Clock
from motet.model.run import Run
from motet.runtime.hooks import Hooks
from motet.store.mutations import KIND_NAMES, Mutation, size_of
from motet.store.protocol import Fence, Receipt, Ticket, Writing

log = logging.getLogger("motet.committer")

T = TypeVar("T")
Done = Callable[[Receipt], None]
Failed = Callable[[Exception], None]

FIRST_WAIT = 0.05
LONGEST_WAIT = 2.0
SLOW_SECONDS = 5.0


class Unit:
    """Mutations that are one fact, and who is told. `worker` is whose fence it needs; clients' units need none."""

    __slots__ = ("done", "failed", "fenced", "mutations", "worker")

    def __init__(
        self, mutations: list[Mutation], done: Done | None, failed: Failed | None, fenced: bool, worker: int | None
    ) -> None:
        self.mutations = mutations
        self.done = done
        self.failed = failed
        self.fenced = fenced
        self.worker = worker


class Committer:
    """Lives on one event loop. `worker` is the registered worker's id, or None for a client."""

    def __init__(self, store: Writing, settings: Settings, clock: Clock, hooks: Hooks) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._hooks = hooks
        self._ready: deque[Unit] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.worker: int | None = None
        self.batch = 0
        self.away_since: float | None = None
        self.on_lease_lost: Callable[[], None] | None = None

    def submit(
        self, mutations: list[Mutation], done: Done | None = None, failed: Failed | None = None, *, fenced: bool = True
    ) -> None:
        """Have the mutations committed as one unit. `done` is called when they are durable; `failed` when the
        store can never hold them. Fenced units are dropped without a word when the lease is lost."""
        if not self._ready:
            self._wake.set()
            self._idle.clear()
        self._ready.append(Unit(mutations, done, failed, fenced, self.worker if fenced else None))

    async def write(self, mutations: list[Mutation], *, fenced: bool = False) -> Receipt:
        """Commit one unit and wait for it. Raises StoreRejected."""
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()

        def done(receipt: Receipt) -> None:
            if not future.done():
                future.set_result(receipt)

        def failed(error: Exception) -> None:
            if not future.done():
                future.set_exception(error)

        self.submit(mutations, done, failed, fenced=fenced)
        return await future

    @property
    def quiet(self) -> bool:
        """Whether nothing waits to be written or is on its way to the disk."""
        return self._idle.is_set()

    async def flushed(self, seconds: float) -> bool:
        """Wait until everything that was submitted has been dealt with, and what that led to; at most so long."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await self._idle.wait()
                    await asyncio.sleep(0)  # those who were told may have submitted more
                    if self._idle.is_set():
                        return True
        except TimeoutError:
            return False

    async def run(self) -> None:
        """The committer's task; ends by being cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._ready:
                await self._commit(self._take())
            self._idle.set()

    def lose_lease(self, error: LeaseLost, worker: int | None = None) -> None:
        """The worker has been declared dead: it writes nothing more under this identity.

        Args:
            worker: who has; old news, and ignored, when the process has registered anew since. None: who is now.
        """
        if self.worker is None or worker not in (None, self.worker):
            return
        log.error("%s", error)
        self.worker = None
        if self.on_lease_lost is not None:
            self.on_lease_lost()

    # --- one batch --------------------------------------------------------------------------------------------

    def _take(self) -> list[Unit]:
        """What is ready, in order, within the bounds; a single unit may be larger than they are."""
        ready, settings = self._ready, self._settings
        units: list[Unit] = []
        rows = size = 0
        while ready:
            unit = ready[0]
            rows += len(unit.mutations)
            size += size_of(unit.mutations)
            if units and (rows > settings.batch_rows or size > settings.batch_bytes):
                break
            units.append(ready.popleft())
        return units

    async def _commit(self, units: list[Unit]) -> None:
        worker = self.worker
        units = [unit for unit in units if self._stands(unit)]
        if not units:
            return
        try:
            receipt = await self._write(units, worker)
        except LeaseLost as error:
            self.lose_lease(error, worker)
            if left := [unit for unit in units if not unit.fenced]:
                await self._commit(left)
            return
        except StoreRejected as error:
            await self._split(units, error)
            return
        # Told in the loop's next round: by then the next batch is on its way, and both threads have work.
        asyncio.get_running_loop().call_soon(self._acknowledge, units, receipt)

    def _acknowledge(self, units: list[Unit], receipt: Receipt) -> None:
        for unit in units:
            if unit.done is not None and self._stands(unit):
                _tell(unit.done, receipt)

    def _stands(self, unit: Unit) -> bool:
        """Whether whoever submitted it may still write it."""
        return not unit.fenced or (unit.worker is not None and unit.worker == self.worker)

    async def _write(self, units: list[Unit], worker: int | None) -> Receipt:
        """Until it is committed, whatever the store goes through. Raises LeaseLost, StoreRejected."""
        # A fenced unit stands only while its worker does, so what it starts is still that worker's.
        mutations = [unit.mutations if unit.fenced else _disowned(unit.mutations, worker) for unit in units]
        guard = Fence(worker, self.batch + 1) if worker is not None else Ticket(secrets.token_hex(12))
        self._pass("before", mutations)
        began = self._clock.monotonic()
        receipt = await self._until_there(mutations, guard, began)
        if isinstance(guard, Fence) and guard.worker == self.worker:
            self.batch = guard.batch
        self._back()
        self._pass("after", mutations)
        self._hooks.tell_batch_committed(len(units), sum(map(len, mutations)), self._clock.monotonic() - began)
        return receipt

    # --- whatever the store goes through ----------------------------------------------------------------------

    async def _until_there(self, mutations: list[list[Mutation]], guard: Fence | Ticket, began: float) -> Receipt:
        slow = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._report_slow, began)
        try:
            if isinstance(guard, Fence):
                return await self._fenced(mutations, guard, began)
            return await self._answer(partial(self._store.commit, mutations, guard), began)
        finally:
            slow.cancel()

    async def _fenced(self, mutations: list[list[Mutation]], fence: Fence, began: float) -> Receipt:
        wait = FIRST_WAIT
        while True:
            try:
                return await self._store.commit(mutations, fence)
            except (LeaseLost, StoreRejected):
                raise
            except Exception as error:
                self._report(error, began)
            await asyncio.sleep(wait)  # tidy: the store is away
            wait = min(wait * 2, LONGEST_WAIT)
            # To write it again without knowing would look like having lost the lease.
            if await self._answer(partial(self._store.committed, fence), began):
                # Who won a start is only told by the commit itself: write the starts again, to hear it.
                starts: list[list[Mutation]] = [[row for row in unit if isinstance(row, Run)] for unit in mutations]
                return await self._answer(partial(self._store.commit, starts, None), began)

    async def _answer(self, ask: Callable[[], Awaitable[T]], began: float) -> T:
        """Ask until the store answers. Raises LeaseLost, StoreRejected."""
        wait = FIRST_WAIT
        while True:
            try:
                return await ask()
            except (LeaseLost, StoreRejected):
                raise
            except Exception as error:
                self._report(error, began)
            await asyncio.sleep(wait)  # tidy: the store is away
            wait = min(wait * 2, LONGEST_WAIT)

    def _report(self, error: Exception, began: float) -> None:
        if self.away_since is None:
            self.away_since = began
            # What is no trouble of a store's is a mistake of ours; even that loses nothing while we wait.
            unexpected = error if not isinstance(error, StoreError) else None
            log.warning("%s; waiting for it, nothing is lost", error, exc_info=unexpected)

    def _report_slow(self, began: float) -> None:
        if self.away_since is None:
            self.away_since = began
            log.warning(
                "the store has not answered for %.0f s (does some process hold its lock?); waiting, nothing is lost",
                SLOW_SECONDS,
            )

    def _back(self) -> None:
        if self.away_since is not None:
            log.warning("the store answers again after %.1f s", self._clock.monotonic() - self.away_since)
            self.away_since = None

    async def _split(self, units: list[Unit], error: StoreRejected) -> None:
        if len(units) > 1:
            half = len(units) // 2
            await self._commit(units[:half])
            await self._commit(units[half:])
            return
        log.error("the store refuses a record for good: %s", error)
        for unit in units:
            if unit.failed is not None:
                _tell(unit.failed, error)

    def _pass(self, when: str, mutations: list[list[Mutation]]) -> None:
        failpoint = self._hooks.failpoint
        if failpoint is not None and any(mutations):
            failpoint(when, frozenset(KIND_NAMES[type(row)] for unit in mutations for row in unit))


def _disowned(unit: list[Mutation], worker: int | None) -> list[Mutation]:
    """A start that this process cannot own (any more) waits for whoever claims it."""
    for row in unit:
        if isinstance(row, Run) and row.owner is not None and row.owner != worker:
            return [_free(row) for row in unit]
    return unit


def _free(row: Mutation) -> Mutation:
    if isinstance(row, Run) and row.owner is not None:
        return row.unowned()
    return row


def _tell(listener: Callable[[T], None], what: T) -> None:
    """What goes wrong in who hears of a commit is not the commit's fault, nor that of the others in the batch."""
    try:
        listener(what)
    except Exception:
        log.exception("a record was dealt with, and the work that follows it has failed")
