"""A store's connections: one that writes batches, some for everything else, opened when they are needed.

A transaction that gets no answer for long is given up, and its connection with it: on a network that has fallen silent
nobody else tells, and the others that are free are given up with it. How long doubles with each time, for a large batch
on a slow network must come to its end some day.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from motet.errors import StoreUnavailable
from motet.model.clock import Clock
from motet.store.postgres.link import FREELY, Counted, Link, connect
from motet.store.postgres.meaning import is_trouble, is_unclear, sqlstate_of, told
from motet.store.postgres_address import Address

R = TypeVar("R")

OTHERS = 4
IDLE_SECONDS = 60.0
SHORTEST_PATIENCE = 5.0
LONGEST_PATIENCE = 600.0

_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"


class Line:
    """Connections of one kind, at most so many; those that ask stand in line."""

    def __init__(self, address: Address, counted: Counted, clock: Clock, size: int) -> None:
        self._address = address
        self._counted = counted
        self._clock = clock
        self._places = asyncio.Semaphore(size)
        self._free: list[tuple[float, Link]] = []
        self._closed = False

    @asynccontextmanager
    async def link(self) -> AsyncGenerator[Link]:
        """A connection for one's own; one that fails in an unclear way is not used again."""
        async with self._places:
            link = await self._take()
            try:
                yield link
            except BaseException as error:
                if is_unclear(error):
                    link.abandon()
                raise
            finally:
                if self._closed:
                    await link.close()
                elif not link.is_closed:
                    self._free.append((self._clock.monotonic(), link))
                    await self._let_go_of_idle()

    async def _take(self) -> Link:
        while self._free:
            _, link = self._free.pop()
            if not link.is_closed:
                return link
        return await connect(self._address, self._counted)

    async def _let_go_of_idle(self) -> None:
        now = self._clock.monotonic()
        while len(self._free) > 1 and now - self._free[0][0] > IDLE_SECONDS:
            _, link = self._free.pop(0)
            await link.close()

    async def close(self) -> None:
        """Whoever has a connection still closes it afterwards."""
        self._closed = True
        free, self._free = self._free, []
        for _, link in free:
            await link.close()

    def abandon(self) -> None:
        for _, link in self._free:
            link.abandon()


class Connections:
    """All of one store, on one event loop."""

    def __init__(self, address: Address, clock: Clock, lease_seconds: float) -> None:
        self.address = address
        self.counted = Counted()
        self._shortest = max(SHORTEST_PATIENCE, lease_seconds / 2)
        self._patience = self._shortest
        self.standing_seconds = lease_seconds / 2
        """So long a session may wait for its client in the middle of a transaction."""
        self._apart = False  # what is to be said behind a commit is said by itself
        self._idle = f"SET LOCAL idle_in_transaction_session_timeout = {round(self.standing_seconds * 1000)}; "
        self.opening = f"{_BEGIN}; {self._idle}".rstrip("; ")
        self._writing = Line(address, self.counted, clock, 1)
        self._others = Line(address, self.counted, clock, OTHERS)

    @asynccontextmanager
    async def transaction(
        self, first: str = "", *, batch: bool = False, behind: Callable[[], str] | None = None
    ) -> AsyncGenerator[tuple[Link, str]]:
        """One transaction, committed in the end; gives what the server says of the statement `first`.

        Args:
            behind: asked when all is done: a statement to be said behind COMMIT, in a transaction of its own.

        Raises StoreError; what was raised inside takes all back.
        """
        line = self._writing if batch else self._others
        try:
            async with line.link() as link, self.patiently():
                opening = f"{_BEGIN}; {link.preamble}{self._idle}{first}"
                status = await link.script(opening.rstrip("; "))
                try:
                    yield link, status
                except BaseException as error:
                    if not is_unclear(error):
                        await link.script("ROLLBACK")
                    raise
                self.counted.transactions += 1
                await self._commit(link, behind)
        except Exception as error:
            raise self._told(error) from error

    async def read(self, work: Callable[[Link], Awaitable[R]], *, freely: bool = False) -> R:
        """What the work finds. Raises StoreError."""
        if freely:
            async with self.transaction(FREELY) as (link, _):
                return await work(link)
        return await self.single(work)

    async def single(self, work: Callable[[Link], Awaitable[R]]) -> R:
        """What a statement finds or does that is a transaction of its own. Raises StoreError."""
        if self.address.pooled:
            async with self.transaction() as (link, _):
                return await work(link)
        try:
            async with self._others.link() as link, self.patiently():
                return await work(link)
        except Exception as error:
            raise self._told(error) from error

    async def _commit(self, link: Link, behind: Callable[[], str] | None) -> None:
        said = behind() if behind is not None and not self._apart else ""
        try:
            await link.commit(self.address.shown, said)
        except StoreUnavailable as error:
            # Where there is no room for what is told (54000), commits are to go on all the same.
            self._apart = self._apart or (bool(said) and (sqlstate_of(error) or "").startswith("54"))
            raise

    async def close(self) -> None:
        await self._writing.close()
        await self._others.close()

    def abandon(self) -> None:
        """Without waiting for anybody."""
        self._writing.abandon()
        self._others.abandon()

    def _told(self, error: Exception) -> Exception:
        return told(error, self.address.shown) if is_trouble(error) else error

    @asynccontextmanager
    async def patiently(self) -> AsyncGenerator[None]:
        """For as long as answers are waited for now. Raises TimeoutError."""
        patience = self._patience
        try:
            async with asyncio.timeout(patience):
                yield
        except TimeoutError:
            # Several that wait at once have found out the same; and those that nobody uses now have fallen silent too.
            self._patience = max(self._patience, min(patience * 2, LONGEST_PATIENCE))
            self.abandon()
            raise
        self._patience = self._shortest
