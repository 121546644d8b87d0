"""The store's verbs for letting go (`motet.store.retention`) and for payloads in place (`motet.store.payloads`).

They read page after page, so they keep to the plans of a worker's statements: planned anew with what is known of large
tables, each page would read all runs to find out which of its conversations are open.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from motet.errors import StoreRefused
from motet.model.clock import Micros
from motet.model.tombstone import Tombstone
from motet.store.payloads import Key, PayloadChange, PayloadRow, Table
from motet.store.postgres import payloads, pruning, pruning_log
from motet.store.postgres.link import Link
from motet.store.retention import EventLimits, EventsPage, ExpectedKey, ExpectedPage, PrunedRuns, RunsPage

R = TypeVar("R")


class PostgresRetaining:
    """A part of `PostgresStore`."""

    address: str

    async def _read(self, work: Callable[[Link], Awaitable[R]]) -> R:
        raise NotImplementedError

    async def _quietly(self, work: Callable[[Link], Awaitable[R]]) -> R:
        raise NotImplementedError

    async def ended_runs(self, before: Micros, after: str, limit: int, *, inputs: bool) -> RunsPage:
        return await self._read(partial(pruning.ended_runs, before=before, after=after, limit=limit, inputs=inputs))

    async def prune_runs(self, before: Micros, tombstones: Sequence[Tombstone], rows: int) -> PrunedRuns:
        return await self._quietly(partial(pruning.prune_runs, before=before, tombstones=tombstones, rows=rows))

    async def prune_generations(self, before: Micros, runs: Sequence[tuple[str, int]], rows: int) -> PrunedRuns:
        return await self._quietly(partial(pruning.prune_generations, before=before, runs=runs, rows=rows))

    async def tombstone(self, id: str) -> Tombstone | None:
        return await self._read(partial(pruning.tombstone, id=id))

    async def tombstones(self, conversation: str, limit: int) -> list[Tombstone]:
        return await self._read(partial(pruning.tombstones, conversation=conversation, limit=limit))

    async def event_limits(self, before: Micros) -> EventLimits:
        return await self._read(partial(pruning_log.event_limits, before=before))

    async def old_events(self, limits: EventLimits, after: int, limit: int) -> EventsPage:
        return await self._read(partial(pruning_log.old_events, limits=limits, after=after, limit=limit))

    async def prune_events(self, limits: EventLimits, positions: Sequence[int]) -> int:
        return await self._quietly(partial(pruning_log.prune_events, limits=limits, positions=positions))

    async def settled_expected(self, before: Micros, after: ExpectedKey, limit: int) -> ExpectedPage:
        return await self._read(partial(pruning.settled_expected, before=before, after=after, limit=limit))

    async def prune_expected(self, before: Micros, keys: Sequence[ExpectedKey]) -> int:
        return await self._quietly(partial(pruning.prune_expected, before=before, keys=keys))

    async def prune_workers(self, before: Micros) -> int:
        return await self._quietly(partial(pruning.prune_workers, before=before))

    async def compact(self) -> Mapping[str, int]:
        raise StoreRefused(
            f"{self.address} is PostgreSQL, which uses freed space again after its autovacuum; to have that at once, "
            "say VACUUM in psql, or VACUUM FULL to give it back to the system (which locks tables: stop workers first)"
        )

    # --- payloads ---------------------------------------------------------------------------------------------

    async def payloads(
        self, table: Table, conversation: str | None, after: Key | None, limit: int
    ) -> list[PayloadRow]:  # fmt: skip
        return await self._read(lambda link: payloads.page(link, table, conversation, after, limit))

    async def replace_payloads(self, table: Table, changes: Sequence[PayloadChange]) -> int:
        return await self._quietly(partial(payloads.replace, table=table, changes=changes))

    async def forget_digests(self, conversation: str) -> int:
        return await self._quietly(partial(payloads.forget_digests, conversation=conversation))

    async def scrub(self) -> bool:
        return True  # the write-ahead log is the server's own, and recycled by it

    async def sealing(self) -> dict[str, str]:
        return await self._read(payloads.sealing)

    async def note_key(self, name: str, proof: str, now: Micros) -> None:
        await self._quietly(partial(payloads.note_key, name=name, proof=proof, now=now))

    async def drop_keys(self, names: Sequence[str]) -> None:
        await self._quietly(partial(payloads.drop_keys, names=names))
