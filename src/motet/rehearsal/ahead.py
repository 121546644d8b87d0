"""What a machine has before it, in words."""

from __future__ import annotations

from collections.abc import Iterable

from motet.orchestration import awaiting
from motet.orchestration.commands import (
    Command,
    Finish,
    Publish,
    Restart,
    RunAttempt,
    StartChild,
    StartTimer,
    StartWait,
    Stick,
)  # fmt: skip
from motet.orchestration.definitions import Workflow
from motet.orchestration.operation import Operation
from motet.status import iso


def ahead(commands: Iterable[Command]) -> list[str]:
    """What would be done now, in words."""
    return [text for command in commands if (text := describe(command)) is not None]


def describe(command: Command) -> str | None:
    """One command; None for what only keeps the books."""
    if isinstance(command, RunAttempt):
        again = f", attempt {command.op.attempts + 1}" if command.op.attempts else ""
        return f"run {command.op.describe()}{again}"
    if isinstance(command, StartTimer):
        return f"wait until {iso(command.op.due)} ({command.op.op})"
    if isinstance(command, StartWait):
        want = awaiting.wanted(command.op)
        until = f", until {iso(command.op.due)}" if command.op.due else ""
        return f"wait for {' or '.join(want.types)} about {want.key!r}{until} ({command.op.op})"
    if isinstance(command, StartChild):
        return f"start {_workflow(command.op)} as run '{command.op.child_id}', or wait for its end ({command.op.op})"
    if isinstance(command, Publish):
        return f"publish {command.event.type} ({command.op.op})"
    if isinstance(command, Stick):
        return f"need a person: {command.reason}"
    if isinstance(command, Restart):
        return "begin the next generation"
    if isinstance(command, Finish):
        return f"end as {command.state}"
    return None


def _workflow(op: Operation) -> str:
    workflow: Workflow[object, object] | None = op.workflow
    return f"{workflow.name} v{workflow.version}" if workflow is not None else op.name
