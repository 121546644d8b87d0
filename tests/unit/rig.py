"""An owner of one machine, all in memory: it gives facts their positions, keeps the rows, and replays them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import msgspec

from motet import App, Workflow
from motet.model.clock import SECOND, Micros
from motet.model.failure import Failure, decode_failure
from motet.model.history import Fact, FactKind, Recorded
from motet.orchestration.commands import (
    Abandon,
    Change,
    Command,
    Enter,
    Finish,
    Pivot,
    Publish,
    Restart,
    RunAttempt,
    Stick,
)
from motet.orchestration.machine import Identity, Machine
from motet.orchestration.operation import Operation
from motet.orchestration.outcome import Interrupted, Outcome, Raised, Returned, TimedOut
from motet.orchestration.replaying import replay

START: Micros = 1_700_000_000 * SECOND
LIMIT = 2 * 1024 * 1024

_KINDS: dict[type, FactKind] = {Publish: "published", Pivot: "pivoted", Change: "changed"}


class Rig:
    """One generation of one run. What it is told, it records and applies at once, as an owner without delays would."""

    def __init__(
        self, app: App, workflow: Workflow[Any, Any], input: object = None, *, uid: str = "uid", generation: int = 1,
        id: str = "run",
    ) -> None:  # fmt: skip
        self.app = app
        self.workflow = workflow
        self.identity = Identity(uid, generation, id, id)
        self.input = msgspec.json.encode(input).decode()
        self.now = START
        self.rows: list[Recorded] = []
        self.commands: list[Command] = []
        self.machine = Machine(workflow, app.registry, self.identity, self.input, START, LIMIT)

    # --- driving ------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        self.do(self.machine.start())
        return self

    def do(self, commands: Iterable[Command]) -> list[Command]:
        """Keep the commands, and make the rows that the workflow itself asks for."""
        done = list(commands)
        self.commands += done
        for command in done:
            if isinstance(command, Publish | Pivot | Change):
                kind = _KINDS[type(command)]
                self.row(Fact(command.op.op, command.op.kind, kind, self.now, digest=command.op.digest))
        return done

    def row(self, fact: Fact) -> None:
        recorded = self.keep(fact)
        self.machine.apply(recorded.position, fact)

    def keep(self, fact: Fact) -> Recorded:
        """Give the fact its position and write it down."""
        position = len(self.rows) + 1
        op = self.machine.operations.get(fact.op)
        site = op.site if op is not None else None
        who = self.identity
        recorded = Recorded(who.uid, who.generation, position, self.machine.position, *fact, site)
        self.rows.append(recorded)
        return recorded

    def tell(self, fact: Fact) -> list[Command]:
        """One fact, recorded and applied."""
        recorded = self.keep(fact)
        return self.do(self.machine.apply(recorded.position, fact))

    def outcome(self, op: str, outcome: Outcome, *, seconds: float = 1.0) -> list[Command]:
        """An attempt has ended."""
        started, self.now = self.now, self.now + round(seconds * SECOND)
        return self.tell(self.machine.decide(self.op(op), outcome, self.now, started))

    def complete(self, op: str, value: object = None) -> list[Command]:
        return self.outcome(op, Returned(value))

    def fail(self, op: str, error: BaseException) -> list[Command]:
        return self.outcome(op, Raised(error))

    def time_out(self, op: str, seconds: float = 1.0) -> list[Command]:
        return self.outcome(op, TimedOut(seconds))

    def cut_off(self, op: str) -> list[Command]:
        """What an owner records when an abandoned operation has no attempt in flight."""
        return self.outcome(op, Interrupted("cut off"), seconds=0)

    def fire(self, op: str) -> list[Command]:
        self.now = max(self.now, self.op(op).due)
        return self.tell(Fact(op, "timer", "fired", self.now))

    def stop(self, kind: FactKind = "cancel", **payload: Any) -> list[Command]:
        text = msgspec.json.encode(payload).decode() if payload else None
        return self.tell(Fact("", "run", kind, self.now, text))

    def stick(self, command: Command) -> list[Command]:
        """What an owner records for a compensation that cannot be called."""
        assert isinstance(command, Stick)
        payload = msgspec.json.encode({"type": "UnknownOutcome", "message": command.reason}).decode()
        return self.tell(Fact(command.op.op, command.op.kind, "stuck", self.now, payload, command.op.attempts))

    def skip(self, op: str) -> list[Command]:
        return self.tell(Fact(op, self.op(op).kind, "skipped", self.now, None))

    def retry(self, op: str | None = None) -> list[Command]:
        return self.tell(Fact("", "run", "retry", self.now, msgspec.json.encode({"op": op}).decode()))

    # --- crashing -----------------------------------------------------------------------------------------------

    def replay(self, rows: Iterable[Recorded] | None = None, workflow: Workflow[Any, Any] | None = None) -> Rig:
        """Another owner of the same run: drops the machine, replays the rows, goes on where it stands."""
        self.machine.close()
        other = Rig(self.app, workflow or self.workflow, uid=self.identity.uid, generation=self.identity.generation)
        other.identity, other.input = self.identity, self.input
        other.machine = Machine(other.workflow, self.app.registry, self.identity, self.input, START, LIMIT, True)
        other.now = self.now
        other.rows = list(self.rows if rows is None else rows)
        try:
            for _ in replay(other.machine, list(other.rows)):
                pass
        except BaseException:
            other.machine.close()
            raise
        other.machine.replaying = False
        other.do(other.machine.outstanding())
        return other

    # --- looking ------------------------------------------------------------------------------------------------

    def op(self, name: str) -> Operation:
        return self.machine.operations[name]

    @property
    def names(self) -> list[str]:
        """All operations in the order of their creation."""
        return list(self.machine.operations)

    @property
    def end(self) -> Finish:
        assert isinstance(self.machine.final, Finish), self.machine.final
        return self.machine.final

    @property
    def result(self) -> Any:
        assert self.end.state == "completed", self.failure
        return msgspec.json.decode(self.end.result or "null")

    @property
    def failure(self) -> Failure:
        assert self.end.error is not None
        return decode_failure(self.end.error)

    @property
    def restart(self) -> Restart:
        assert isinstance(self.machine.final, Restart), self.machine.final
        return self.machine.final


def brief(commands: Iterable[Command]) -> list[str]:
    """Commands in short: `RunAttempt charge#1`, `Enter blocked`, `Finish completed`."""
    return [_brief(command) for command in commands]


def _brief(command: Command) -> str:
    name = type(command).__name__
    if isinstance(command, Enter | Finish):
        return f"{name} {command.state}"
    op = getattr(command, "op", None)
    return f"{name} {op.op}" if isinstance(op, Operation) else name


def attempts(commands: Iterable[Command]) -> list[str]:
    """The operations of which the commands ask an attempt."""
    return [command.op.op for command in commands if isinstance(command, RunAttempt)]


def abandoned(commands: Iterable[Command]) -> list[str]:
    return [command.op.op for command in commands if isinstance(command, Abandon)]
