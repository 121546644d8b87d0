"""What a miss is, as records: the event that says so, the row's change and the remedy's start are one unit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, get_origin

import msgspec

from motet.choreography.expectations import Expectation
from motet.choreography.expecting import Rule, due_of, missed_data, missed_id
from motet.errors import DefinitionError
from motet.model.event import ENGINE, LoggedEvent
from motet.model.expected import MISSED_EVENT, Expected, Missed
from motet.model.identity import child_uid
from motet.model.run import Run
from motet.orchestration.definitions import Workflow
from motet.runtime.carrying import PYTHON
from motet.runtime.worker import Worker
from motet.store.mutations import AppendEvent, MissExpected, Mutation
from motet.store.protocol import Receipt

log = logging.getLogger("motet.worker")

LONGEST_ID = 512


def remedy_of(expectation: Expectation) -> Workflow[Any, Any] | None:
    """The workflow that a miss starts; a reaction to misses finds them in the log by itself.

    Raises:
        DefinitionError: it cannot take what it will be given.
    """
    if not isinstance(expectation.remedy, Workflow):
        return None
    remedy: Workflow[Any, Any] = expectation.remedy  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    kind = remedy.input.kind if remedy.input is not None else None
    if kind not in (None, Missed, Any, object, dict) and get_origin(kind) is not dict:
        raise DefinitionError(
            f"expectation {expectation.name}: its remedy {remedy.name} takes {kind!r}; a remedy takes nothing, or "
            "(flow, missed: Missed)"
        )
    return remedy


class Missing:
    """Of one expectation.

    Args:
        remedy: the workflow that each miss starts.
    """

    def __init__(self, worker: Worker, rule: Rule, remedy: Workflow[Any, Any] | None) -> None:
        self._worker = worker
        self._rule = rule
        self._remedy = remedy

    async def units(self, rows: Sequence[Expected]) -> list[list[Mutation]]:
        """For each of these missed rows, what has to be committed as one fact. Raises StoreError."""
        triggers = await self._worker.session.store.events_at([row.position for row in rows])
        by_position = {trigger.position: trigger for trigger in triggers}
        return [self._unit(row, by_position.get(row.position)) for row in rows]

    def _unit(self, row: Expected, trigger: LoggedEvent | None) -> list[Mutation]:
        at = row.missed_at
        assert at is not None
        told = missed_data(row, self._rule, trigger)
        data = msgspec.json.encode(told).decode()
        traceparent = trigger.traceparent if trigger is not None else None
        event = AppendEvent(
            missed_id(row), ENGINE, MISSED_EVENT, row.key, at, at, row.conversation, row.event, data,
            traceparent=traceparent,
        )  # fmt: skip
        unit: list[Mutation] = [event, MissExpected(*row[:3], due_of(row, self._rule), at)]
        if self._remedy is not None:
            unit.append(self._start(self._remedy, row, event))
        return unit

    def check_started(self, unit: Sequence[Mutation], receipt: Receipt) -> None:
        """Say so if the remedy could not start, because a run of somebody else's has its id."""
        for row in unit:
            if isinstance(row, Run) and row.uid in receipt.lost:
                other = receipt.lost[row.uid]
                log.error(
                    "%s was missed, and its remedy has not started: run '%s' exists (%s, %s); start %s by hand",
                    self._rule.name, row.id, other.workflow, other.state, row.workflow,
                )  # fmt: skip

    def _start(self, remedy: Workflow[Any, Any], row: Expected, event: AppendEvent) -> Run:
        """Once for each trigger: its uid and id are the trigger's."""
        bare = self._rule.name.rpartition("/")[2]
        id = f"{bare}:{row.key}:{row.position}" if self._rule.each else f"{bare}:{row.key}"
        if len(id) > LONGEST_ID:
            id = f"{bare}:{row.position}"
        now = event.recorded_at
        return Run(
            uid=child_uid(event.id, 1, remedy.name, now), id=id, workflow=remedy.name, version=remedy.version,
            state="pending", generation=1, epoch=0, owner=None, input=event.data if remedy.input is not None else None,
            result=None, error=None, current=None, note=None, attributes=None, conversation=row.conversation,
            cause=event.id, parent=None, created_at=now, started_at=now, ended_at=None,
            deadline_at=None if remedy.deadline is None else now + remedy.deadline, wake_at=now, crashes=0,
            parked=None, python=PYTHON, fingerprint=self._worker.registry.fingerprint, queue=remedy.queue,
            priority=remedy.priority, traceparent=event.traceparent,
        )  # fmt: skip
