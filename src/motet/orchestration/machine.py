"""A run as a pure object: given a workflow, its input and its history, it advances and returns commands.

Invariants:
- Facts are applied one at a time in the order of their positions, and the loop is drained between them, live and
  in replay. So the same history always leads to the same commands.
- Everything that one drain asks for is one unit: its owner commits it in one transaction.
- It touches no store, clock, thread or socket. What it may not decide by itself comes in as a fact.

It does not know positions' origin, transactions, or whether an attempt is running: that is its owner's part.
"""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, NamedTuple

from motet.errors import Divergence, HistoryTooLong, WrongPlace
from motet.model.clock import SECOND, Micros
from motet.model.history import RECORDED_ONLY, Fact, OperationKind
from motet.model.identity import effect_key
from motet.model.origin import Kept
from motet.model.run import RunState
from motet.orchestration import body, delivery, timing
from motet.orchestration.awaiting import Consumed
from motet.orchestration.chance import Chance
from motet.orchestration.changing import NOTHING, Foreseen
from motet.orchestration.commands import (
    Abandon,
    Change,
    Command,
    Enter,
    Finish,
    Note,
    PassOn,
    Pivot,
    Publish,
    Restart,
    RunAttempt,
    StartChild,
    StartTimer,
    StartWait,
)
from motet.orchestration.definitions import Compensation, Workflow
from motet.orchestration.loop import DeterministicLoop, MachineClosed
from motet.orchestration.operation import Operation
from motet.orchestration.outcome import Outcome, verdict
from motet.orchestration.registry import Registry
from motet.orchestration.scope import Scope, current_scope
from motet.orchestration.sites import here
from motet.orchestration.timing import TimerHandle
from motet.orchestration.unwinding import Unwinding

WARN_OPERATIONS = 5_000
MAX_OPERATIONS = 50_000


class Identity(NamedTuple):
    """Who a machine is: uid and generation make its effects' keys; id and conversation are the user's words. Of a
    rerun, `kept` says whose history it keeps."""

    uid: str
    generation: int
    id: str
    conversation: str
    kept: tuple[Kept, ...] = ()


