"""A transaction of the user's own function: what it writes and what Motet records of it are one fact.

The connection is the function's alone, opened for it. Who owns what the record is about, a reaction or a run, is asked
when the transaction begins, so that nothing is done in vain, and again at the end; from then on, until the commit
counts, it cannot change hands. In between nothing of ours is locked: a function that takes long holds up nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from motet.errors import LeaseLost, StoreError, WrongPlace
from motet.model.clock import Clock
from motet.model.delivery import DeliveryState
from motet.model.history import Recorded
from motet.store.batches import sorted_by_kind
from motet.store.mutations import Mutation
from motet.store.postgres.applying import apply_batch
from motet.store.postgres.claiming import ALIVE
from motet.store.postgres.connections import Connections
from motet.store.postgres.link import STEADILY, Link, connect
from motet.store.postgres.meaning import is_trouble, sqlstate_of, told
from motet.store.postgres.thread import LoopThread
from motet.store.transactions import DeliveryFence, RunFence

REACTION_OWNED = """SELECT 1 FROM motet.cursor JOIN motet.worker ON worker.id = cursor.owner
    WHERE cursor.name = $1 AND cursor.epoch = $2 AND cursor.owner = $3 AND NOT worker.buried"""
HOLD_REACTION = "SELECT 1 FROM motet.cursor WHERE name = $1 AND epoch = $2 AND owner = $3 FOR KEY SHARE"
LOCK_REACTION = "SELECT 1 FROM motet.cursor WHERE name = $1 AND epoch = $2 AND owner = $3 FOR UPDATE"
STATE = "SELECT state FROM motet.delivery WHERE reaction = $1 AND position = $2"
RUN_OWNED = "SELECT 1 FROM motet.run WHERE uid = $1 AND epoch = $2 AND owner = $3"
HOLD_RUN = f"{RUN_OWNED} FOR UPDATE"
LOCK_RUN = "SELECT 1 FROM motet.run WHERE uid = $1 FOR UPDATE"
RECORDED = "SELECT 1 FROM motet.history WHERE " + " AND ".join(
    f"{name} IS NOT DISTINCT FROM ${number}" if number > 3 else f"{name} = ${number}"
    for number, name in enumerate(Recorded._fields, 1)
)

_OUTAGES = ("08", "53", "57", "58")
_OWN_FAULTS = ("23", "25P02", "40")  # of what the function has written, at the commit

Tell = Callable[[], Coroutine[Any, Any, None]]


class Right(NamedTuple):
    """What a transaction rests on: a question that has an answer as long as it stands, and those that hold it fast."""

    what: str
    question: tuple[str, tuple[Any, ...]]
    holding: tuple[tuple[str, tuple[Any, ...]], ...]


def right_to_deliver(fence: DeliveryFence) -> Right:
    """The row of the reaction may be moved meanwhile, but the reaction changes hands before or after."""
    holding = ((ALIVE, (fence.worker,)), (HOLD_REACTION, fence))
    return Right(f"reaction {fence.reaction}", (REACTION_OWNED, fence), holding)


def right_to_record(fence: RunFence) -> Right:
    """A burial frees the run, so the run's row alone says that its owner lives."""
    return Right(f"run {fence.uid}", (RUN_OWNED, fence), ((HOLD_RUN, fence),))


