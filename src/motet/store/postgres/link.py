"""One connection to the server, as statements use it.

Statements that run often have to keep their plan however large the tables grow, and from the first moment on, when a
table is empty and nothing is known of it. So plans are made once per connection, without regard to numbers, and
without what only pays for a table that is read as a whole: sequential and bitmap scans, hash and merge joins,
compilation. What
people ask for now and then is planned anew each time, with everything (`FREELY`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from motet.errors import StoreRefused, StoreUnavailable
from motet.store.postgres.driver import asyncpg
from motet.store.postgres_address import Address

CONNECTING_SECONDS = 10.0
OLDEST_SERVER = 140000

STEADY = (
    ("jit", "off"), ("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off"), ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"), ("enable_bitmapscan", "off"), ("enable_material", "off"),
)  # fmt: skip
STEADILY = "; ".join(f"SET LOCAL {name} = {value}" for name, value in STEADY)
FREELY = "SET LOCAL plan_cache_mode = force_custom_plan; " + "".join(
    f"SET LOCAL {name} = on; " for name, value in STEADY if name.startswith("enable_") and value == "off"
)

# Of a statement that is a transaction of its own, whatever the server, the database or the user has as its default.
_ALONE = (("default_transaction_isolation", "'read committed'"), ("default_transaction_read_only", "off"))

# A backend whose client has gone finds that out while it waits for a lock, not when it has got it and holds it.
_WATCH_CLIENT = "SET client_connection_check_interval = '2s'"

_LOOK = """SELECT current_setting('server_version_num')::integer, current_setting('server_encoding'),
    pg_is_in_recovery(), current_setting('synchronous_commit')"""


class Replica(StoreUnavailable):
    """A server that follows another one; which of them may be written can change."""


class Counted:
    """What a store has asked of its server so far, for benchmarks."""

    def __init__(self) -> None:
        self.statements = 0
        self.round_trips = 0
        self.transactions = 0


class Link:
    """An open connection, used by one at a time."""

    def __init__(self, raw: Any, counted: Counted, preamble: str) -> None:
        self.raw = raw
        self.preamble = preamble  # settings that each transaction makes anew; empty where the session keeps them
        self._counted = counted
        self._turns = 0

    @property
    def is_closed(self) -> bool:
        return bool(self.raw.is_closed())

    async def script(self, sql: str) -> str:
        """Statements without values, in one message; returns what the server says of the last of them."""
        self._counted.round_trips += 1
        self._counted.statements += sql.count(";") + 1
        status: str = await self.raw.execute(sql)
        return status

    async def commit(self, place: str, behind: str = "") -> None:
        """End the transaction.

        Args:
            behind: a statement to be said in the same message, in a transaction of its own.

        Raises:
            StoreUnavailable: a statement has failed before, and all was taken back; or `behind` has failed, and whether
                anything counts is unknown.
        """
        if not behind:
            if await self.script("COMMIT") != "COMMIT":
                raise StoreUnavailable(f"store {place} has taken back a transaction in which something had failed")
            return
        try:
            # Of several statements only the last one's status is told; so the first, which asks nothing, is there to
            # fail where something has failed before: then the rest is not even tried.
            await self.script(f"SELECT; COMMIT; {behind}")
        except Exception as error:
            self.abandon()
            raise StoreUnavailable(f"store {place} has not said whether a transaction counts: {error}") from error

    async def do(self, sql: str, *values: Any) -> int:
        """One statement; returns how many rows it has changed."""
        self._count()
        status: str = await self.raw.execute(sql, *values)
        return int(status.rpartition(" ")[2])

    async def rows(self, sql: str, *values: Any) -> list[Sequence[Any]]:
        self._count()
        found: list[Sequence[Any]] = await self.raw.fetch(sql, *values)
        return found

    async def row(self, sql: str, *values: Any) -> Sequence[Any] | None:
        """The first row."""
        self._count()
        found: Sequence[Any] | None = await self.raw.fetchrow(sql, *values)
        return found

    async def value(self, sql: str, *values: Any) -> Any:
        """The first column of the first row."""
        self._count()
        return await self.raw.fetchval(sql, *values)

    def turn(self, every: int) -> bool:
        """Whether it is time for what is done now and then: at the first call, and again after `every` more."""
        self._turns += 1
        return self._turns % every == 1

    async def close(self) -> None:
        """In good order, if the server plays along."""
        try:
            await self.raw.close(timeout=2)
        except Exception:  # tidy: it is given up in any case
            self.abandon()

    def abandon(self) -> None:
        """Without a word to the server, which finds out by itself."""
        with contextlib.suppress(Exception):  # tidy: nothing is asked of it any more
            self.raw.terminate()

    def _count(self) -> None:
        self._counted.round_trips += 1
        self._counted.statements += 1


async def connect(address: Address, counted: Counted, *, plain: bool = False) -> Link:
    """A connection to a server that can keep a store; a `plain` one has no settings of ours.

    Raises:
        StoreRefused: it cannot: too old, another encoding.
        Replica: where there are several servers, the next attempt may find the right one.
        Whatever the driver raises.
    """
    raw = await asyncpg.connect(
        address.dsn, timeout=CONNECTING_SECONDS, statement_cache_size=0 if address.pooled else 512,
        max_cached_statement_lifetime=0,
    )  # fmt: skip
    try:
        link = Link(raw, counted, "")
        await _set_up(link, address, plain)
    except BaseException:
        raw.terminate()
        raise
    return link


async def _set_up(link: Link, address: Address, plain: bool) -> None:
    (row,) = await _looked(link, address)
    version, encoding, replica, synchronous = row
    if version < OLDEST_SERVER:
        raise StoreRefused(f"{address.shown} is PostgreSQL {version // 10000}; Motet needs 14 or later")
    if encoding != "UTF8":
        raise StoreRefused(
            f"{address.shown} keeps its texts as {encoding}, which cannot hold all of them; make a database with "
            "createdb --encoding=UTF8 --template=template0"
        )
    if replica:
        raise Replica(f"{address.shown} is a replica, which cannot be written; name the primary server")
    settings = list(() if plain else STEADY)
    if synchronous == "off":
        settings.append(("synchronous_commit", "on"))
    if address.pooled:
        link.preamble = "".join(f"SET LOCAL {name} = {value}; " for name, value in settings)
        return
    settings += () if plain else _ALONE
    if settings:
        await link.script("; ".join(f"SET {name} = {value}" for name, value in settings))
    with contextlib.suppress(asyncpg.PostgresError):  # not every operating system can tell
        await link.script(_WATCH_CLIENT)


async def _looked(link: Link, address: Address) -> list[Sequence[Any]]:
    if not address.pooled:
        return await link.rows(_LOOK)
    await link.script("BEGIN")
    found = await link.rows(_LOOK)
    await link.script("COMMIT")
    return found
