"""What a workflow can do durably. Everything else in its body is plain, deterministic Python."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NoReturn, ParamSpec, TypeVar, overload

from motet.errors import UnknownWorkflow, WrongPlace, WrongType
from motet.model.clock import Duration, as_datetime, seconds
from motet.model.codec import check_text, encode
from motet.model.event import Event
from motet.model.history import OperationKind
from motet.model.identity import child_uid
from motet.model.run import Version
from motet.orchestration import awaiting, changing
from motet.orchestration.commands import Note, Pivot, Publish, RestartSignal, RunAttempt, StartChild
from motet.orchestration.definitions import Step, Workflow
from motet.orchestration.operation import Operation
from motet.orchestration.scope import Scope
from motet.orchestration.surroundings import running_loop
from motet.orchestration.transactions import Transaction

if TYPE_CHECKING:
    from motet.orchestration.machine import Machine

P = ParamSpec("P")
R = TypeVar("R")
D = TypeVar("D")
E = TypeVar("E")
I = TypeVar("I")  # noqa: E741 - the input's type; one letter, as type variables are


class Flow:
    """The first parameter of every workflow: its durable verbs. Belongs to one run, only while its body runs."""

    __slots__ = ("_machine",)

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @property
    def id(self) -> str:
        """The run's id, as given to `start`."""
        return self._machine.identity.id

    @property
    def conversation(self) -> str:
        """The conversation that the run belongs to."""
        return self._machine.identity.conversation

    def step(self, step: Step[P, R, Any], /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Run a step: at least once, its result recorded exactly once.

        Its place in the history is taken, and its arguments recorded, when this is called; it begins when it is
        awaited. `step.options(...)` changes the policy for one call.

        Returns:
            A coroutine of the step's result, as recorded.

        Raises (when awaited):
            the errors that the step declares in `raises`, as themselves;
            StepFailed: any other error, after the last attempt; whether the effect happened is unknown.

        Raises (at once):
            BadValue: an argument cannot be recorded, or does not have its parameter's type.
            TypeError: the arguments do not fit the step's parameters.
        """
        machine = self._live()
        if machine.loop.dead:
            return _never()
        _check_kind(step, Step, "flow.step takes a step", "@app.step")
        if step.transactional:
            raise WrongType(f"{step.name} is a transaction; write: await flow.transaction({step.__name__}, ...)")
        return _attempts_of(machine, step, "step", args, kwargs)

    def transaction(
        self, transaction: Transaction[Any, P, R, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]:
        """Run a step that writes to the store's own database: effect and record are committed together, exactly once.

        Otherwise as `flow.step`; the function's first parameter, the connection, is given by the worker.

        Returns:
            A coroutine of the function's result, as recorded.

        Raises (when awaited):
            the errors that the transaction declares in `raises`, as themselves;
            StepFailed: any other error, after the last attempt; it was rolled back, so nothing of it has happened.

        Raises (at once):
            BadValue: an argument cannot be recorded, or does not have its parameter's type.
            TypeError: the arguments do not fit the function's parameters.
        """
        machine = self._live()
        if machine.loop.dead:
            return _never()
        _check_kind(transaction, Transaction, "flow.transaction takes a transaction", "@app.transaction")
        return _attempts_of(machine, transaction, "transaction", args, kwargs)

    def publish(self, event: object, data: Any = None, *, key: str | None = None, to: str | None = None) -> None:
        """Publish an event: an instance of a declared class, or a name and its data.

        It is committed with everything else that the body does until its next await, and never lost.
        Its key is `key`, else the declared field's value, else the run's id.

        Args:
            to: the id of the only run that may hear of it.

        Raises:
            WrongType: the class is not declared as an event.
            BadValue: the data cannot be recorded.
        """
        machine = self._live()
        if machine.loop.dead:
            return
        announced = machine.registry.events.announce(event, data, key, machine.limit, to)
        op = machine.create(announced.type, "publish", announced.data)
        machine.emit_record(Publish(op, announced))

    @overload
    def child(
        self, workflow: Workflow[I, R], /, input: I = ..., *, id: str | None = ..., detached: Literal[False] = ...
    ) -> Coroutine[Any, Any, R]: ...

    @overload
    def child(
        self, workflow: Workflow[I, R], /, input: I = ..., *, id: str | None = ..., detached: Literal[True]
    ) -> Coroutine[Any, Any, str]: ...

    def child(
        self, workflow: Workflow[Any, Any], /, input: Any = None, *, id: str | None = None, detached: bool = False
    ) -> Coroutine[Any, Any, Any]:
        """Start a run of its own.

        Args:
            workflow: registered in the same app.
            input: its input.
            id: its id; by default this run's id, the operation's name, and a few letters that tell this run (and
                each of its generations) from others that have had the same id.
            detached: do not wait for its end; it is then not cancelled with this run either.

        Returns:
            A coroutine of the child's result; with `detached`, of its id, once it is durably started.

        Raises (when awaited):
            the errors that the child's workflow declares, as themselves;
            ChildFailed: it ended without a result, or its id belongs to another run.
        """
        machine = self._live()
        if machine.loop.dead:
            return _never()
        _check_kind(workflow, Workflow, "flow.child takes a workflow", "@app.workflow")
        if machine.registry.versions.get(Version(workflow.name, workflow.version)) is not workflow:
            raise UnknownWorkflow(f"workflow {workflow.name} is not registered in this app; include its module")
        arguments = None
        if workflow.input is not None:
            arguments = encode(input, workflow.input_words, machine.limit)
            workflow.input.decode(arguments, workflow.input_words)
        elif input is not None:
            raise WrongType(f"workflow {workflow.name} takes no input; start it without one")
        if id is not None:
            check_text(id, "a run's id")
        op = machine.create(workflow.operation_name, "child", arguments)
        op.workflow = workflow
        who = machine.identity
        op.child_id = id or f"{who.id}/{op.op}~{child_uid(who.uid, who.generation, op.op, 0)[-6:]}"
        op.detached = detached
        coroutine = _result_of(machine, op, StartChild(op))
        machine.unstarted[op.op] = coroutine
        return coroutine

    @overload
    def wait(
        self, event: type[D], /, *, key: str | None = ..., timeout: Duration | None = ...
    ) -> Coroutine[Any, Any, Event[D]]: ...

    @overload
    def wait(
        self, event: type[D], other: type[E], /, *, key: str | None = ..., timeout: Duration | None = ...
    ) -> Coroutine[Any, Any, Event[D | E]]: ...

    @overload
    def wait(
        self, *events: type | str, key: str | None = ..., timeout: Duration | None = ...
    ) -> Coroutine[Any, Any, Event[Any]]: ...

    def wait(
        self, *events: type | str, key: str | None = None, timeout: Duration | None = None
    ) -> Coroutine[Any, Any, Event[Any]]:
        """Wait durably for an event, for a minute or a year, through any crash.

        It may have come already: from the moment at which this run was started, each event that fits is consumed once
        by this run, the earliest first. A wait that is given up consumes nothing.

        Args:
            events: what to wait for: declared classes or names; of several, the first that comes.
            key: what the event is about; by default this run's id, which finds what was published `to` this run too.
            timeout: for how long, as timedelta or seconds.

        Returns:
            A coroutine of the event. Of several declared classes, `match event.data` tells which it is.

        Raises (when awaited):
            TimeoutError: none has come in time.

        Raises (at once):
            WrongType: a class is not declared as an event; a pattern instead of a name.
        """
        machine = self._live()
        if machine.loop.dead:
            return _never()
        types = _types(machine, events)
        about = machine.identity.id if key is None else check_text(key, "the key to wait for")
        op = awaiting.create(machine, types, about)
        coroutine = _event_of(machine, op, None if timeout is None else seconds(timeout))
        machine.unstarted[op.op] = coroutine
        return coroutine

    def sleep(self, duration: Duration) -> Coroutine[Any, Any, None]:
        """Wait durably: for a second or a year, through any crash. The same as `asyncio.sleep` in a body."""
        self._live()
        return asyncio.sleep(seconds(duration))  # tidy: in a body this is a durable timer

    def now(self) -> datetime:
        """The time in UTC at which the last thing that this run heard of was recorded; the same in replay."""
        return as_datetime(self._live().now)

    def random(self) -> float:
        """A number from 0 up to 1, drawn for this run; the same in replay."""
        return self._live().random.random()

    def uuid(self) -> uuid.UUID:
        """A random UUID (version 4, RFC 9562), drawn for this run; the same in replay."""
        return uuid.UUID(int=self._live().random.getrandbits(128), version=4)

    def note(self, text: str) -> None:
        """Show this progress (up to 512 characters) in the run's status; the last one stands."""
        machine = self._live()
        if machine.loop.dead:
            return
        machine.note = check_text(text, "a note")
        machine.emit(Note(text))

    def pivot(self) -> None:
        """The saga's point of no return: what was done until here is not undone any more, from here only
        forward. A step that fails for good after it, or an error that ends the body, is an incident."""
        machine = self._live()
        if machine.pivoted or machine.loop.dead:
            return
        machine.pivoted = True
        machine.unwinding.drop()
        op = machine.create("pivot", "pivot")
        machine.emit_record(Pivot(op))

    def changed(self, name: str) -> bool:
        """Whether this run takes a branch that only new runs take:

            if flow.changed("fraud-check"):
                await flow.step(check_fraud, purchase)

        True for a run (or a generation of one) that comes here for the first time, which is recorded; False for one
        that had been here before the code was changed, which goes on as it began. Within a generation the answer to
        one name stays the same. Once no run is left that began before it, take the call out: what was recorded of it
        is ignored.

        Args:
            name: of this change, used for no other.

        Raises:
            BadValue: the name is no text that a database can hold.
        """
        machine = self._live()
        check_text(name, "the name of a change")
        return True if machine.loop.dead else changing.asked(machine, name)

    def scope(self) -> Scope:
        """`async with flow.scope():` undoes what was done inside it when an error leaves it."""
        return Scope(self._live())

    def restart(self, input: Any = None) -> NoReturn:
        """End this history and begin the next generation of the same run with another input ("continue as
        new"), for runs that go on for long. What was done until here is not undone by the next generation.

        Raises:
            BadValue: the input cannot be recorded.
        """
        machine = self._live()
        workflow = machine.workflow
        if asyncio.current_task() is not machine.main and not machine.loop.dead:
            raise WrongPlace("flow.restart ends the whole body: call it in the body itself, not in one of its tasks")
        if workflow.input is None:
            if input is not None:
                raise WrongType(f"workflow {workflow.name} takes no input; call flow.restart()")
            raise RestartSignal(None)
        text = encode(input, workflow.input_words, machine.limit)
        workflow.input.decode(text, workflow.input_words)
        raise RestartSignal(text)

    def _live(self) -> Machine:
        machine = self._machine
        if machine.loop.dead:
            return machine  # leaving memory: verbs do nothing, without an error that a loop could swallow for ever
        if running_loop() is not machine.loop:
            raise WrongPlace(
                f"flow works only in the body of its own run, '{machine.identity.id}'; "
                "a step gets what it needs as arguments and tells what it has done by its result"
            )
        return machine


def _check_kind(given: object, kind: type, takes: str, decorator: str) -> None:
    if not isinstance(given, kind):
        raise WrongType(f"{takes}, and {given!r} is none; decorate the function with {decorator}")


def _attempts_of(
    machine: Machine, step: Step[Any, Any, Any], kind: OperationKind, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Coroutine[Any, Any, Any]:
    arguments = step.arguments.encode(args, kwargs, machine.limit)
    call = step.arguments.decode(arguments)
    op = machine.create(step.operation_name, kind, arguments)
    op.callee = step
    op.call = call
    coroutine = _result_of(machine, op, RunAttempt(op))
    machine.unstarted[op.op] = coroutine
    return coroutine


async def _never() -> Any:
    """What a verb gives when the machine leaves memory: nothing will ever come."""
    await asyncio.get_running_loop().create_future()


async def _result_of(machine: Machine, op: Operation, command: RunAttempt | StartChild) -> Any:
    del machine.unstarted[op.op]
    machine.begin(op, command)
    assert op.future is not None
    try:
        return await op.future
    except asyncio.CancelledError:
        machine.abandon(op)
        raise


def _types(machine: Machine, events: Sequence[type | str]) -> list[str]:
    """What to wait for, by name, each once. Raises WrongType."""
    if not events:
        raise WrongType("flow.wait takes the events to wait for: flow.wait('payment.received', key=...)")
    names = list(dict.fromkeys(machine.registry.events.name_of(event) for event in events))
    if pattern := next((name for name in names if "*" in name), None):
        raise WrongType(f"flow.wait takes names, not patterns like {pattern!r}; name each: flow.wait('a.b', 'a.c')")
    return names


async def _event_of(machine: Machine, op: Operation, timeout: float | None) -> Event[Any]:
    del machine.unstarted[op.op]
    awaiting.begin(machine, op, timeout)
    assert op.future is not None
    try:
        async with asyncio.timeout(timeout):
            awaiting.place_timer(machine, op, timeout)
            event: Event[Any] = await op.future
            return event
    except asyncio.CancelledError:
        awaiting.stop(machine, op)
        raise
    except TimeoutError:
        awaiting.stop(machine, op)
        raise TimeoutError(f"no {' or '.join(awaiting.wanted(op).types)} has come in {timeout:g} s") from None
