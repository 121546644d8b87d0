"""Waiting for runs to end: told by the own worker, or seen in the store when somebody else drives them."""

from __future__ import annotations

import asyncio
import logging

from motet.errors import StoreError
from motet.model.run import Run
from motet.runtime.session import Session
from motet.runtime.worker import Worker

log = logging.getLogger("motet")

BUSY_SECONDS = 0.005
PAUSE_SECONDS = 0.1


class Waiting:
    """Who waits for which run; lives on one event loop."""

    def __init__(self, session: Session, worker: Worker | None) -> None:
        self._session = session
        self._worker = worker
        self._waiters: dict[str, list[asyncio.Future[Run]]] = {}
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

    async def settled(self, uid: str) -> Run:
        """The run, once it has ended or is blocked."""
        future: asyncio.Future[Run] = asyncio.get_running_loop().create_future()
        first = not self._waiters
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
            self._waiters.pop(uid, None)

    def _tell(self, run: Run) -> None:
        for future in self._waiters.pop(run.uid, ()):
            if not future.done():
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
            except StoreError as error:
                log.warning("%s; looking again", error)
            await asyncio.sleep(BUSY_SECONDS)  # tidy: under load every commit is a change
            await _heard(self._look, self._session.settings.poll_seconds)


async def _heard(event: asyncio.Event, seconds: float | None) -> None:
    """Wait for it, at most so long; None: for ever."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
