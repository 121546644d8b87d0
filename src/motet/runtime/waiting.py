"""Waiting for runs to end: told by the own worker, or seen in the store when somebody else drives them."""

from __future__ import annotations

import asyncio
import logging

from motet.errors import RunPruned, StoreError
from motet.model.run import Run
from motet.model.tombstone import was_pruned
from motet.runtime.session import Session
from motet.runtime.worker import Worker
from motet.store.retention import Retaining

log = logging.getLogger("motet")

BUSY_SECONDS = 0.005
PAUSE_SECONDS = 0.1
GONE_SECONDS = 1.0
"""Between two looks for runs that were pruned before anybody here saw them end."""


class Waiting:
    """Who waits for which run; lives on one event loop."""

    def __init__(self, session: Session, worker: Worker | None) -> None:
        self._session = session
        self._worker = worker
        self._waiters: dict[str, list[asyncio.Future[Run]]] = {}
        self._ids: dict[str, str] = {}  # by uid, of those that are waited for
        self._look_for_gone_at = 0.0
        self._look = session.pulse.listen()
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        if self._worker is not None:
            self._worker.on_settled = self._tell
        self._task = asyncio.get_running_loop().create_task(self._watch(), name="motet-waiting")

    async def close(self) -> None:
        if self._worker is not None:
            self._worker.on_settled = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for waiters in self._waiters.values():
            for future in waiters:
                future.cancel()

    async def settled(self, id: str, uid: str) -> Run:
        """The run, once it has ended or is blocked. Raises RunPruned: nothing is left of it."""
        future: asyncio.Future[Run] = asyncio.get_running_loop().create_future()
        first = not self._waiters
        self._ids[uid] = id
        self._waiters.setdefault(uid, []).append(future)
        if first or not self._driven(uid):
            self._asked.set()
            self._look.set()
        try:
            return await future
        finally:
            if future.cancelled():
                self._forget(uid, future)

    def _driven(self, uid: str) -> bool:
        """Whether the own worker will tell; of a run that is blocked it has told already."""
        if self._worker is None:
            return False
        driver = self._worker.drivers.get(uid)
        return driver is not None and driver.machine.state != "blocked"

    def _forget(self, uid: str, future: asyncio.Future[Run]) -> None:
        waiters = self._waiters.get(uid, [])
        if future in waiters:
            waiters.remove(future)
        if not waiters:
            self._taken(uid)

    def _taken(self, uid: str) -> list[asyncio.Future[Run]]:
        """Those who wait for it, and wait no more."""
        self._ids.pop(uid, None)
        return [future for future in self._waiters.pop(uid, ()) if not future.done()]

    def _tell(self, run: Run) -> None:
        for future in self._taken(run.uid):
            future.set_result(run)

    async def _watch(self) -> None:
        while True:
            self._asked.clear()
            foreign = [uid for uid in self._waiters if not self._driven(uid)]
            if not foreign:  # the own worker tells, until it lets go of the run
                await _heard(self._asked, PAUSE_SECONDS if self._waiters else None)
                continue
            self._look.clear()
            try:
                for run in await self._session.store.outcomes(foreign):
                    self._tell(run)
                await self._look_for_gone()
            except StoreError as error:
                log.warning("%s; looking again", error)
            await asyncio.sleep(BUSY_SECONDS)  # tidy: under load every commit is a change
            await _heard(self._look, self._session.settings.poll_seconds)

    async def _look_for_gone(self) -> None:
        """Tell who waits for a run that ended and was pruned between two looks: no later look finds it."""
        now = asyncio.get_running_loop().time()
        if now < self._look_for_gone_at:
            return
        self._look_for_gone_at = now + GONE_SECONDS
        foreign = [uid for uid in self._waiters if not self._driven(uid)]
        for uid in await self._session.store.missing(foreign) if foreign else ():
            id = self._ids.get(uid)
            if id is None or (error := await self._why_gone(id, uid)) is None:
                continue
            for future in self._taken(uid):
                future.set_exception(error)

    async def _why_gone(self, id: str, uid: str) -> RunPruned | None:
        """None: it has not been written yet, in a transaction of the user's own, say, or has been by now."""
        store = self._session.store
        tombstone = await store.tombstone(id) if isinstance(store, Retaining) else None
        if tombstone is not None and tombstone.uid == uid:
            return was_pruned(tombstone)
        holder = tombstone or await store.run(id)
        if holder is None or holder.uid <= uid:  # uids are in the order of starts: an earlier run gives its id away
            return None
        return RunPruned(f"run '{id}' ended, a newer one took over its id, and it was pruned: nothing of it is kept")


async def _heard(event: asyncio.Event, seconds: float | None) -> None:
    """Wait for it, at most so long; None: for ever."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
