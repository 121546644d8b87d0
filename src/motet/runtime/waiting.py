"""Waiting for runs to end: told by the own worker, or seen in the store when somebody else drives them."""

from __future__ import annotations

import asyncio
import logging

from motet.errors import StoreError
from motet.model.run import Run
from motet.runtime.session import Session
from motet.runtime.worker import Worker

log = logging.getLogger("motet")

PAUSE_SECONDS = 0.01


class Waiting:
    """Who waits for which run; lives on one event loop."""

    def __init__(self, session: Session, worker: Worker | None) -> None:
        self._session = session
        self._worker = worker
        self._waiters: dict[str, list[asyncio.Future[Run]]] = {}
        self._look = session.pulse.listen()
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
        self._waiters.setdefault(uid, []).append(future)
        self._look.set()
        try:
            return await future
        finally:
            if future.cancelled():
                self._forget(uid, future)

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
            try:
                async with asyncio.timeout(self._session.settings.poll_seconds):
                    await self._look.wait()
            except TimeoutError:
                pass  # nothing was heard: look all the same
            self._look.clear()
            driven = self._worker.drivers if self._worker is not None else {}
            foreign = [uid for uid in self._waiters if uid not in driven or driven[uid].machine.state == "blocked"]
            if foreign:
                try:
                    for run in await self._session.store.outcomes(foreign):
                        self._tell(run)
                except StoreError as error:
                    log.warning("%s; looking again", error)
                await asyncio.sleep(PAUSE_SECONDS)  # tidy: under load every commit is a change
