"""One door for writes: takes whatever is ready and commits it in one transaction.

At once when idle, in larger groups under load, with no artificial delay: while one batch is on its way to the disk,
the next one gathers. One batch is in flight per process.

What can happen to a batch, and what follows:

    committed          each unit's `done` is called, in the order in which the units were submitted
    reply lost, error  read the receipt (the worker's own row, under lock): there, or write it again
    store away         wait and try again, for as long as it takes; nothing is given up or acknowledged
    record refused     split until the culprit is alone; its unit fails, all others are committed
    lease lost         units of the fenced worker are dropped; those of clients go into an unfenced batch
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from motet.config import Settings
from motet.errors import LeaseLost, StoreRejected, StoreUnavailable
from motet.model.clock import Clock
from motet.runtime.hooks import Hooks
from motet.store.mutations import KIND_NAMES, Mutation, StartRun, size_of
from motet.store.protocol import Fence, Receipt, Writing

log = logging.getLogger("motet.committer")

Done = Callable[[Receipt], None]
Failed = Callable[[Exception], None]

FIRST_WAIT = 0.05
LONGEST_WAIT = 2.0


class Unit:
    """Mutations that are one fact, and who is told."""

    __slots__ = ("done", "failed", "fenced", "mutations")

    def __init__(self, mutations: list[Mutation], done: Done | None, failed: Failed | None, fenced: bool) -> None:
        self.mutations = mutations
        self.done = done
        self.failed = failed
        self.fenced = fenced


class Committer:
    """Lives on one event loop. `fence` is the registered worker's, or None for a client."""

    def __init__(self, store: Writing, settings: Settings, clock: Clock, hooks: Hooks) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._hooks = hooks
        self._ready: deque[Unit] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._beat = False
        self._last_batch = 0.0
        self.worker: int | None = None
        self.batch = 0
        self.away_since: float | None = None
        self.on_lease_lost: Callable[[], None] | None = None

    def submit(
        self,
        mutations: list[Mutation],
        done: Done | None = None,
        failed: Failed | None = None,
        *,
        fenced: bool = True,
    ) -> None:
        """Have the mutations committed as one unit. `done` is called when they are durable; `failed` when the
        store can never hold them. Fenced units are dropped without a word when the lease is lost."""
        self._ready.append(Unit(mutations, done, failed, fenced))
        self._wake.set()
        self._idle.clear()

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

    def beat(self, seconds: float) -> None:
        """Move the worker's counter if it has not moved for so long."""
        if self.worker is not None and self._clock.monotonic() - self._last_batch >= seconds:
            self._beat = True
            self._wake.set()

    async def flushed(self) -> None:
        """Wait until everything submitted so far has been dealt with."""
        await self._idle.wait()

    async def run(self) -> None:
        """The committer's task; ends by being cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._ready or self._beat:
                self._beat = False
                await self._commit(self._take())
            self._idle.set()

    def _take(self) -> list[Unit]:
        ready = self._ready
        units: list[Unit] = []
        rows = size = 0
        while ready and rows < self._settings.batch_rows and size < self._settings.batch_bytes:
            unit = ready.popleft()
            units.append(unit)
            rows += len(unit.mutations)
            size += size_of(unit.mutations)
        return units

    async def _commit(self, units: list[Unit]) -> None:
        if self.worker is None and any(unit.fenced for unit in units):
            units = [unit for unit in units if not unit.fenced]  # of a worker that has lost its lease
        try:
            receipt = await self._write(units)
        except LeaseLost as error:
            self.lose_lease(error)
            units = [unit for unit in units if not unit.fenced]
            if units:
                await self._commit(units)
            return
        except StoreRejected as error:
            await self._split(units, error)
            return
        # Told in the loop's next round: by then the next batch is on its way, and both threads have work.
        asyncio.get_running_loop().call_soon(_tell, units, receipt)

    async def _write(self, units: list[Unit]) -> Receipt:
        """Until it is committed, whatever the store goes through."""
        mutations = [unit.mutations for unit in units]
        if self.worker is None:
            mutations = [[_disowned(row) for row in unit] for unit in mutations]
        fence = Fence(self.worker, self.batch + 1) if self.worker is not None else None
        kinds = self._kinds(mutations)
        if kinds:
            self._hooks.failpoint("before", kinds)  # type: ignore[misc]
        began = self._clock.monotonic()
        wait = FIRST_WAIT
        while True:
            try:
                receipt = await self._store.commit(mutations, fence)
                break
            except StoreUnavailable as error:
                self._report(error, began)
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT)
            if fence is not None and await self._arrived(fence):
                # Who won a start is only told by the commit itself: write the starts again, to hear it.
                receipt = await self._again(mutations)
                break
        if fence is not None:
            self.batch = fence.batch
            self._last_batch = self._clock.monotonic()
        self._back(began)
        if kinds:
            self._hooks.failpoint("after", kinds)  # type: ignore[misc]
        self._hooks.tell_batch_committed(len(units), sum(map(len, mutations)), self._clock.monotonic() - began)
        return receipt

    async def _arrived(self, fence: Fence) -> bool:
        """Whether a batch whose reply was lost is in the store, as soon as it can be asked: to write it again
        without knowing would look like having lost the lease. Raises LeaseLost."""
        wait = FIRST_WAIT
        while True:
            try:
                return await self._store.committed(fence)
            except StoreUnavailable:
                await asyncio.sleep(wait)
                wait = min(wait * 2, LONGEST_WAIT)

    async def _again(self, mutations: list[list[Mutation]]) -> Receipt:
        starts: list[list[Mutation]] = [[row for row in unit if isinstance(row, StartRun)] for unit in mutations]
        if not any(starts):
            return Receipt({})
        while True:
            try:
                return await self._store.commit(starts, None)
            except StoreUnavailable:
                await asyncio.sleep(LONGEST_WAIT)

    async def _split(self, units: list[Unit], error: StoreRejected) -> None:
        if len(units) > 1:
            half = len(units) // 2
            await self._commit(units[:half])
            await self._commit(units[half:])
            return
        (unit,) = units
        log.error("the store refuses a record for good: %s", error)
        if unit.failed is not None:
            unit.failed(error)

    def lose_lease(self, error: LeaseLost) -> None:
        """The worker has been declared dead: it writes nothing more under this identity."""
        if self.worker is None:
            return
        log.error("%s", error)
        self.worker = None
        if self.on_lease_lost is not None:
            self.on_lease_lost()

    def _kinds(self, mutations: list[list[Mutation]]) -> frozenset[str] | None:
        if self._hooks.failpoint is None:
            return None
        return frozenset(KIND_NAMES[type(row)] for unit in mutations for row in unit)

    def _report(self, error: Exception, began: float) -> None:
        if self.away_since is None:
            self.away_since = began
            log.warning("%s; waiting for it, nothing is lost", error)

    def _back(self, began: float) -> None:
        if self.away_since is not None:
            log.warning("the store answers again after %.1f s", self._clock.monotonic() - self.away_since)
            self.away_since = None


def _tell(units: list[Unit], receipt: Receipt) -> None:
    for unit in units:
        if unit.done is not None:
            unit.done(receipt)


def _disowned(mutation: Mutation) -> Mutation:
    """A start that its process cannot own (any more) waits for whoever claims it."""
    if isinstance(mutation, StartRun) and mutation.owner is not None:
        return mutation._replace(owner=None, state="pending", wake_at=mutation.created_at)
    return mutation
