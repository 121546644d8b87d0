"""Start and publish inside the user's own transaction: together with what the user writes there, or not at all.

All of it happens on the caller's connection, at once; workers see it when the user commits. What is to be written
depends on what is there already, so each verb is a generator of units, which gets back what became of each.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, TypeVar

from motet.drafting import Drafts, Placing, Reuse, check_same, may_replace
from motet.model.cloudevents import Document
from motet.model.event import given_id
from motet.model.keyring import Keyring
from motet.model.run import Run
from motet.model.tombstone import Tombstone
from motet.orchestration.definitions import Workflow
from motet.store.mutations import AppendEvent, AppendOnce, Mutation, RetireId
from motet.store.places import seal
from motet.store.protocol import Receipt
from motet.store.sealed import open_receipt
from motet.store.sealing import Sealer
from motet.store.within import write_within, write_within_async

R = TypeVar("R")

Writes = Generator[list[Mutation], Receipt, R]


class Within:
    """Writes the records of one program to its store, through connections of its user's.

    Args:
        identity: which store it is, if that is known; of a file its path tells.
        keys: payloads are encrypted with these.
    """

    def __init__(
        self, drafts: Drafts, address: str, identity: str | None = None, keys: Keyring | None = None
    ) -> None:  # fmt: skip
        self._drafts = drafts
        self._address = address
        self._identity = identity
        self._keys = keys
        self._sealer = None if keys is None else Sealer(keys)

    def now(self, conn: object, writes: Writes[R]) -> R:
        """Through a connection that blocks, on the caller's thread."""
        try:
            unit = next(writes)
            while True:
                receipt = write_within(self._address, conn, self._sealed(unit), self._identity, self._keys)
                unit = writes.send(self._opened(receipt))
        except StopIteration as end:
            result: R = end.value
            return result

    async def soon(self, conn: object, writes: Writes[R]) -> R:
        """Through any connection, on the caller's event loop."""
        try:
            unit = next(writes)
            while True:
                sealed = self._sealed(unit)
                receipt = await write_within_async(self._address, conn, sealed, self._identity, self._keys)
                unit = writes.send(self._opened(receipt))
        except StopIteration as end:
            result: R = end.value
            return result

    def _sealed(self, unit: list[Mutation]) -> list[Mutation]:
        sealer = self._sealer
        return unit if sealer is None else [seal(sealer, row) for row in unit]

    def _opened(self, receipt: Receipt) -> Receipt:
        return receipt if self._sealer is None else open_receipt(self._sealer, receipt)

    def start(
        self, workflow: Workflow[Any, Any] | str, input: Any, id: str, attributes: Mapping[str, Any] | None,
        reuse: Reuse | None, priority: int | None,
    ) -> Writes[tuple[Run, Tombstone | None]]:  # fmt: skip
        """The run that has this id: it, or the one that had it before, with its tombstone if it was pruned. As
        `App.start`."""
        definition, run = self._drafts.run(workflow, input, id, attributes, priority)
        receipt = yield [run]
        winner = receipt.lost.get(run.uid)
        if winner is not None and may_replace(winner, reuse):
            run = run._replace(epoch=winner.epoch + run.epoch)
            receipt = yield [RetireId(winner.uid, winner.id), run]
            winner = receipt.lost.get(run.uid)
        if winner is None:
            return run, None
        pruned = receipt.pruned.get(run.uid)
        check_same(definition, run, winner, pruned, self._keys)
        return winner, pruned

    def publish(self, event: object, data: Any, key: str | None, placing: Placing) -> Writes[str]:
        """The event's id. As `App.publish`."""
        return _appended(self._drafts.event(event, data, key, placing))

    def publish_received(self, document: Document) -> Writes[str]:
        """The event's id. As `App.publish_cloudevent`."""
        return _appended(self._drafts.received(document))


def _appended(row: AppendEvent | AppendOnce) -> Writes[str]:
    yield [row]
    return given_id(row.source, row.id)
