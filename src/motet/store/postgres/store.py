"""The store protocol on PostgreSQL: each call is handed to the thread that all connections live in."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar

from motet.errors import StoreRefused, StoreUnavailable
from motet.model.clock import Clock, Micros
from motet.model.delivery import DeliveryState
from motet.model.history import Recorded
from motet.model.run import DEFAULT_QUEUE, Run, Version
from motet.store.mutations import Mutation, RecordFact, ShowProgress, StartRun, TakeInbox
from motet.store.postgres import (
    claiming,
    delivering,
    finding,
    following,
    freeing,
    health,
    log,
    owning,
    reading,
    writing,
)
from motet.store.postgres.answers import PostgresAnswers
from motet.store.postgres.connections import Connections
from motet.store.postgres.hints import Hints, Word
from motet.store.postgres.link import Counted, Link, Replica
from motet.store.postgres.retaining import PostgresRetaining
from motet.store.postgres.schema import SCHEMA_VERSION, Found, check_version, migrate, read_version
from motet.store.postgres.tending import Tending
from motet.store.postgres.thread import LoopThread
from motet.store.postgres.transacting import (
    ForThreads,
    Right,
    Transaction,
    is_recorded,
    right_to_deliver,
    right_to_record,
    state_of,
)
from motet.store.postgres_address import parse
from motet.store.protocol import (
    AttemptTransaction,
    CursorRow,
    DeliveryFence,
    DeliveryFilter,
    Fence,
    Progress,
    Receipt,
    RunFence,
    Schemas,
    Subscription,
    Ticket,
    WorkerInfo,
    WorkerRow,
)  # fmt: skip
from motet.store.taking import Taken, driven_before

R = TypeVar("R")

CLOSING_SECONDS = 5.0

_LEADING_TO_NOTHING = {StartRun, RecordFact, ShowProgress, TakeInbox}
"""Kinds that give nobody anything to do but who has written them; except for starts that wait for a worker."""


class House(NamedTuple):
    """What an open store holds."""

    thread: LoopThread
    connections: Connections
    hints: Hints
    tending: Tending


class PostgresStore(PostgresRetaining, PostgresAnswers):
    """One database. Opened once per process; what was opened before a fork is refused in the child."""

    shared = True

    def __init__(self, address: str, clock: Clock, lease_seconds: float) -> None:
        self._address = parse(address)
        self.address = self._address.shown
        self._clock = clock
        self._lease = lease_seconds
        self._pid = os.getpid()
        self._opened: House | None = None
        self.identity: str | None = None

    async def open(self, *, create: bool) -> None:
        if self._opened is not None:
            raise StoreRefused(f"store {self.address} is open already; a process opens a store once")
        self._pid = os.getpid()
        thread = LoopThread("motet-store")
        try:
            self._opened = await thread.call(self._open, thread, create)
        except BaseException:
            thread.stop()
            raise

    async def _open(self, thread: LoopThread, create: bool) -> House:
        connections = Connections(self._address, self._clock, self._lease)
        try:
            if create:
                await migrate(connections)
            self.identity = check_version(await connections.read(read_version), self.address).identity
        except BaseException as error:
            await connections.close()
            if isinstance(error, Replica):  # to wait for another server is for who has worked with one
                raise StoreRefused(str(error)) from error
            raise
        hints = Hints(connections, self._clock)
        hints.start()
        return House(thread, connections, hints, Tending(connections, self._clock, hints))

    async def schemas(self) -> Schemas:
        thread = LoopThread("motet-schemas")
        try:
            found = await thread.call(self._find_schema)
        finally:
            thread.stop()
        return Schemas(found and found.version, SCHEMA_VERSION, found and found.oldest)

    async def _find_schema(self) -> Found | None:
        connections = Connections(self._address, self._clock, self._lease)
        try:
            return await connections.read(read_version)
        finally:
            await connections.close()

    async def close(self) -> None:
        if self._pid != os.getpid() or self._opened is None:
            return
        house, self._opened = self._opened, None
        try:
            # The server may be away, or somebody hold a lock for long; nothing is left to write here.
            async with asyncio.timeout(CLOSING_SECONDS):
                await house.thread.call(_let_go, house)
        except TimeoutError:
            return
        finally:
            house.thread.stop()

    @property
    def counted(self) -> Counted:
        """What has been asked of the server so far."""
        return self._house().connections.counted

    # --- writing and owning -----------------------------------------------------------------------------------

    async def commit(self, units: Sequence[list[Mutation]], guard: Fence | Ticket | None) -> Receipt:
        return await self._call(partial(self._commit, units, guard))

    async def committed(self, fence: Fence) -> bool:
        return await self._call(partial(writing.committed, self._house().connections, fence))

    def step_transaction(self, fence: RunFence, *, blocking: bool = False) -> AttemptTransaction:
        house = self._house()
        transaction = self._transaction(house, right_to_record(fence))
        return ForThreads(transaction, house.thread) if blocking else transaction

    def delivery_transaction(self, fence: DeliveryFence, *, blocking: bool = False) -> AttemptTransaction:
        house = self._house()
        transaction = self._transaction(house, right_to_deliver(fence))
        return ForThreads(transaction, house.thread) if blocking else transaction

    async def delivery_state(self, fence: DeliveryFence, position: int) -> DeliveryState | None:
        return await self._quietly(partial(state_of, fence=fence, position=position))

    async def recorded(self, fact: Recorded) -> bool:
        return await self._quietly(partial(is_recorded, fact=fact))

    async def register(
        self, worker: WorkerInfo, catalog: dict[str, str], now: Micros, limits: Mapping[str, int | None] | None = None
    ) -> int:
        id = await self._write(partial(owning.register, info=worker, catalog=catalog, now=now, limits=limits or {}))
        self._house().thread.loop.call_soon_threadsafe(self._house().tending.start)
        return id

    async def resign(self, worker: int) -> None:
        await self._write(partial(owning.resign, worker=worker))

    async def workers(self) -> list[WorkerRow]:
        return await self._read(owning.workers)

    async def beat(self, worker: int) -> bool:
        try:
            return await self._quietly(partial(owning.beat, worker=worker, now=self._clock.now()))
        except StoreUnavailable:
            with suppress(StoreUnavailable):  # perhaps it is not away, but held up by one that stands still
                await self._end_standing()
            raise

    async def drain(self, worker: int) -> None:
        await self._quietly(partial(owning.drain, worker=worker))

    async def bury(self, worker: int, counter: int) -> bool:
        now = self._clock.now()
        buried = await self._write(partial(owning.bury, worker=worker, counter=counter, now=now, place=self.address))
        if not buried:
            await self._end_standing()
        return buried

    async def _end_standing(self) -> None:
        seconds = self._house().connections.standing_seconds
        await self._read(partial(freeing.end_standing, seconds=seconds))

    async def claim(
        self, worker: int, known: Sequence[Version], fingerprint: str, now: Micros, limit: int,
        full: Sequence[str] = (),
    ) -> list[Run]:  # fmt: skip
        return (await self._call(partial(self._claim, worker, known, fingerprint, now, limit, full))).runs

    async def take(
        self, worker: int, known: Sequence[Version], fingerprint: str, now: Micros, limit: int,
        full: Sequence[str] = (),
    ) -> Taken:  # fmt: skip
        return await self._call(partial(self._take, worker, known, fingerprint, now, limit, full))

    async def owned(self, worker: int) -> list[Run]:
        return await self._read(partial(reading.owned, worker=worker))

    # --- following the log ------------------------------------------------------------------------------------

    async def subscribe(self, subscriptions: Sequence[Subscription], now: Micros) -> None:
        await self._write(partial(following.subscribe, subscriptions=subscriptions, now=now))

    async def claim_cursors(self, worker: int, names: Sequence[str]) -> list[CursorRow]:
        return await self._quietly(partial(following.claim, worker=worker, names=names))

    async def cursors(self) -> list[CursorRow]:
        return await self._read(following.cursors)

    async def head(self) -> int:
        return await self._read(following.head)

    async def place_of(self, start: Literal["now", "beginning"] | Micros) -> int:
        return await self._read(partial(following.place_of, start=start))

    async def recorded_behind(self, positions: Sequence[int]) -> dict[int, Micros]:
        return await self._read(partial(finding.recorded_behind, positions=positions))

    async def empty_outbox(self) -> int:
        return await self._write(partial(log.bring_in, now=self._clock.now()))

    # --- being told ------------------------------------------------------------------------------------------

    async def changed(self) -> bool:
        return await self._call(self._house().hints.changed)

    async def hint(self) -> bool:
        return await self._call(self._house().hints.wait)

    # --- deliveries and expectations --------------------------------------------------------------------------

    async def redrive(self, filter: DeliveryFilter, now: Micros) -> int:
        return await self._write(partial(delivering.redrive, filter=filter, now=now))

    async def discard(self, filter: DeliveryFilter) -> int:
        return await self._write(partial(delivering.discard, filter=filter))

    async def edit_delivery(self, reaction: str, position: int, data: str | None) -> bool:
        return await self._write(partial(delivering.edit, reaction=reaction, position=position, data=data))

    async def pause(self, reaction: str, paused: bool) -> bool:
        return await self._write(partial(delivering.pause, reaction=reaction, paused=paused))

    async def replay(self, reaction: str, position: int) -> bool:
        now = self._clock.now()
        return await self._write(partial(delivering.replay, reaction=reaction, position=position, now=now))

    async def forget_reaction(self, reaction: str) -> bool:
        return await self._write(partial(delivering.forget, reaction=reaction))

    # --- care -------------------------------------------------------------------------------------------------

    async def backup(self, path: str, progress: Progress | None = None) -> None:
        self._house()
        raise StoreRefused(
            f"a store in PostgreSQL is copied by PostgreSQL's own programs: pg_dump --schema=motet -Fc -f {path} for a "
            "copy as of one moment while everything runs, pg_basebackup with WAL archiving for any moment"
        )

    async def findings(self) -> list[str]:
        return await self._look(partial(health.findings, address=self._address, now=self._clock.now()))

    # --- inside -----------------------------------------------------------------------------------------------

    async def _commit(self, units: Sequence[list[Mutation]], guard: Fence | Ticket | None) -> Receipt:
        house = self._house()
        kinds = {type(row) for unit in units for row in unit}
        news = bool(kinds - _LEADING_TO_NOTHING) or any(_is_for_others(row) for unit in units for row in unit)
        word = Word(house.hints)
        receipt = await writing.commit(
            house.connections, units, guard, self._clock.now(), word.behind if news else None
        )
        if news:
            await house.hints.tell(word, here=house.tending.begun or kinds != {StartRun})
        else:
            house.hints.mention()
        return receipt

    async def _claim(
        self, worker: int, known: Sequence[Version], fingerprint: str, now: Micros, limit: int, full: Sequence[str]
    ) -> claiming.Claimed:
        house = self._house()
        claimed = await house.connections.single(
            lambda link: claiming.claim_from_one(link, worker, known, fingerprint, now, limit, full)
        )
        if claimed.runs:
            return claimed
        async with house.connections.transaction(claiming.alive(worker)) as (link, status):
            claimed = await claiming.claim(link, status, worker, known, fingerprint, now, limit, full)
        if claimed.more:
            await house.hints.tell()  # others have passed by what this one has left
        return claimed

    async def _take(
        self, worker: int, known: Sequence[Version], fingerprint: str, now: Micros, limit: int, full: Sequence[str]
    ) -> Taken:
        """All on the store's event loop, whose thread would have to wake the caller's between any two questions."""
        claimed = await self._claim(worker, known, fingerprint, now, limit, full)
        older = driven_before(claimed.runs)
        read = self._house().connections.read
        histories = await read(partial(reading.histories, runs=older)) if older else {}
        told = bool(claimed.runs) and claimed.told
        return Taken(claimed.runs, histories, await read(partial(reading.inbox, worker=worker)) if told else [])

    async def _transact(self, work: Callable[[Link], Awaitable[R]]) -> R:
        async with self._house().connections.transaction() as (link, _):
            return await work(link)

    async def _transact_and_tell(self, work: Callable[[Link], Awaitable[R]]) -> R:
        house = self._house()
        word = Word(house.hints)
        async with house.connections.transaction(behind=word.behind) as (link, _):
            result = await work(link)
        await house.hints.tell(word)
        return result

    def _transaction(self, house: House, right: Right) -> Transaction:
        async def tell() -> None:
            await house.thread.call(house.hints.tell)

        return Transaction(house.connections, self._clock, tell, right)

    async def _write(self, work: Callable[[Link], Awaitable[R]]) -> R:
        return await self._call(partial(self._transact_and_tell, work))

    async def _quietly(self, work: Callable[[Link], Awaitable[R]]) -> R:
        """Write what nobody waits for."""
        return await self._call(partial(self._transact, work))

    async def _read(self, work: Callable[[Link], Awaitable[R]]) -> R:
        return await self._call(partial(self._house().connections.read, work))

    async def _look(self, work: Callable[[Link], Awaitable[R]]) -> R:
        """Read what people ask for."""
        return await self._call(partial(self._house().connections.read, work, freely=True))

    async def _call(self, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        return await self._house().thread.call(work)

    def _house(self) -> House:
        if self._pid != os.getpid():
            raise StoreRefused(
                f"store {self.address} was opened before a fork and cannot be used in the child; "
                "open it after the fork: async with app.worker() or app.connect()"
            )
        if self._opened is None:
            raise StoreRefused(f"store {self.address} is closed")
        return self._opened


def _is_for_others(row: Mutation) -> bool:
    """Whether it is a start that may wait for whoever claims it."""
    return isinstance(row, Run) and (row.owner is None or row.queue != DEFAULT_QUEUE)


async def _let_go(house: House) -> None:
    await house.tending.stop()
    await house.hints.stop()
    await house.thread.finished()  # of calls whose callers were cancelled, some may be in the middle of a transaction
    await house.connections.close()
