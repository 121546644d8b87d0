"""The owner's side of one run in memory: gives facts their positions, has them recorded, and carries out commands.

    outcome, timer, inbox ──record──> committer ──durable──> machine.apply ──commands──> one unit, attempts, timers

Invariants: a fact is applied only when it is durable; facts are applied in the order of their positions; all that
one drain asks for is one unit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from motet.config import Settings
from motet.errors import DeadlineExceeded, Divergence, MotetError, RunCancelled, WrongType
from motet.model.clock import Clock, Micros, as_datetime
from motet.model.failure import encode_fault
from motet.model.history import Fact, Recorded
from motet.model.identity import new_uid
from motet.model.run import Parked, Run, RunState
from motet.orchestration.commands import Command, Enter, Finish, RunAttempt
from motet.orchestration.machine import Machine
from motet.orchestration.machines import machine_for
from motet.orchestration.registry import Registry
from motet.orchestration.replaying import replay
from motet.runtime import carrying
from motet.runtime.announcing import run_became
from motet.runtime.attempts import Attempts
from motet.runtime.awaited import Awaited
from motet.runtime.committer import Committer
from motet.runtime.hooks import Hooks
from motet.runtime.launching import Launching
from motet.runtime.ordering import Order
from motet.runtime.suspects import OneByOne
from motet.runtime.timers import Timer, Timers
from motet.store.mutations import EnterState, Mutation, PutInbox, ReleaseRun, ShowProgress, TakeInbox
from motet.store.protocol import Receipt

if TYPE_CHECKING:
    from motet.runtime.session import Session

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
    session: Session

    def left(self, driver: Driver, ended: Run | None) -> None:
        """The driver is done with its run: it has ended, or was released."""
        ...

    def blocked(self, run: Run) -> None:
        """The run needs a person; it stays in memory for a while."""
        ...

    def make_room(self, run: Run) -> bool:
        """Whether a run that is about to be started can be driven here at once; whoever asks tells `adopt`."""
        ...

    def adopt(self, run: Run, receipt: Receipt) -> None:
        """Drive a run that was just started in this process, if the receipt says that it has got its owner."""
        ...


class Driver:
    """One run, as long as it is in this worker's memory."""

    __slots__ = (
        "__weakref__", "awaited", "begun", "holding", "house", "later", "launching", "leaving", "machine",
        "messages", "next_position", "order", "run", "shown", "still_since", "taken", "timers", "unwritten",
    )  # fmt: skip

    def __init__(self, house: House, run: Run) -> None:
        self.house = house
        self.run = run
        self.next_position = 1
        self.timers: dict[str, Timer] = {}
        self.unwritten = 0  # units on their way to the disk
        self.still_since = house.clock.monotonic()
        self.shown = True  # what the run does now is in its row, or need not be
        self.leaving = False
        self.begun = False  # its body is in memory
        self.holding = False  # a stop is on its way to the disk; nothing begins before it is applied
        self.taken: set[str] = set()  # inbox rows whose recording is on its way
        self.later: dict[str, PutInbox] = {}  # those that came when this generation was over
        self.messages: Sequence[PutInbox] = ()  # what waited for the run when it was claimed
        self.machine = self._machine()
        self.launching = Launching(self)
        self.awaited: Awaited | None = None  # until events come for it
        self.order: Order | None = None  # until it has a transaction

    # --- coming into memory -----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Drive a run that has no history yet."""
        self.begun = True
        self._guarded(self._begin)

    def resume(self, history: Sequence[Recorded], messages: Sequence[PutInbox]) -> None:
        """Replay the history, hear what came in meanwhile, then go on where it stands.

        A cancel or a deadline that waits already is applied before anything is started.
        """
        self.begun = True
        self.messages = messages
        stop = next((message for message in messages if message.kind == "cancel"), None)
        due = self.run.deadline_at
        late = due is not None and due <= self.house.clock.now()
        self.holding = stop is not None or late
        if self.holding and not history and self.run.epoch == 1 and self.run.generation == 1:
            self._end_unbegun(cancelled=stop is not None)
            return
        self._guarded(lambda: self._resume(history))
        for message in messages:
            self.hear(message)

    def _begin(self) -> None:
        self._watch_deadline()
        self.execute(self.machine.start())

    def _resume(self, history: Sequence[Recorded]) -> None:
        machine = self.machine
        machine.replaying = bool(history)
        for recorded, _ in replay(machine, history, self.run.current):
            if recorded is not None:
                self.next_position = recorded.position + 1
        machine.replaying = False
        self._watch_deadline()
        if self.holding and machine.stop is None and not machine.body_over:
            # The cancel is heard next, or the deadline's timer rings at once. The history asks for what was published
            # before whatever is recorded now.
            self.execute([*machine.unrecorded.values()], resumed=True)
            return
        self.holding = False
        self._go_on()

    def _go_on(self) -> None:
        """After replay: everything that is to be done and that nobody does at the moment."""
        machine = self.machine
        commands = machine.outstanding()
        entering = machine.entering()
        if Enter(self.run.state, self.run.error) != entering:
            commands.insert(0, entering)
        if self.launching.suspect:
            self.show()  # the body did not kill the process
        self.execute(commands, resumed=True)

    def _end_unbegun(self, *, cancelled: bool) -> None:
        """Nothing of the run has begun, so there is nothing to undo."""
        id = self.run.id
        error: MotetError = RunCancelled(f"run '{id}' was cancelled before it began")
        if not cancelled:
            due = as_datetime(self.run.deadline_at or 0)
            error = DeadlineExceeded(f"run '{id}' had not begun by its deadline, {due:%F %T} UTC")
        self.execute([Finish("cancelled" if cancelled else "failed", error=encode_fault(error, trace=False))])

    def _machine(self) -> Machine:
        return machine_for(self.run, self.house.registry, self.house.settings.payload_limit_bytes)

    def _watch_deadline(self) -> None:
        if self.run.deadline_at is not None and self.machine.stop is None and not self.machine.body_over:
            self.timers["deadline"] = self.house.timers.at(self.run.deadline_at, self._deadline)

    # --- facts ------------------------------------------------------------------------------------------------

    def record(
        self, fact: Fact, *also: Mutation, told: Callable[[], None] | None = None,
        applied: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        """Give the fact its position, have it written, then apply it.

        Args:
            told: called when it is written.
            applied: called when it is applied, and the drain that it has caused carried out.
        """
        machine, run, position = self.machine, self.run, self.next_position
        self.next_position += 1
        op = machine.operations.get(fact.op)
        row = Recorded(run.uid, run.generation, position, machine.position, *fact, op.site if op is not None else None)

        def durable(_: Receipt) -> None:
            self.unwritten -= 1
            self.launching.reported.discard(fact.op)
            if told is not None:
                told()
            if self.order is None:
                self.apply(machine, position, fact, applied)
            else:
                self.order.put(position, lambda: self.apply(machine, position, fact, applied))

        self.submit([row, *also], durable)

    def apply(
        self, machine: Machine, position: int, fact: Fact, applied: Callable[[], None] | None = None
    ) -> None:  # fmt: skip
        """The fact is durable, and it is its turn."""
        if self.machine is not machine or self.leaving:
            return
        try:
            commands = machine.apply(position, fact)
            if self.holding:
                self.holding = False
                self._go_on()
            else:
                self.execute(commands)
            if applied is not None:
                applied()
        except Exception as error:
            self._cannot_advance(error)

    def hear(self, message: PutInbox) -> None:
        """Record what others have to tell."""
        if self.leaving or message.key in self.taken:
            return
        if self.machine.finished:  # what comes after a restart is for the next generation
            self.later[message.key] = message
            return
        self.taken.add(message.key)
        if message.kind == "event":
            self.awaited = self.awaited or Awaited(self)
            self.awaited.hear(message)
            return
        take = TakeInbox(message.uid, message.key)
        fact = carrying.fact_of(self.machine, message, self.house.clock.now())
        if fact is None:
            self.write(take)
        else:
            self.record(fact, take)

    def _deadline(self) -> None:
        self.timers.pop("deadline", None)
        if not (self.leaving or self.machine.finished):
            self.record(Fact("", "run", "deadline", self.house.clock.now(), due=self.run.deadline_at))

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
                self.launching.attempt(command.op)
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

            self.submit(drain.unit, durable)
        for action in drain.submitted:
            action()

    # --- leaving memory ---------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether the run only waits for time or for others."""
        return self.begun and not (self.launching.flying or self.launching.turns or self.unwritten or self.leaving)

    def next_due(self) -> Micros | None:
        """When something in memory is due next."""
        return min((timer.due for timer in self.timers.values() if timer.action is not None), default=None)

    def release(self, wake_at: Micros | None) -> None:
        """Write down what the run waits for, and forget it."""
        self.leaving = True
        self.launching.accused = None  # who leaves in good order has not killed the process
        state: RunState = "waiting" if self.machine.state == "running" else self.machine.state
        row = ReleaseRun(self.run.uid, state, wake_at, carrying.current_of(self))
        self.submit([row], lambda _: self._leave(None))

    def show(self) -> None:
        """Write what the run is doing now into its row, for its status."""
        self.shown = True
        self.write(ShowProgress(self.run.uid, carrying.current_of(self), None))

    def park(self, reason: Parked, error: BaseException) -> None:
        """The run cannot go on with this code: an incident, shown and kept."""
        if self.leaving:
            return
        self.leaving = True
        run = self.run
        log.error("run '%s' is blocked (%s): %s", run.id, reason, error)
        incident = {"operation": "", "kind": reason, "reason": f"{type(error).__name__}: {error}"}
        record = msgspec.json.encode([incident]).decode()
        now = self.house.clock.now()
        unit: list[Mutation] = [
            EnterState(run.uid, "blocked", record, reason, self.house.registry.fingerprint),
            ReleaseRun(run.uid, "blocked", None, None),
            run_became(run, "blocked", record, now, f"{run.uid}.{run.generation}.blocked.{new_uid(now)}"),
            # A person's "try again" has been tried; what else waits in the inbox waits for the right code.
            *(TakeInbox(run.uid, message.key) for message in self.messages if message.kind == "retry"),
        ]
        self.submit(unit, lambda _: self._leave(run._replace(state="blocked", error=record)))

    def drop(self) -> None:
        """Forget the run without a word: another worker owns it."""
        self.leaving = True
        self._close()

    def end(self, run: Run) -> None:
        """The run's end is durable."""
        self.house.hooks.tell_run_ended(run.id, run.state)
        self._leave(run)

    def begin_generation(
        self, input: str | None, generation: int, at: Micros, consumed: str | None, version: int
    ) -> None:
        """The restart is durable: a fresh machine for the same run."""
        self._close()
        self.run = self.run._replace(
            generation=generation, input=input, started_at=at, state="running", consumed=consumed, version=version
        )
        self.next_position = 1
        self.launching = Launching(self)
        self.awaited = None
        self.order = None
        self.timers = {}
        self.machine = self._machine()
        later, self.later = self.later, {}
        self.begin()
        for message in later.values():  # one that restarts all the time would never be found in a better moment
            self.hear(message)

    def _leave(self, ended: Run | None) -> None:
        self.leaving = True
        self._close()
        self.house.left(self, ended)

    def _close(self) -> None:
        if self.machine.loop.is_closed():
            return  # its end and its release were both on their way
        self.launching.close()
        self.awaited = None
        for timer in self.timers.values():
            timer.cancel()
        self.machine.close()

    # --- inside -----------------------------------------------------------------------------------------------

    def write(self, *unit: Mutation) -> None:
        """What nothing follows from."""
        self.submit([*unit], self._written)

    def submit(self, unit: list[Mutation], durable: Callable[[Receipt], None]) -> None:
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
