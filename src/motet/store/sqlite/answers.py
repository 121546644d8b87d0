"""The verbs that only read."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from motet.model.clock import Micros
from motet.model.delivery import DeliveryRow, DeliveryState
from motet.model.event import Heading, LoggedEvent
from motet.model.expected import Expected, ExpectedState
from motet.model.history import Recorded
from motet.model.run import Run, Version
from motet.store.mutations import PutInbox
from motet.store.protocol import (
    DeliveryFilter,
    EventFilter,
    ExpectedFilter,
    ExpectedView,
    OpenRuns,
    Prospect,
    QueueRow,
    RunFilter,
    Traffic,
    Versions,
)
from motet.store.sqlite import claiming, counting, delivering, expecting, finding, reading, seen

R = TypeVar("R")


class SqliteAnswers:
    """A part of `SqliteStore`."""

    async def _read(self, work: Callable[[sqlite3.Connection], R]) -> R:
        raise NotImplementedError

    async def run(self, id: str) -> Run | None:
        return await self._read(partial(reading.run, id=id))

    async def runs(self, filter: RunFilter) -> list[Run]:
        return await self._read(partial(reading.runs, filter=filter))

    async def outcomes(self, uids: Sequence[str]) -> list[Run]:
        return await self._read(partial(reading.outcomes, uids=uids))

    async def missing(self, uids: Sequence[str]) -> list[str]:
        return await self._read(partial(reading.missing, uids=uids))

    async def histories(self, runs: Sequence[tuple[str, int]]) -> dict[str, list[Recorded]]:
        return await self._read(partial(reading.histories, runs=runs))

    async def inbox(self, worker: int) -> list[PutInbox]:
        return await self._read(partial(reading.inbox, worker=worker))

    async def events(self, after: int, limit: int) -> list[LoggedEvent]:
        return await self._read(partial(reading.events, after=after, limit=limit))

    async def events_at(self, positions: Sequence[int]) -> list[LoggedEvent]:
        return await self._read(partial(reading.events_at, positions=positions))

    async def events_of(self, conversation: str, after: int, limit: int) -> list[LoggedEvent]:
        return await self._read(lambda connection: reading.events_of(connection, conversation, after, limit))

    async def events_found(self, filter: EventFilter) -> list[LoggedEvent]:
        return await self._read(partial(finding.found, filter=filter))

    async def events_counted(self, filter: EventFilter) -> int:
        return await self._read(partial(finding.count, filter=filter))

    async def headings(self, types: Sequence[str], after: int, until: int) -> list[Heading]:
        return await self._read(partial(reading.headings, types=types, after=after, until=until))

    async def catalog(self, workflow: str, version: int) -> str | None:
        return await self._read(partial(reading.catalog, workflow=workflow, version=version))

    async def catalogs(self) -> dict[str, str]:
        return await self._read(seen.catalogs)

    async def traffic(self, last: int) -> Traffic:
        return await self._read(lambda connection: seen.traffic(connection, last))

    async def prospect(
        self, worker: int, known: Sequence[Version], fingerprint: str, now: Micros, full: Sequence[str] = ()
    ) -> Prospect:
        return await self._read(
            partial(claiming.prospect, worker=worker, known=known, fingerprint=fingerprint, now=now, full=full)
        )

    async def queues(self, now: Micros) -> list[QueueRow]:
        return await self._read(partial(reading.queues, now=now))

    async def counts(self) -> dict[str, int]:
        return await self._read(reading.counts)

    async def open_runs(self, now: Micros) -> OpenRuns:
        return await self._read(partial(counting.open_runs, now=now))

    async def versions(self) -> Versions:
        return await self._read(counting.versions)

    async def knowing(self, version: Version) -> list[int]:
        return await self._read(partial(counting.knowing, version=version))

    async def loads(self) -> dict[int, int]:
        return await self._read(counting.loads)

    async def expected_for(self, expectation: str, keys: Sequence[str], view: ExpectedView) -> list[Expected]:
        return await self._read(partial(expecting.for_keys, expectation=expectation, keys=keys, view=view))

    async def expected_open(self, expectation: str, limit: int) -> list[Expected]:
        return await self._read(partial(expecting.open_ones, expectation=expectation, limit=limit))

    async def expected(self, filter: ExpectedFilter) -> list[Expected]:
        return await self._read(partial(expecting.expected, filter=filter))

    async def expected_counts(self) -> dict[str, dict[ExpectedState, int]]:
        return await self._read(expecting.counts)

    async def not_come(self) -> dict[str, dict[ExpectedState, int]]:
        return await self._read(expecting.not_come)

    async def deliveries(self, filter: DeliveryFilter) -> list[DeliveryRow]:
        return await self._read(partial(delivering.listed, filter=filter))

    async def deliveries_counted(self, filter: DeliveryFilter) -> int:
        return await self._read(partial(delivering.count, filter=filter))

    async def delivery_counts(self) -> dict[str, dict[DeliveryState, int]]:
        return await self._read(delivering.counts)

    async def under_way(self, reaction: str) -> list[DeliveryRow]:
        return await self._read(partial(delivering.under_way, reaction=reaction))
