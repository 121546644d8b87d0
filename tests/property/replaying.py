"""Replays recorded histories fact by fact and tells what the machine asks for: a process that is sent one per line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

import msgspec

from motet.model.history import Recorded
from motet.model.run import Run
from motet.orchestration.commands import Command, Enter, Finish, Note, Publish, Restart
from motet.orchestration.machine import Identity, Machine
from motet.orchestration.operation import Operation
from motet.orchestration.replaying import replay as replayed
from tests.property.programs import app


def replay(run: Run, rows: Iterable[Recorded]) -> list[list[str]]:
    """What each drain of the run's generation asks for, and at last what is still to be done."""
    identity = Identity(run.uid, run.generation, run.id, run.conversation)
    workflow = app.registry.workflow(run.workflow)
    machine = Machine(workflow, app.registry, identity, run.input, run.started_at, 2**20, True)
    told = [_told(commands) for _, commands in replayed(machine, list(rows))]
    told.append(_told(machine.outstanding()))
    machine.close()
    return told


def _told(commands: Iterable[Command]) -> list[str]:
    return [f"{type(command).__name__} {_detail(command)}" for command in commands]


def _detail(command: Command) -> str:
    if isinstance(command, Publish):
        return f"{command.op.op} {command.event.data}"
    if isinstance(command, Finish):
        return f"{command.state} {command.result}"
    if isinstance(command, Enter | Note | Restart):
        return str(msgspec.structs.astuple(command)[0])
    op = getattr(command, "op", None)
    return f"{op.op} {op.digest}" if isinstance(op, Operation) else ""


def main() -> None:
    for line in sys.stdin:
        run, rows = json.loads(line)
        print(json.dumps(replay(Run(*run), [Recorded(*row) for row in rows])), flush=True)


def send(process: Any, run: Run, rows: Iterable[Recorded]) -> list[list[str]]:
    """Ask such a process."""
    process.stdin.write(json.dumps([run, list(rows)]) + "\n")
    process.stdin.flush()
    told: list[list[str]] = json.loads(process.stdout.readline())
    return told


if __name__ == "__main__":
    main()
