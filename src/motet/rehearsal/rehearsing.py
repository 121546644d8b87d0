"""One run's history against the code that is to be deployed: would it block, and where do the two differ?

The code is driven through what is recorded, as a worker would do it, and no further: no step runs, and nothing is
published.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from motet.errors import Divergence, UnknownWorkflow, WrongType
from motet.model.codec import plain
from motet.model.history import STEPS, Recorded
from motet.model.run import Run
from motet.orchestration.commands import Finish
from motet.orchestration.machine import Machine
from motet.orchestration.machines import machine_for
from motet.orchestration.registry import Registry
from motet.orchestration.replaying import replay
from motet.rehearsal.ahead import ahead
from motet.rehearsal.differences import Difference, Rehearsal
from motet.rehearsal.payloads import unreadable

NO_LIMIT = 2**31
"""Whatever was recorded was small enough when it was."""

_ENDS = ("completed", "answered", "failed", "skipped", "fired")


def rehearse(run: Run, history: Sequence[Recorded], registry: Registry) -> Rehearsal:
    """Never raises for what the user's code does: that is a difference."""
    try:
        machine = machine_for(run, registry, NO_LIMIT)
    except UnknownWorkflow as error:
        recorded = f"the run began with version {run.version} of {run.workflow}"
        return _told(run, 0, [Difference("version", recorded, str(error))], [])
    try:
        differences, facts, to_come = _replayed(machine, run, history)
    finally:
        machine.close()
    seen = {difference.operation for difference in differences if difference.kind == "type"}
    begun = any(difference.kind == "type" and difference.position is None for difference in differences)
    for difference in unreadable(run, history, registry):
        if difference.operation not in seen if difference.operation is not None else not begun:
            differences.append(difference)
    return _told(run, facts, differences, to_come)


def _told(run: Run, facts: int, differences: list[Difference], to_come: list[str]) -> Rehearsal:
    return Rehearsal(run.id, run.workflow, run.version, run.state, facts, differences, to_come)


def _replayed(machine: Machine, run: Run, history: Sequence[Recorded]) -> tuple[list[Difference], int, list[str]]:
    machine.replaying = True
    facts = -1  # the start is the first that is applied
    differences: list[Difference] = []
    try:
        for recorded, _ in replay(machine, history, run.current):
            facts += 1
            if recorded is not None:
                differences += _arguments(machine, recorded)
    except Exception as error:  # whatever it is, it would park the run
        row = history[facts] if 0 <= facts < len(history) else None
        if isinstance(error, Divergence) and row is not None:
            differences.append(_diverged(machine, row, error))
        else:
            differences.append(_broken(run, row, error))
        return differences, max(facts, 0), []
    in_flight = _in_flight(run, history)
    differences += _at_work(machine, in_flight)
    ending = _ends(machine, run) if in_flight else None
    if ending is not None:
        differences.append(ending)
    return differences, facts, ahead(machine.outstanding())


def _arguments(machine: Machine, row: Recorded) -> list[Difference]:
    op = machine.operations.get(row.op)
    if op is None or row.digest is None or op.digest is None or row.digest == op.digest:
        return []
    code = f"it is called with {op.arguments}" if op.arguments is not None else "it is called without any"
    recorded = f"{row.operation_kind} {row.op} was called with other arguments"
    return [Difference("arguments", recorded, code, row.position, row.op, fatal=False, site=row.site)]


def _diverged(machine: Machine, row: Recorded, error: Divergence) -> Difference:
    recorded = f"position {row.position} is about {row.operation_kind} {row.op} ({row.kind})"
    raised = _raised(machine)
    code = (error.code or str(error)) + (f", for its body raised {raised}" if raised else "")
    return Difference("divergence", recorded, code, *_where(row), site=row.site)


def _raised(machine: Machine) -> str | None:
    """What the body has ended with, if it was an error."""
    main = machine.main
    if main is None or not main.done() or main.cancelled():
        return None
    error = main.exception()
    return f"{type(error).__name__}: {error}" if isinstance(error, Exception) else None


def _broken(run: Run, row: Recorded | None, error: Exception) -> Difference:
    if isinstance(error, WrongType):
        recorded = f"the run's input, {run.input}" if row is None else f"what {row.operation_kind} {row.op} gave"
        return Difference("type", recorded, str(error), *_where(row), site=row.site if row is not None else None)
    recorded = "the run begins" if row is None else f"{row.operation_kind} {row.op} ({row.kind}) is recorded"
    return Difference("error", recorded, f"{type(error).__name__}: {error}", *_where(row))


def _where(row: Recorded | None) -> tuple[int | None, str | None]:
    return (row.position, row.op or None) if row is not None else (None, None)


def _in_flight(run: Run, history: Sequence[Recorded]) -> list[dict[str, Any]]:
    """What has begun and is not recorded yet, so that only the run's row tells of it."""
    ended = {row.op for row in history if row.kind in _ENDS}
    rows: list[dict[str, Any]] = plain(run.current) if run.current is not None else []
    return [row for row in rows if row["operation"] not in ended]


def _at_work(machine: Machine, in_flight: Sequence[dict[str, Any]]) -> list[Difference]:
    return [
        Difference(
            "at-work",
            f"{row['kind']} {row['operation']} is in flight, or has happened and is not recorded yet",
            "the code does not ask for it here: what becomes of it would be forgotten, and never undone",
            operation=row["operation"],
            site=row.get("site"),
        )
        for row in in_flight
        if row["kind"] in (*STEPS, "compensation", "child") and row["operation"] not in machine.operations
    ]


def _ends(machine: Machine, run: Run) -> Difference | None:
    """The run has something in flight, and the code would end there."""
    if run.state not in ("running", "waiting") or machine.stop is not None:
        return None
    if isinstance(machine.final, Finish):
        code = f"the code ends here as {machine.final.state}"
    elif machine.body_over:
        code = "the code ends here, and undoes what was done"
    else:
        return None
    raised = _raised(machine)
    return Difference("ends", f"the run is {run.state}", code + (f": its body raised {raised}" if raised else ""))
