"""The engine's own facts are events too: a reaction can page somebody."""

from __future__ import annotations

from typing import Any

import msgspec

from motet.model.clock import Micros
from motet.model.event import ENGINE
from motet.model.failure import decode_failure
from motet.model.run import Run, RunState
from motet.store.mutations import AppendEvent


def run_became(run: Run, state: RunState, error: str | None, at: Micros, id: str) -> AppendEvent:
    """`motet.run.completed`, `failed`, `cancelled` or `blocked`, about the run with this id.

    Args:
        error: as the run keeps it: a failure, or the incidents of one that is blocked.
        id: the event's, the same whenever the engine comes to the same fact again after a crash.
    """
    facts: dict[str, Any] = {"run": run.id, "workflow": run.workflow, "version": run.version}
    if error is not None and state == "blocked":
        facts["incidents"] = msgspec.Raw(error.encode())
    elif error is not None:
        failure = decode_failure(error)
        facts["error"] = {"type": failure.type, "message": failure.message}
    data = msgspec.json.encode(facts).decode()
    return AppendEvent(
        id, ENGINE, f"{ENGINE}.run.{state}", run.id, at, at, run.conversation, run.uid, data,
        traceparent=run.traceparent,
    )  # fmt: skip
