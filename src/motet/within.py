"""Start and publish inside the user's own transaction: together with what the user writes there, or not at all.

All of it happens on the caller's thread and connection, at once; workers see it when the user commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from motet.drafting import Drafts, Placing, Reuse, check_same, may_replace
from motet.model.cloudevents import Document
from motet.model.event import given_id
from motet.model.run import Run
from motet.model.tombstone import Tombstone
from motet.orchestration.definitions import Workflow
from motet.store.mutations import AppendEvent, AppendOnce, RetireId
from motet.store.open import write_within


class Within:
    """Writes the records of one program to its store, through connections of its user's."""

    def __init__(self, drafts: Drafts, address: str) -> None:
        self._drafts = drafts
        self._address = address

    def start(
        self, conn: object, workflow: Workflow[Any, Any] | str, input: Any, id: str,
        attributes: Mapping[str, Any] | None, reuse: Reuse | None, priority: int | None,
    ) -> tuple[Run, Tombstone | None]:  # fmt: skip
        """The run that has this id: it, or the one that had it before, with its tombstone if it was pruned. As
        `App.start`."""
        definition, run = self._drafts.run(workflow, input, id, attributes, priority)
        receipt = write_within(self._address, conn, [run])
        winner = receipt.lost.get(run.uid)
        if winner is not None and may_replace(winner, reuse):
            run = run._replace(epoch=winner.epoch + run.epoch)
            receipt = write_within(self._address, conn, [RetireId(winner.uid, winner.id), run])
            winner = receipt.lost.get(run.uid)
        if winner is None:
            return run, None
        pruned = receipt.pruned.get(run.uid)
        check_same(definition, run, winner, pruned)
        return winner, pruned

    def publish(self, conn: object, event: object, data: Any, key: str | None, placing: Placing) -> str:
        """The event's id. As `App.publish`."""
        return self._publish(conn, self._drafts.event(event, data, key, placing))

    def publish_received(self, conn: object, document: Document) -> str:
        """The event's id. As `App.publish_cloudevent`."""
        return self._publish(conn, self._drafts.received(document))

    def _publish(self, conn: object, row: AppendEvent | AppendOnce) -> str:
        write_within(self._address, conn, [row])
        return given_id(row.source, row.id)
