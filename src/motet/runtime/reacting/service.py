"""The reactions of one app in one worker: which of them it owns, and when to look.

A reaction's position has one owner at a time. Whoever is free takes what nobody owns; a worker that dies is buried, and
its reactions are free again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, NamedTuple

from motet.choreography.patterns import Patterns
from motet.choreography.reactions import Reaction
from motet.errors import LeaseLost, StoreError
from motet.model.event_types import EventTypes
from motet.runtime.outlook import Outlook
from motet.runtime.reacting.reader import LONG_SECONDS, Reader
from motet.runtime.worker import Worker
from motet.store.protocol import CursorRow, Subscription

log = logging.getLogger("motet.reactions")

PAUSE_SECONDS = 0.005
TEND_SECONDS = 1.0
SAVE_SECONDS = 0.25


class Followed(NamedTuple):
    """A reaction as a worker follows it."""

    reaction: Reaction
    patterns: Patterns
    subscription: Subscription


def followed_by(reactions: Iterable[Reaction], types: EventTypes) -> list[Followed]:
    """Those of an app, checked. Raises DefinitionError."""
    return [Followed(reaction, reaction.patterns(types), reaction.subscription(types)) for reaction in reactions]


class Reacting:
    """A part of the worker."""

    def __init__(self, worker: Worker, followed: Sequence[Followed]) -> None:
        self.worker = worker
        self.types = worker.registry.events
        self.limit = worker.settings.payload_limit_bytes
        self._followed = {one.subscription.name: one for one in followed}
        self._store = worker.session.store
        self._readers: dict[str, Reader] = {}
        self._look = worker.session.pulse.listen()
        self._serving: asyncio.Task[None] | None = None
        self._saving: asyncio.TimerHandle | None = None
        self._committing: dict[str, set[asyncio.Task[None]]] = {}  # by reaction, of which nobody knows yet

    async def start(self) -> None:
        """Raises StoreError."""
        if not self._followed:
            return
        await self._store.subscribe([one.subscription for one in self._followed.values()], self.worker.clock.now())
        self.worker.parts.append(self)
        self._look.set()
        self._serving = asyncio.get_running_loop().create_task(self._serve(), name="motet-reactions")

    async def stop(self) -> None:
        """Before the worker lets go of everything: what is being delivered may come to its end."""
        if self._serving is None:
            return
        self._serving.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)
        grace = self.worker.settings.drain_seconds
        await asyncio.gather(*(reader.close(grace) for reader in self._readers.values()))
        for task in [task for tasks in self._committing.values() for task in tasks]:
            task.cancel()
        if self._saving is not None:
            self._saving.cancel()
        self._save()

    async def until_known(self, name: str, commit: Coroutine[Any, Any, None]) -> None:
        """Wait for a delivery's commit, which goes on if nobody waits for it any more. Raises what it raises."""
        task = asyncio.get_running_loop().create_task(commit, name=f"motet-commit-{name}")
        tasks = self._committing.setdefault(name, set())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await asyncio.shield(task)

    async def none_committing(self, name: str) -> None:
        """Until all commits of a reaction are known that somebody has begun here: then its rows tell the truth."""
        if tasks := self._committing.get(name):
            await asyncio.wait(tasks)

    def save_soon(self) -> None:
        """Record how far each reaction has come: all together, for each commit costs whoever publishes meanwhile."""
        if self._saving is None:
            self._saving = asyncio.get_running_loop().call_later(SAVE_SECONDS, self._save)

    def _save(self) -> None:
        self._saving = None
        for reader in self._readers.values():
            reader.records.save()

    def look(self) -> None:
        self._look.set()

    async def outlook(self) -> Outlook:
        if self._serving is None:
            return Outlook(busy=False)
        owner, head = self.worker.committer.worker, await self._store.head()
        if owner is None:
            return Outlook(busy=True)
        for cursor in await self._store.cursors():
            if cursor.name not in self._followed or cursor.owner not in (None, owner):
                continue
            reader = self._readers.get(cursor.name)
            if reader is None or (reader.epoch, reader.touched, reader.paused) != (
                cursor.epoch,
                cursor.touched,
                cursor.paused,
            ):
                return Outlook(busy=True)
            if self._is_busy(reader, head):
                return Outlook(busy=True)
        return Outlook(busy=False)

    def _is_busy(self, reader: Reader, head: int) -> bool:
        if reader.paused:
            return False
        now = self.worker.clock.monotonic()
        at_work = any(now - delivery.started < LONG_SECONDS for delivery in reader.flying)
        return at_work or reader.busy or (reader.window.read < head and not reader.window.full)

    def drop(self, reader: Reader, error: Exception) -> None:
        """The reader cannot go on: begin again from what the store says."""
        if reader.closed:
            return
        if isinstance(error, StoreError):
            log.warning("%s: %s; looking again", reader.name, error)
        else:
            log.error("%s cannot go on; beginning again", reader.name, exc_info=error)
        reader.abandon()
        if self._readers.get(reader.name) is reader:
            del self._readers[reader.name]
        self._look.set()

    async def _serve(self) -> None:
        wait = 0.0
        while True:
            try:
                async with asyncio.timeout(wait):
                    await self._look.wait()
            except TimeoutError:
                pass  # nothing was heard: time to look all the same
            self._look.clear()
            wait = await self._try_round()
            await asyncio.sleep(PAUSE_SECONDS)  # tidy: under load every commit is a change

    async def _try_round(self) -> float:
        settings = self.worker.settings
        try:
            await self._round()
        except LeaseLost as error:
            log.info("%s", error)  # the committer has said so aloud
        except StoreError as error:
            log.warning("%s; looking again", error)
        except Exception:  # one reaction that cannot be followed must not end the following of all others
            log.exception("reactions could not be followed; looking again")
        at_work = any(reader.flying for reader in self._readers.values())
        return min(TEND_SECONDS, settings.poll_seconds) if at_work else settings.poll_seconds

    async def _round(self) -> None:
        worker = self.worker.committer.worker
        for reader in list(self._readers.values()):
            if reader.owner != worker:  # our lease was lost: others own it now
                reader.abandon()
                del self._readers[reader.name]
            else:
                reader.news.set()  # at once, before anything else is asked
        if worker is not None and not self.worker.draining:
            await self._take_cursors(worker)

    async def _take_cursors(self, worker: int) -> None:
        mine = {cursor.name: cursor for cursor in await self._store.cursors() if cursor.name in self._followed}
        if free := [cursor.name for cursor in mine.values() if cursor.owner is None]:
            mine.update({cursor.name: cursor for cursor in await self._claim(worker, free)})
        # Who has stood still for longest comes first: among suspects, an owner may not live to see the last one's turn.
        for name, cursor in sorted(mine.items(), key=lambda item: item[1].moved_at):
            await self._follow(worker, name, cursor)
        for name in self._readers.keys() - mine.keys():  # renamed by newer code, or forgotten
            self._readers.pop(name).abandon()

    async def _follow(self, worker: int, name: str, cursor: CursorRow) -> None:
        reader = self._readers.get(name)
        if reader is not None and (cursor.owner, cursor.epoch) != (reader.owner, reader.epoch):
            reader.abandon()
            del self._readers[name]
            reader = None
        if cursor.owner != worker:
            return
        if reader is None:
            await self.none_committing(name)
            reader = Reader(self, self._followed[name], cursor)
            reader.paused = cursor.paused
            await reader.open()
            self._readers[name] = reader
            return
        if reader.paused != cursor.paused:
            reader.paused = cursor.paused
            reader.wake()
            reader.news.set()
        if reader.touched != cursor.touched:
            await reader.look_again(cursor.touched)

    async def _claim(self, worker: int, free: Sequence[str]) -> list[CursorRow]:
        try:
            return await self._store.claim_cursors(worker, free)
        except LeaseLost as error:
            self.worker.committer.lose_lease(error, worker)
            raise