class Transaction:
    """On the event loop that it is begun on, which the connection belongs to."""

    def __init__(self, connections: Connections, clock: Clock, tell: Tell, right: Right) -> None:
        self._connections = connections
        self._clock = clock
        self._tell = tell
        self._right = right
        self._link: Link | None = None

    async def begin(self) -> Any:
        """The connection, of asyncpg. Raises LeaseLost, StoreError."""
        connections = self._connections
        try:
            self._link = link = await connect(connections.address, connections.counted, plain=True)
            async with connections.patiently():
                await link.script(connections.opening)
                await self._expect(link, *self._right.question)
        except BaseException as error:
            await self.roll_back()
            raise self._told(error) from error
        return link.raw

    async def commit(self, unit: list[Mutation]) -> None:
        """Raises WrongPlace: the function has ended the transaction itself; StoreError; what the database says of what
        the function has written."""
        link = self._link
        assert link is not None
        try:
            async with self._connections.patiently():
                await self._record(link, unit)
                await link.commit(self._connections.address.shown)
        except Exception as error:
            if (sqlstate_of(error) or "").startswith(_OWN_FAULTS) and not isinstance(error, StoreError):
                raise
            raise self._told(error) from error
        finally:
            await self.roll_back()
        await self._tell()

    async def _record(self, link: Link, unit: list[Mutation]) -> None:
        if not link.raw.is_in_transaction():
            raise WrongPlace(
                f"the function of {self._right.what} has committed or rolled back by itself; leave that to Motet"
            )
        await link.script(STEADILY)
        for sql, values in self._right.holding:
            await self._expect(link, sql, values)
        try:
            await apply_batch(link, sorted_by_kind([unit]), self._clock.now(), self._connections.address.shown)
        except Exception as error:
            raise self._told(error) from error

    async def roll_back(self) -> None:
        """Closing the connection takes back what was not committed; also while the function is still at work with
        it."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    def is_outage(self, error: BaseException) -> bool:
        """Whether the function has failed by no fault of its own. What a driver says of a connection that has ended
        has not always a code."""
        link = self._link
        return (sqlstate_of(error) or "").startswith(_OUTAGES) or (link is not None and link.is_closed)

    async def _expect(self, link: Link, sql: str, values: tuple[Any, ...]) -> None:
        if await link.value(sql, *values) is None:
            raise LeaseLost(f"{self._right.what} has changed hands")

    def _told(self, error: BaseException) -> BaseException:
        return told(error, self._connections.address.shown) if is_trouble(error) else error


class ForThreads:
    """The same for a function that is no coroutine: it gets a connection that blocks, and the transaction lives on the
    store's own event loop."""

    def __init__(self, transaction: Transaction, thread: LoopThread) -> None:
        self._transaction = transaction
        self._thread = thread

    async def begin(self) -> BlockingConnection:
        return BlockingConnection(await self._thread.call(self._transaction.begin), self._thread)

    async def commit(self, unit: list[Mutation]) -> None:
        await self._thread.call(self._transaction.commit, unit)

    async def roll_back(self) -> None:
        await self._thread.call(self._transaction.roll_back)

    def is_outage(self, error: BaseException) -> bool:
        return self._transaction.is_outage(error)


class BlockingConnection:
    """A connection of asyncpg for code that cannot await: the methods by which one asks and writes, with the same
    names and parameters."""

    def __init__(self, raw: Any, thread: LoopThread) -> None:
        self._raw = raw
        self._thread = thread

    def execute(self, query: str, *values: Any) -> str:
        status: str = self._thread.block(self._raw.execute, query, *values)
        return status

    def executemany(self, command: str, rows: Any) -> None:
        self._thread.block(self._raw.executemany, command, rows)

    def fetch(self, query: str, *values: Any) -> list[Any]:
        found: list[Any] = self._thread.block(self._raw.fetch, query, *values)
        return found

    def fetchrow(self, query: str, *values: Any) -> Any:
        """The first row, or None."""
        return self._thread.block(self._raw.fetchrow, query, *values)

    def fetchval(self, query: str, *values: Any) -> Any:
        """The first column of the first row, or None."""
        return self._thread.block(self._raw.fetchval, query, *values)


async def state_of(link: Link, fence: DeliveryFence, position: int) -> DeliveryState | None:
    """What the delivery's row says; a transaction that is still on its way has the reaction's row, and is waited for.
    Raises LeaseLost."""
    if await link.value(LOCK_REACTION, *fence) is None:
        raise LeaseLost(f"reaction {fence.reaction} has changed hands")
    state: DeliveryState | None = await link.value(STATE, fence.reaction, position)
    return state


async def is_recorded(link: Link, fact: Recorded) -> bool:
    """Whether the very row is there; a transaction that is still on its way has the run's row, and is waited for."""
    await link.rows(LOCK_RUN, fact.uid)
    return await link.value(RECORDED, *fact) is not None
