"""Readers of the log who know nothing of the engine: each reads what lies behind the last position that it has seen.

A log is fit for that only if a position, once readers have passed it, is never filled later, and if nothing that a
reader has seen goes away again. Both are looked at in the end, against the log as it is then.
"""

from __future__ import annotations

import asyncio

import asyncpg

from tests.chaos.asking import AWAY, connect

PAGE = 500


class Tail:
    """One reader, with a rhythm of its own."""

    def __init__(self, address: str, seconds: float) -> None:
        self.seen: list[tuple[int, str]] = []
        self._address = address
        self._seconds = seconds

    @property
    def last(self) -> int:
        return self.seen[-1][0] if self.seen else 0

    async def follow(self) -> None:
        """Until it is cancelled; a database that is away is asked again."""
        connection: asyncpg.Connection | None = None
        try:
            while True:
                try:
                    if connection is None:
                        connection = await connect(self._address)
                    while await self._read(connection):
                        pass
                except (*AWAY, asyncpg.UndefinedTableError):
                    if connection is not None:
                        connection.terminate()
                    connection = None
                await asyncio.sleep(self._seconds)  # tidy: its rhythm
        finally:
            if connection is not None:
                connection.terminate()

    async def _read(self, connection: asyncpg.Connection) -> bool:
        """One page; whether it was full."""
        page = await connection.fetch(
            f"SELECT position, id FROM event WHERE position > $1 ORDER BY position LIMIT {PAGE}", self.last, timeout=10
        )
        self.seen += [(row["position"], row["id"]) for row in page]
        return len(page) == PAGE

    def wrong(self, log: list[tuple[int, str]]) -> list[str]:
        """What this reader has missed of the log as it is in the end, and what it has seen that is not in it."""
        seen, there = set(self.seen), {row for row in log if row[0] <= self.last}
        found: list[str] = []
        if missed := sorted(there - seen):
            found.append(f"a reader passed {len(missed)} events that came later at earlier positions: {missed[:3]}")
        if gone := sorted(seen - there):
            found.append(f"a reader saw {len(gone)} events that are gone: {gone[:3]}")
        return found
