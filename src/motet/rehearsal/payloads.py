"""Recorded payloads read with the code's types, each by the name of its operation: so what lies behind a divergence is
looked at too, and what the body never waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from motet.errors import MotetError, WrongType
from motet.model.event import LoggedEvent
from motet.model.failure import decode_failure, rebuild
from motet.model.history import STEPS, Recorded
from motet.model.run import Run
from motet.orchestration.definitions import Step
from motet.orchestration.registry import Registry
from motet.rehearsal.differences import Difference

_row = msgspec.json.Decoder(LoggedEvent)


def unreadable(run: Run, history: Sequence[Recorded], registry: Registry) -> list[Difference]:
    """The run's input, and every result, error and event of its history that does not fit."""
    found = [_input(run, registry), *(_payload(row, registry) for row in history)]
    return [difference for difference in found if difference is not None]


def _input(run: Run, registry: Registry) -> Difference | None:
    workflow = registry.version(run.workflow, run.version)
    if workflow.input is None:
        if run.input is None:
            return None
        return Difference("type", f"the run has the input {run.input}", f"workflow {workflow.name} takes none")
    try:
        workflow.input.decode(run.input if run.input is not None else "null", "it")
    except WrongType as error:
        return Difference("type", f"the run's input {_short(run.input)}", _why(error))
    return None


def _payload(row: Recorded, registry: Registry) -> Difference | None:
    if row.payload is None:
        return None
    try:
        if row.operation_kind == "wait" and row.kind == "completed":
            registry.events.read(_row.decode(row.payload))
        elif row.operation_kind in STEPS:
            step = registry.recorded_as(row.op.rpartition("#")[0])
            if step is not None and row.kind == "completed":
                step.result.decode(row.payload, "it")
            elif step is not None and row.kind == "answered":
                return _answer(row, step)
    except MotetError as error:
        return Difference(
            "type", f"what {row.operation_kind} {row.op} gave, {_short(row.payload)}", _why(error), row.position,
            row.op, site=row.site,
        )  # fmt: skip
    return None


def _answer(row: Recorded, step: Step[Any, Any, Any]) -> Difference | None:
    failure = decode_failure(row.payload or "")
    if rebuild(failure, step.raises) is not None:
        return None
    return Difference(
        "type", f"{row.operation_kind} {row.op} answered with the declared error {failure.declared}",
        f"step {step.name} declares it no more: raises=[{', '.join(kind.__name__ for kind in step.raises)}]; "
        "the body gets another error", row.position, row.op, site=row.site,
    )  # fmt: skip


def _why(error: MotetError) -> str:
    return str(error).removeprefix("it ")


def _short(text: str | None) -> str:
    text = text if text is not None else "null"
    return text if len(text) <= 120 else f"{text[:117]}..."
