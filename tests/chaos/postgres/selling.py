"""Somebody who publishes inside transactions of their own: what they wrote and the event that tells of it are one fact.

Each seller sells numbered things, one after the other, and rolls some of it back. What is sold is told once, in that
order; what was rolled back is never told. A number is used again only if its transaction is known not to have happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import defaultdict

import asyncpg

from motet import App
from motet.errors import StoreError
from tests.chaos.asking import AWAY, Base

SOLD = "thing.sold"
TABLE = "CREATE TABLE sold (key text, number integer, PRIMARY KEY (key, number))"
MOST_AT_ONCE = 3


class Seller:
    """One key, one thing after the other.

    Args:
        apart: the most seconds between two transactions.
    """

    def __init__(self, app: App, name: str, address: str, chance: random.Random, apart: float) -> None:
        self.name = name
        self.sold = 0
        self.rolled_back = 0
        self._app = app
        self._address = address
        self._chance = chance
        self._apart = apart
        self._next: int | None = None

    async def sell(self) -> None:
        """Until it is cancelled."""
        connection: asyncpg.Connection | None = None
        try:
            while True:
                try:
                    if connection is None:
                        connection = await asyncpg.connect(self._address, timeout=5, command_timeout=10)
                        self._next = await self._known(connection)
                    await self._once(connection)
                except (*AWAY, StoreError):
                    if connection is not None:
                        connection.terminate()
                    connection = None
                    await asyncio.sleep(0.1)  # tidy: until it answers again
                await asyncio.sleep(self._chance.uniform(0, self._apart))  # tidy: its rhythm
        finally:
            if connection is not None:
                connection.terminate()

    async def _known(self, connection: asyncpg.Connection) -> int:
        """After a lost reply nobody knows whether the last one was sold: the table does, once its lock is free."""
        async with connection.transaction():
            await connection.execute("LOCK TABLE sold IN SHARE ROW EXCLUSIVE MODE")
            return 1 + await connection.fetchval("SELECT coalesce(max(number), 0) FROM sold WHERE key = $1", self.name)

    async def _once(self, connection: asyncpg.Connection) -> None:
        assert self._next is not None
        count = self._chance.randint(1, MOST_AT_ONCE)
        transaction = connection.transaction()
        await transaction.start()
        for number in range(self._next, self._next + count):
            await connection.execute("INSERT INTO sold VALUES ($1, $2)", self.name, number)
            await self._app.publish(SOLD, {"number": number}, key=self.name, conn=connection)
        if self._chance.random() < 0.15:
            await transaction.rollback()
            self.rolled_back += 1
            return
        await transaction.commit()
        self._next += count
        self.sold += 1


def wrong(base: Base) -> list[str]:
    """What was sold and not told, told and not sold, told twice, or told in another order."""
    sold: dict[str, list[int]] = defaultdict(list)
    for key, number in base.ask("SELECT key, number FROM sold ORDER BY key, number"):
        sold[key].append(number)
    told: dict[str, list[int]] = defaultdict(list)
    for key, data in base.ask("SELECT subject, data FROM event WHERE type = ? ORDER BY position", SOLD):
        told[key].append(json.loads(data)["number"])
    found: list[str] = []
    for key in sorted({*sold, *told}):
        if told[key] == sold[key]:
            continue
        if missing := sorted(set(sold[key]) - set(told[key])):
            found.append(f"{len(missing)} things of {key} were sold and not told: {missing[:5]}")
        if extra := sorted(set(told[key]) - set(sold[key])):
            found.append(f"{len(extra)} things of {key} were told and not sold: {extra[:5]}")
        if len(set(told[key])) < len(told[key]):
            found.append(f"things of {key} were told twice")
        with contextlib.suppress(StopIteration):
            at = next(at for at, (one, two) in enumerate(zip(told[key], told[key][1:], strict=False)) if two < one)
            found.append(f"things of {key} were told in another order than they were sold: {told[key][at : at + 2]}")
    return found