class Machine:
    """One generation of one run in memory."""

    # Thousands of them live at once. (Beyond 30 attributes CPython also gives up its compact instances.)
    __slots__ = (
        "__weakref__", "_chance", "_commands", "_counts", "_told", "_waiters", "body_over", "changes", "consumed",
        "ending", "final", "finished", "flight", "foreseen", "identity", "input", "late_stop", "limit", "loop", "main",
        "note", "now", "operations", "pivoted", "position", "registry", "restarting", "state", "stop",
        "stuck", "undoing", "unrecorded", "unstarted", "unwinding", "workflow",
    )  # fmt: skip

    def __init__(
        self, workflow: Workflow[Any, Any], registry: Registry, identity: Identity, input: str | None,
        started_at: Micros, payload_limit: int, replaying: bool = False,
    ) -> None:  # fmt: skip
        self.workflow = workflow
        self.registry = registry
        self.identity = identity
        self.input = input
        self.limit = payload_limit
        self.now = started_at
        self.position = 0
        self.state: RunState = "running"
        self.operations: dict[str, Operation] = {}
        self.unrecorded: dict[str, Publish | Pivot | Change] = {}  # those that have no row yet
        self.final: Finish | Restart | None = None
        self.stuck: dict[str, Operation] = {}
        self.flight: dict[str, Operation] = {}  # steps, compensations and children that are in flight
        self.unwinding = Unwinding(self)
        self.undoing: list[asyncio.Task[None]] = []  # scopes that are being undone
        self.pivoted = False
        self.body_over = False
        self.restarting = False  # the body has asked for the next generation
        self.finished = False
        self.stop: Fact | None = None  # the cancel or deadline that ended the body
        self.late_stop: Fact | None = None  # ... that came when the body had asked for a restart
        self.note: str | None = None
        self.consumed: Consumed = {}  # of the events that it has waited for, by earlier generations too
        self.changes: dict[str, bool] = {}  # by name, whether the run takes the new branch
        self.foreseen: Foreseen = NOTHING  # what `replay` knows of the history that follows
        self.unstarted: dict[str, Coroutine[Any, Any, Any]] = {}
        self.loop = DeterministicLoop(self._seconds, self)
        self.loop.run = identity.id
        self.loop.muted = replaying
        self.main: asyncio.Task[str] | None = None  # the body
        self.ending: asyncio.Task[None] | None = None  # what follows it, if that takes time
        self._counts: dict[str, int] = {}
        self._told: list[str] = []  # the incidents that the owner knows of
        self._commands: list[Command] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._chance: Chance | None = None

    # --- what the owner calls ---------------------------------------------------------------------------------

    def start(self) -> list[Command]:
        """The first drain. Raises what `apply` raises, and WrongType: the input does not fit the code any more."""
        self.main = self.loop.create_task(body.call(self, self._decoded_input()))
        self.main.add_done_callback(lambda main: body.over(self, main), context=Context())
        return self._drain()

    def apply(self, position: int, fact: Fact) -> list[Command]:
        """One fact, and the drain that it causes.

        Raises:
            Divergence: the code has not done what this fact is about.
            EndlessLoop: the body never waits.
        """
        if fact.kind in RECORDED_ONLY:
            delivery.deliver(self, position, fact)
            return []
        self.position = position
        self.now = max(self.now, fact.at)
        delivery.deliver(self, position, fact)
        return self._drain()

    def check_published(self, applied: int) -> None:
        """In replay, before a fact whose owner had applied facts up to `applied`: each publish made by those
        drains must have its row. Raises Divergence."""
        for command in self.unrecorded.values():
            op = command.op
            if op.drained_at <= applied:
                raise Divergence(
                    f"the code makes {op.describe()} before position {self.position + 1}, "
                    "where the history has no such record",
                    f"the code makes {op.describe()} before that",
                )

    def decide(self, op: Operation, outcome: Outcome, at: Micros, started_at: Micros) -> Fact:
        """The fact that an attempt's outcome is."""
        return verdict(op, outcome, pivoted=self.pivoted, at=at, started_at=started_at, limit=self.limit)

    def outstanding(self) -> list[Command]:
        """After replay: everything that the run waits for and that nobody does at the moment."""
        commands: list[Command] = [*self.unrecorded.values()]
        if self.note is not None:
            commands.append(Note(self.note))
        if self.final is not None:
            late = [PassOn(self.late_stop)] if isinstance(self.final, Restart) and self.late_stop else []
            return [*commands, self.final, *late]
        for op in self.operations.values():
            if not op.in_flight:
                continue
            if op.kind == "timer":
                commands.append(StartTimer(op))
            elif op.kind == "wait":
                commands.append(StartWait(op))
            elif op.kind == "child":
                commands.append(StartChild(op))  # given up or not: only a child that exists can report its end
            elif not op.abandoned:
                commands.append(self.unwinding.command_for(op) if op.kind == "compensation" else RunAttempt(op))
            if op.abandoned and not op.detached:
                commands.append(Abandon(op))
        return commands

    def entering(self) -> Enter:
        """The state that the run is in, with its incidents if it is blocked."""
        return Enter(self.state, delivery.describe_incidents(self) if self.state == "blocked" else None)

    def call_of(self, op: Operation) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The decoded arguments of an attempt. Raises WrongType: the code's types have changed."""
        if isinstance(op.callee, Compensation):
            return self.unwinding.call_of(op)
        call, op.call = op.call, None
        if call is not None:
            return call
        assert op.callee is not None and op.arguments is not None
        return op.callee.arguments.decode(op.arguments)

    def key_of(self, op: Operation) -> str:
        """The idempotency key of the operation's effect."""
        return effect_key(self.identity.uid, self.identity.generation, op.op)

    @property
    def replaying(self) -> bool:
        """Whether what the body does has been done before: its log records are muted."""
        return self.loop.muted

    @replaying.setter
    def replaying(self, value: bool) -> None:
        self.loop.muted = value

    def close(self) -> None:
        """Leave memory: no user code can do anything durable any more, and no warnings follow."""
        if self.loop.is_closed():
            return
        self.loop.close()
        for coroutine in self.unstarted.values():
            coroutine.close()
        self.unstarted.clear()
        self._commands.clear()
        # Without these circles the machine is freed at once, and the garbage collector has less to walk.
        self.unwinding.close()
        self.undoing.clear()
        self.operations.clear()
        self.flight.clear()
        self.main = self.ending = None

    # --- what the verbs and rules call ------------------------------------------------------------------------

    def create(self, name: str, kind: OperationKind, arguments: str | None = None) -> Operation:
        """A new operation with its place in the history. Raises HistoryTooLong."""
        count = self._counts[name] = self._counts.get(name, 0) + 1
        op = Operation(f"{name}#{count}", name, kind)
        op.scope = current_scope.get()
        if kind != "compensation":
            op.site = here()
        op.drained_at = self.position
        if arguments is not None:
            op.arguments = arguments
            op.digest = zlib.crc32(arguments.encode())
        self.operations[op.op] = op
        if len(self.operations) >= WARN_OPERATIONS:
            self._check_length(kind)
        return op

    def emit(self, command: Command) -> None:
        """Ask the owner for something, as a part of this drain."""
        self._commands.append(command)

    def emit_record(self, command: Publish | Pivot | Change) -> None:
        """Ask for a row that the workflow itself makes."""
        self.unrecorded[command.op.op] = command
        self._commands.append(command)

    def end(self, command: Finish | Restart) -> None:
        """This generation is over."""
        if isinstance(command, Restart) or command.state == "completed":
            self._enter("running")  # a scope may have been undone in this very drain
        self.finished = True
        self.final = command
        self._commands.append(command)

    def begin(self, op: Operation, command: Command) -> None:
        """The operation is awaited: from now on the run cannot end before it has settled."""
        op.begun = True
        op.future = self.loop.create_future()
        self.flight[op.op] = op
        self._commands.append(command)

    def abandon(self, op: Operation) -> None:
        """The workflow stops waiting for it."""
        if op.settled or op.abandoned or self.loop.dead:
            return
        op.abandoned = True
        if op.stuck:
            self.unstick(op)
        if self.take_back(op):
            self.settle(op)
            return
        if not op.detached:
            self._commands.append(Abandon(op))

    def take_back(self, op: Operation) -> bool:
        """Take back what this very drain has asked for: it has never started. False: an earlier drain has asked."""
        for index, command in enumerate(self._commands):
            if isinstance(command, RunAttempt | StartChild | StartWait) and command.op is op:
                del self._commands[index]
                return True
        return False

    def settle(self, op: Operation) -> None:
        """Nothing more will happen to it."""
        if op.stuck:
            self.unstick(op)
        op.settled = True
        op.call = None
        self.flight.pop(op.op, None)
        self._wake()

    def stick(self, op: Operation) -> None:
        """Only a person can help it."""
        op.begun = op.stuck = True
        self.stuck[op.op] = op
        self.flight.pop(op.op, None)
        self._wake()

    def unstick(self, op: Operation) -> None:
        op.stuck = False
        del self.stuck[op.op]
        self.flight[op.op] = op

    async def settled(self, holds: Callable[[Operation], bool]) -> None:
        """Wait until none of these operations is in flight."""
        while any(holds(op) for op in self.flight.values()):
            await self.something()

    async def something(self) -> None:
        """Wait until any operation has settled or is stuck."""
        waiter = self.loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def undo(self, scope: Scope) -> asyncio.Task[None]:
        """Undo what was done inside the scope, once all of it has settled."""
        undoing = self.loop.create_task(self._undo(scope))
        self.undoing.append(undoing)
        return undoing

    def leaving(self, kind: type[BaseException]) -> bool:
        """Whether this error only means that the machine leaves memory."""
        return self.loop.dead or issubclass(kind, MachineClosed | KeyboardInterrupt)

    @property
    def random(self) -> random.Random:
        """A generator seeded by the run's identity."""
        if self._chance is None:
            self._chance = Chance(self.identity)
        return self._chance.at(self.position)

    def start_timer(self, due: float, fire: Callable[[], None], kind: str) -> TimerHandle:
        """What the loop asks for."""
        return timing.start(self, due, fire, kind)

    # --- inside -----------------------------------------------------------------------------------------------

    def _drain(self) -> list[Command]:
        self.loop.drain()
        if not self.finished:
            if self.ending is not None and self.ending.done():
                raise WrongPlace(f"a task of run '{self.identity.id}' has cancelled the ending of the run")
            self._review_state()
        commands, self._commands = self._commands, []
        return commands

    def _review_state(self) -> None:
        if self.stuck and not self.flight:
            self._enter("blocked")
        else:
            self._enter("compensating" if self.unwinding.active else "running")

    def _enter(self, state: RunState) -> None:
        incidents = list(self.stuck) if state == "blocked" else []
        if state != self.state or incidents != self._told:
            self.state = state
            self._told = incidents
            self._commands.append(self.entering())

    async def _undo(self, scope: Scope) -> None:
        await self.settled(scope.holds)
        await self.unwinding.run(scope.holds)

    def _decoded_input(self) -> tuple[Any, ...]:
        codec = self.workflow.input
        if codec is None:
            return ()
        text = self.input if self.input is not None else "null"
        return (codec.decode(text, f"the input of run '{self.identity.id}'"),)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _seconds(self) -> float:
        return self.now / SECOND

    def _check_length(self, kind: OperationKind) -> None:
        count = len(self.operations)
        if count == WARN_OPERATIONS:
            body.warn_long(self, count)
        elif count > MAX_OPERATIONS and kind not in ("compensation", "run"):
            raise HistoryTooLong(
                f"run '{self.identity.id}' has {count - 1:,} operations, the most that one generation may have; "
                "end each round with flow.restart(input), which begins a fresh history"
            )
