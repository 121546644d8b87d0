"""A store around another one that seals payloads on their way in and opens them on their way out.

It knows no database and no SQL: what it seals are mutations, what it opens are rows, so it stands before any store.
Rows that were written before there were keys are read as they are.

Invariant: every verb of the protocol is either written here, because payloads go through it, or named in `PASSED_ON`,
because none do. One that is neither does not exist here, and a test says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

from motet.errors import StoreRefused
from motet.model.clock import Clock, Micros
from motet.model.event import LoggedEvent
from motet.model.history import Recorded
from motet.model.keyring import Keyring
from motet.model.run import Run, Version
from motet.store.mutations import Mutation, PutInbox
from motet.store.payloads import Sealing
from motet.store.places import open_up, place_of_edit, seal
from motet.store.protocol import (
    DeliveryFilter,
    EventFilter,
    Fence,
    Receipt,
    RunFilter,
    Store,
    Ticket,
    WorkerInfo,
)  # fmt: skip
from motet.store.retention import Retaining, RunsPage
from motet.store.sealing import Sealer, check_keys
from motet.store.taking import Taken
from motet.store.transactions import AttemptTransaction, DeliveryFence, RunFence

R = TypeVar("R")

PASSED_ON: Final = frozenset({
    "close", "knowing", "schemas", "backup", "findings", "committed", "resign", "workers", "beat", "drain",
    "bury", "events_counted", "headings", "catalog", "catalogs", "traffic", "prospect", "queues", "counts",
    "open_runs", "versions", "loads", "changed", "hint", "subscribe", "claim_cursors", "cursors", "head",
    "place_of", "recorded_behind", "deliveries_counted", "delivery_counts", "redrive", "discard", "pause",
    "replay", "forget_reaction", "expected_for", "expected_open", "expected", "expected_counts", "not_come",
    "prune_runs", "prune_generations", "tombstone", "tombstones", "event_limits", "old_events", "prune_events",
    "settled_expected", "prune_expected", "prune_workers", "compact", "payloads", "replace_payloads",
    "forget_digests", "scrub", "sealing", "note_key", "drop_keys", "empty_outbox", "delivery_state",
})  # fmt: skip
"""What no payload goes through, or only as it is stored."""


def sealed(store: Store, keys: Keyring | None, clock: Clock) -> Store:
    """The store itself without keys; else one that stands before it."""
    return store if keys is None else cast(Store, SealedStore(store, Sealer(keys), clock))


class SealedStore:
    """Stands before a store."""

    def __init__(self, store: Store, sealer: Sealer, clock: Clock) -> None:
        self.address = store.address
        self.shared = store.shared
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._noted = sealer.keys.current is None

    @property
    def identity(self) -> str | None:
        """Which store it is, once it is open."""
        return self._store.identity

    def _open(self, rows: Iterable[R]) -> list[R]:
        return [open_up(self._sealer, row) for row in rows]

    def _seal(self, unit: Iterable[Mutation]) -> list[Mutation]:
        return [seal(self._sealer, row) for row in unit]

    async def _note(self) -> None:
        """Before anything is sealed, the store knows with which key."""
        name = self._sealer.keys.current
        if not self._noted and name is not None:
            await _sealing(self._store).note_key(name, self._sealer.keys.proof(name), self._clock.now())
            self._noted = True

    async def open(self, *, create: bool) -> None:
        await self._store.open(create=create)

    # --- writing ----------------------------------------------------------------------------------------------

    async def commit(self, units: Sequence[list[Mutation]], guard: Fence | Ticket | None) -> Receipt:
        await self._note()
        receipt = await self._store.commit([self._seal(unit) for unit in units], guard)
        return open_receipt(self._sealer, receipt)

    async def recorded(self, fact: Recorded) -> bool:
        return await self._store.recorded(seal(self._sealer, fact))

    def step_transaction(self, fence: RunFence, *, blocking: bool = False) -> AttemptTransaction:
        return _SealedTransaction(self._store.step_transaction(fence, blocking=blocking), self._seal)

    def delivery_transaction(self, fence: DeliveryFence, *, blocking: bool = False) -> AttemptTransaction:
        return _SealedTransaction(self._store.delivery_transaction(fence, blocking=blocking), self._seal)

    async def edit_delivery(self, reaction: str, position: int, data: str | None) -> bool:
        await self._note()
        return await self._store.edit_delivery(
            reaction, position, self._sealer.seal(data, place_of_edit(position))
        )  # fmt: skip

    async def register(
        self, worker: WorkerInfo, catalog: dict[str, str], now: Micros, limits: Mapping[str, int | None] | None = None
    ) -> int:
        await self._note()  # a worker's transactions find it done
        return await self._store.register(worker, catalog, now, limits)

    # --- reading ----------------------------------------------------------------------------------------------

    async def claim(
        self, worker: int, known: Sequence[Version], fingerprint: str, now: Micros, limit: int, full: Sequence[str] = ()
    ) -> list[Run]:
        return self._open(await self._store.claim(worker, known, fingerprint, now, limit, full))

    async def take(
        self, worker: int, known: Sequence[Version], fingerprint: str, now: Micros, limit: int, full: Sequence[str] = ()
    ) -> Taken:
        taken = await self._store.take(worker, known, fingerprint, now, limit, full)
        histories = {uid: self._open(rows) for uid, rows in taken.histories.items()}
        return Taken(self._open(taken.runs), histories, self._open(taken.inbox))

    async def owned(self, worker: int) -> list[Run]:
        return self._open(await self._store.owned(worker))

    async def run(self, id: str) -> Run | None:
        found = await self._store.run(id)
        return None if found is None else open_up(self._sealer, found)

    async def runs(self, filter: RunFilter) -> list[Run]:
        return self._open(await self._store.runs(filter))

    async def outcomes(self, uids: Sequence[str]) -> list[Run]:
        return self._open(await self._store.outcomes(uids))

    async def missing(self, uids: Sequence[str]) -> list[str]:
        return await self._store.missing(uids)

    async def histories(self, runs: Sequence[tuple[str, int]]) -> dict[str, list[Recorded]]:
        return {uid: self._open(rows) for uid, rows in (await self._store.histories(runs)).items()}

    async def inbox(self, worker: int) -> list[PutInbox]:
        return self._open(await self._store.inbox(worker))

    async def events(self, after: int, limit: int) -> list[LoggedEvent]:
        return self._open(await self._store.events(after, limit))

    async def events_at(self, positions: Sequence[int]) -> list[LoggedEvent]:
        return self._open(await self._store.events_at(positions))

    async def events_of(self, conversation: str, after: int, limit: int) -> list[LoggedEvent]:
        return self._open(await self._store.events_of(conversation, after, limit))

    async def events_found(self, filter: EventFilter) -> list[LoggedEvent]:
        return self._open(await self._store.events_found(filter))

    async def deliveries(self, filter: DeliveryFilter) -> list[Any]:
        return self._open(await self._store.deliveries(filter))

    async def under_way(self, reaction: str) -> list[Any]:
        return self._open(await self._store.under_way(reaction))

    async def ended_runs(self, before: Micros, after: str, limit: int, *, inputs: bool) -> RunsPage:
        page = await _retaining(self._store).ended_runs(before, after, limit, inputs=inputs)
        return page._replace(ended=self._open(page.ended))


def open_receipt(sealer: Sealer, receipt: Receipt) -> Receipt:
    """With what it tells of the runs that have won."""
    if not receipt.lost:
        return receipt
    return receipt._replace(lost={uid: open_up(sealer, run) for uid, run in receipt.lost.items()})


class _SealedTransaction:
    """A transaction of the user's function, before a store's own."""

    def __init__(
        self, transaction: AttemptTransaction, seal_unit: Callable[[list[Mutation]], list[Mutation]]
    ) -> None:  # fmt: skip
        self._transaction = transaction
        self._seal = seal_unit

    async def begin(self) -> object:
        return await self._transaction.begin()

    async def commit(self, unit: list[Mutation]) -> None:
        await self._transaction.commit(self._seal(unit))

    async def roll_back(self) -> None:
        await self._transaction.roll_back()

    def is_outage(self, error: BaseException) -> bool:
        return self._transaction.is_outage(error)


def _passing_on(name: str) -> Callable[..., Any]:
    def verb(self: SealedStore, *args: Any, **options: Any) -> Any:
        return getattr(self._store, name)(*args, **options)  # pyright: ignore[reportPrivateUsage]

    verb.__name__ = name
    return verb


for _name in PASSED_ON:
    setattr(SealedStore, _name, _passing_on(_name))


def _sealing(store: Store) -> Sealing:
    if not isinstance(store, Sealing):
        raise StoreRefused(f"{store.address} cannot hold encrypted payloads with this version of Motet")
    return store


def _retaining(store: Store) -> Retaining:
    if not isinstance(store, Retaining):
        raise StoreRefused(f"{store.address} cannot be pruned with this version of Motet")
    return store


async def check_store(store: Store, keys: Keyring | None) -> None:
    """Whether all that an open store holds can be read with these keys. Raises StoreRefused."""
    if isinstance(store, Sealing):
        check_keys(await store.sealing(), keys, store.address)
    elif keys is not None:
        raise StoreRefused(f"{store.address} cannot hold encrypted payloads with this version of Motet")
