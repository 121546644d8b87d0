"""The owner's side of one run in memory: gives facts their positions, has them recorded, and carries out commands.

    outcome, timer, inbox ──record──> committer ──durable──> machine.apply ──commands──> one unit, attempts, timers

Invariants: a fact is applied only when it is durable; facts are applied in the order of their positions; all that
one drain asks for is one unit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import msgspec

from motet.config import Settings
from motet.errors import Divergence, MotetError, WrongType
from motet.model.clock import Clock, Micros
from motet.model.history import RECORDED_ONLY, Fact, Recorded
from motet.model.run import Parked, Run, RunState
from motet.orchestration.attempt import Attempt
from motet.orchestration.commands import Command, RunAttempt
from motet.orchestration.machine import Identity, Machine
from motet.orchestration.operation import Operation
from motet.orchestration.outcome import Outcome
from motet.orchestration.registry import Registry
from motet.runtime import carrying
from motet.runtime.attempts import Attempts, Running
from motet.runtime.committer import Committer
from motet.runtime.hooks import Hooks
from motet.runtime.suspects import OneByOne, is_suspect
from motet.runtime.timers import Timer, Timers
from motet.store.mutations import EnterState, Mutation, PutInbox, ReleaseRun, ShowProgress, TakeInbox
from motet.store.protocol import Receipt

log = logging.getLogger("motet.worker")


class House(Protocol):
    """What a driver has from its worker."""

    id: int
    settings: Settings
    clock: Clock
    hooks: Hooks
    registry: Registry
    committer: Committer
    attempts: Attempts
    timers: Timers
    draining: bool
    suspects: OneByOne

    def left(self, driver: Driver, ended: Run | None) -> None:
        """The driver is done with its run: it has ended, or was released."""
        ...

    def adopt(self, run: Run) -> None:
        """Drive a run that was just started in this process."""
        ...


class Driver:
    """One run, as long as it is in this worker's memory."""

    def __init__(self, house: House, run: Run) -> None:
        self.house = house
        self.run = run
        self.next_position = 1
        self.flying: dict[str, Running] = {}
        self.timers: dict[str, Timer] = {}
        self.unwritten = 0  # units on their way to the disk
        self.still_since = house.clock.monotonic()
        self.shown = True  # what the run does now is in its row, or need not be
        self.leaving = False
        self.suspect = is_suspect(run)
        self.has_turn = False
        self.taken: set[str] = set()  # inbox rows whose recording is on its way
        self.messages: Sequence[PutInbox] = ()  # what waited for the run when it was claimed
        self.machine = self._machine()

    # --- coming into memory -----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Drive a run that has no history yet."""
        self._guarded(self._begin)

    def resume(self, history: Sequence[Recorded]) -> None:
        """Replay the history, then go on where it stands."""
        self._guarded(lambda: self._resume(history))

    def _begin(self) -> None:
        self._watch_deadline()
        self.execute(self.machine.start())

    def _resume(self, history: Sequence[Recorded]) -> None:
        machine = self.machine
        machine.replaying = bool(history)
        machine.start()
        for recorded in history:
            if recorded.kind not in RECORDED_ONLY:
                machine.check_published(recorded.applied)
            machine.apply(recorded.position, recorded.fact)
            self.next_position = recorded.position + 1
        machine.replaying = False
        commands = machine.outstanding()
        if self.run.state != machine.state and not machine.finished:
            commands.insert(0, machine.entering())
        self._watch_deadline()
        if self.suspect:
            self.show()  # the body did not kill the process
        self.execute(commands, resumed=True)

    def _machine(self) -> Machine:
        run = self.run
        workflow = self.house.registry.workflow(run.workflow)
        identity = Identity(run.uid, run.generation, run.id, run.conversation)
        return Machine(
            workflow,
            self.house.registry,
            identity,
            run.input,
            run.started_at,
            self.house.settings.payload_limit_bytes,
        )

    def _watch_deadline(self) -> None:
        if self.run.deadline_at is not None and self.machine.stop is None and not self.machine.finished:
            self.timers["deadline"] = self.house.timers.at(self.run.deadline_at, self._deadline)

    # --- facts ------------------------------------------------------------------------------------------------

    def record(self, fact: Fact, *also: Mutation, told: Callable[[], None] | None = None) -> None:
        """Give the fact its position, have it written, then apply it."""
        machine = self.machine
        position = self.next_position
        self.next_position += 1
        run = self.run
        row = Recorded(run.uid, run.generation, position, machine.position, *fact)

        def durable(_: Receipt) -> None:
            self.unwritten -= 1
            if told is not None:
                told()
            if self.machine is machine and not self.leaving:
                try:
                    self.execute(machine.apply(position, fact))
                except Exception as error:
                    self._cannot_advance(error)

        self._submit([row, *also], durable)

    def hear(self, message: PutInbox) -> None:
        """Record what others have to tell."""
        if self.leaving or message.key in self.taken:
            return
        self.taken.add(message.key)
        take = TakeInbox(message.uid, message.key)
        fact = carrying.fact_of(self.machine, message, self.house.clock.now())
        if fact is None:
            self._submit([take], self._written)
        else:
            self.record(fact, take)

    def _deadline(self) -> None:
        self.timers.pop("deadline", None)
        if not self.leaving:
            self.record(Fact("", "run", "deadline", self.house.clock.now()))

    # --- commands ---------------------------------------------------------------------------------------------

    def execute(self, commands: list[Command], resumed: bool = False) -> None:
        """Carry out what one drain asks for: its mutations as one unit."""
        if not commands:
            return
        self.still_since = self.house.clock.monotonic()
        self.shown = False
        drain: carrying.Drain | None = None
        for command in commands:
            if type(command) is RunAttempt:
                self.attempt(command.op)
                continue
            if drain is None:
                drain = carrying.Drain(resumed)
            carrying.carry_out(self, command, drain)
        if drain is not None:
            self._submit_drain(drain)

    def _submit_drain(self, drain: carrying.Drain) -> None:
        if drain.unit:

            def durable(receipt: Receipt) -> None:
                self.unwritten -= 1
                for action in drain.durable:
                    action(receipt)

            self._submit(drain.unit, durable)
        for action in drain.submitted:
            action()

    def attempt(self, op: Operation) -> None:
        """Start the next attempt when it is due; a worker that is about to stop starts none."""
        if op.due and op.due > self.house.clock.now():
            self.timers[op.op] = self.house.timers.at(op.due, lambda: self._start(op))
        elif self.suspect:
            self._start(op)
        else:
            self._launch(op)

    def _start(self, op: Operation) -> None:
        self.timers.pop(op.op, None)
        if self.suspect:
            self.house.suspects.ask(lambda: self._start_suspect(op))
        else:
            self._launch(op)

    def _start_suspect(self, op: Operation) -> None:
        """Record that it starts, then start it: if the process dies now, it is known who did it."""
        if self.leaving:
            self.house.suspects.leave()
            return
        self.has_turn = True
        row = ShowProgress(self.run.uid, carrying.current_of(self, suspect=op.op), None)

        def durable(_: Receipt) -> None:
            self.unwritten -= 1
            self._launch(op)

        self._submit([row], durable)

    def _launch(self, op: Operation) -> None:
        house = self.house
        if house.draining or self.leaving:
            return
        machine = self.machine
        assert op.callee is not None
        try:
            call = machine.call_of(op)
        except WrongType as error:
            self.park("divergence", error)
            return
        run = self.run
        attempt = Attempt(machine.key_of(op), op.attempts + 1, run.epoch, run.id, op.name, op.op)

        def report(outcome: Outcome, started_at: Micros) -> None:
            del self.flying[op.op]
            self._outcome(op, outcome, started_at)

        self.flying[op.op] = house.attempts.start(op.callee, call, attempt, report)

    def _outcome(self, op: Operation, outcome: Outcome, started_at: Micros) -> None:
        house = self.house
        fact = self.machine.decide(op, outcome, house.clock.now(), started_at)
        told: Callable[[], None] | None = None
        if fact.kind == "completed" and house.hooks.wants_steps:

            key = self.machine.key_of(op)
            told = partial(house.hooks.tell_step_recorded, key, op.name, fact.attempt)

        if self.has_turn:
            self.record(fact, ShowProgress(self.run.uid, carrying.current_of(self), None), told=told)
            self._end_turn()
        else:
            self.record(fact, told=told)

    def _end_turn(self) -> None:
        if self.has_turn:
            self.has_turn = False
            self.house.suspects.leave()

    def settle_abandoned(self, op: Operation) -> None:
        """Nobody waits for it any more: an attempt in flight still reports; without one it is settled now."""
        if op.op in self.flying:
            return
        timer = self.timers.pop(op.op, None)
        if timer is not None:
            timer.cancel()
        now = self.house.clock.now()
        self.record(self.machine.decide(op, carrying.cut_off(op), now, now))

    # --- leaving memory ---------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether the run only waits for time or for others."""
        return not (self.flying or self.unwritten or self.leaving)

    def next_due(self) -> Micros | None:
        """When something in memory is due next."""
        return min((timer.due for timer in self.timers.values() if timer.action is not None), default=None)

    def release(self, wake_at: Micros | None) -> None:
        """Write down what the run waits for, and forget it."""
        self.leaving = True
        state: RunState = "waiting" if self.machine.state == "running" else self.machine.state
        row = ReleaseRun(self.run.uid, state, wake_at, carrying.current_of(self))
        self._submit([row], lambda _: self._leave(None))

    def show(self) -> None:
        """Write what the run is doing now into its row, for its status."""
        self.shown = True
        self._submit([ShowProgress(self.run.uid, carrying.current_of(self), None)], self._written)

    def park(self, reason: Parked, error: BaseException) -> None:
        """The run cannot go on with this code: an incident, shown and kept."""
        if self.leaving:
            return
        self.leaving = True
        run = self.run
        log.error("run '%s' is blocked (%s): %s", run.id, reason, error)
        incident = {"operation": "", "kind": reason, "reason": f"{type(error).__name__}: {error}"}
        record = msgspec.json.encode([incident]).decode()
        unit: list[Mutation] = [
            EnterState(run.uid, "blocked", record, reason, self.house.registry.fingerprint),
            ReleaseRun(run.uid, "blocked", None, None),
            # A person's "try again" has been tried; what else waits in the inbox waits for the right code.
            *(TakeInbox(run.uid, message.key) for message in self.messages if message.kind == "retry"),
        ]
        self._submit(unit, lambda _: self._leave(run._replace(state="blocked", error=record)))

    def drop(self) -> None:
        """Forget the run without a word: another worker owns it."""
        self.leaving = True
        self._close()

    def end(self, run: Run) -> None:
        """The run's end is durable."""
        self.house.hooks.tell_run_ended(run.id, run.state)
        self._leave(run)

    def begin_generation(self, input: str | None, generation: int, at: Micros) -> None:
        """The restart is durable: a fresh machine for the same run."""
        self._close()
        self.run = self.run._replace(generation=generation, input=input, started_at=at, state="running")
        self.next_position = 1
        self.flying = {}
        self.timers = {}
        self.machine = self._machine()
        self.begin()

    def _leave(self, ended: Run | None) -> None:
        self.leaving = True
        self._close()
        self.house.left(self, ended)

    def _close(self) -> None:
        for running in list(self.flying.values()):
            running.drop()
        for timer in self.timers.values():
            timer.cancel()
        self.machine.close()
        self._end_turn()

    # --- inside -----------------------------------------------------------------------------------------------

    def _submit(self, unit: list[Mutation], durable: Callable[[Receipt], None]) -> None:
        self.unwritten += 1
        self.house.committer.submit(unit, durable, self._refused)

    def _refused(self, error: Exception) -> None:
        self.park("corrupt", error)

    def _written(self, _: Receipt) -> None:
        self.unwritten -= 1

    def _guarded(self, work: Callable[[], None]) -> None:
        """Whatever goes wrong in advancing a run parks that run and touches no other."""
        try:
            work()
        except Exception as error:
            self._cannot_advance(error)

    def _cannot_advance(self, error: Exception) -> None:
        if isinstance(error, Divergence | WrongType):
            self.park("divergence", error)
        elif isinstance(error, MotetError):
            self.park("incident", error)
        else:
            log.error("run '%s' cannot be advanced", self.run.id, exc_info=error)
            self.park("corrupt", error)
