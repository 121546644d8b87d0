"""A workflow that an event starts: once, however often the event is delivered."""

from __future__ import annotations

from typing import Any

import msgspec

from motet.model.clock import Micros
from motet.model.event import Event
from motet.model.identity import child_uid
from motet.model.run import Run
from motet.orchestration.definitions import Workflow
from motet.runtime.carrying import PYTHON


def run_for(workflow: Workflow[Any, Any], event: Event[Any], id: str, fingerprint: str, now: Micros) -> Run:
    """The run of this event: its uid is the event's, so there is never a second one. Raises WrongType."""
    row = event.row
    payload: str | None = None
    if workflow.input is not None:
        payload = msgspec.json.encode(row).decode() if workflow.takes_event else row.data
        workflow.input.decode(payload, f"event {row.id} ({row.type}) as the input of workflow {workflow.name}")
    return Run(
        uid=child_uid(row.id, 1, workflow.name, row.recorded_at), id=id, workflow=workflow.name,
        version=workflow.version, state="pending", generation=1, epoch=0, owner=None, input=payload, result=None,
        error=None, current=None, note=None, attributes=None, conversation=row.correlationid, cause=row.id, parent=None,
        created_at=now, started_at=now, ended_at=None,
        deadline_at=None if workflow.deadline is None else now + workflow.deadline, wake_at=now, crashes=0, parked=None,
        python=PYTHON, fingerprint=fingerprint, queue=workflow.queue, priority=workflow.priority,
        traceparent=row.traceparent,
    )  # fmt: skip
