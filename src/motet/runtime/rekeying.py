"""Encrypting a store anew: everything that is not under the current key is sealed with it, or opened if there is none.

In small transactions, while everything runs: each exchange is a compare-and-set, and what a run's owner writes
meanwhile is under the current key already, if all processes have it as theirs. A second walk proves that nothing was
left; only then does the store forget the keys that nothing is under any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec

from motet.errors import NotPossible
from motet.model.clock import Clock
from motet.model.keyring import Keyring
from motet.store.payloads import TABLES, PayloadChange, PayloadRow, Payloads, Sealing, Table
from motet.store.places import open_row, seal_row
from motet.store.protocol import Store
from motet.store.sealing import Sealer, is_broken

PAGE: Final = 200
BREATH_SECONDS: Final = 0.005
WALKS: Final = 5

Report = Callable[[int, int], None]


class Rekeyed(msgspec.Struct):
    """What was done.

    Args:
        rows: how many were changed, of those that were looked at in one walk.
        broken: how many cannot be opened, although their key is there; they stay as they are.
        dropped: keys that nothing is under any more.
        left: how many were still under another key at the end: some process uses that one.
    """

    rows: int = 0
    walked: int = 0
    broken: int = 0
    left: int = 0
    dropped: list[str] = []
    scrubbed: bool = False


class Rekeying:
    """Of one store. Raises NotPossible: there are no keys."""

    def __init__(self, store: Store, keys: Keyring | None, clock: Clock) -> None:
        if keys is None:
            raise NotPossible("there are no keys to encrypt with; set MOTET_KEYS, the current key first")
        if not isinstance(store, Payloads) or not isinstance(store, Sealing):
            raise NotPossible(f"{store.address} cannot be encrypted anew with this version of Motet")
        self._store: Store = store
        self._payloads: Payloads = store
        self._sealing: Sealing = store
        self._keys = keys
        self._clock = clock
        self._sealer = Sealer(keys)

    async def walk(self, done: Rekeyed, report: Report | None = None) -> int:
        """Once through everything; returns how many rows were changed, or have changed meanwhile.

        What stands in the outbox comes into the log first; what comes into it later was published meanwhile."""
        await self._store.empty_outbox()
        found = done.walked = done.broken = 0
        for table in TABLES:
            async for rows in self._pages(table):
                changes = [change for row in rows if (change := self._change(table, row, done)) is not None]
                if changes:
                    found += len(changes)
                    done.rows += await self._payloads.replace_payloads(table, changes)
                    await asyncio.sleep(BREATH_SECONDS)  # tidy: others write meanwhile
                done.walked += len(rows)
                if report is not None:
                    report(done.walked, done.walked)
        return found

    async def rekey(self, report: Report | None = None) -> Rekeyed:
        """Until nothing is left, or some process goes on with another key."""
        done = Rekeyed()
        name = self._keys.current
        if name is not None:
            await self._sealing.note_key(name, self._keys.proof(name), self._clock.now())
        for _ in range(WALKS):
            done.left = await self.walk(done, report)
            if not done.left:
                break
        if not done.left and not done.broken:
            done.dropped = [name for name in await self._sealing.sealing() if name != self._keys.current]
            await self._sealing.drop_keys(done.dropped)
        done.scrubbed = await self._payloads.scrub()
        return done

    def _change(self, table: Table, row: PayloadRow, done: Rekeyed) -> PayloadChange | None:
        opened = open_row(self._sealer, table, row)
        if any(is_broken(value) for value in opened.values):
            done.broken += 1
            return None
        after = seal_row(self._sealer, table, opened).values
        return None if after == row.values else PayloadChange(row.key, row.values, after)

    async def _pages(self, table: Table) -> AsyncIterator[list[PayloadRow]]:
        after = None
        while rows := await self._payloads.payloads(table, None, after, PAGE):
            after = rows[-1].key
            yield rows
