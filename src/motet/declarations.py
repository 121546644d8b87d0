"""The decorators: how workflows, events, reactions and expectations are declared on an app or a module."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Coroutine, Sequence
from types import EllipsisType
from typing import Any, ParamSpec, TypeVar, overload

from motet.choreography.expectations import Expectation, Expectations, Start, name_of
from motet.choreography.reactions import (
    CONCURRENCY,
    REACTION_RETRY,
    Filter,
    Handler,
    Reaction,
    Reactions,
    takes_flow,
)  # fmt: skip
from motet.errors import DefinitionError, DeterminismWarning, RiskWarning
from motet.model.clock import Duration
from motet.model.event import Event
from motet.model.event_types import Upcaster
from motet.model.expected import MISSED_EVENT, Missed
from motet.model.policy import Retry
from motet.model.run import DEFAULT_QUEUE
from motet.orchestration.definitions import Workflow
from motet.orchestration.flow import Flow
from motet.orchestration.plan.risks import risks_of
from motet.orchestration.queues import Queue
from motet.orchestration.reading import suspicious_calls
from motet.orchestration.registry import Registry
from motet.step_declarations import StepDeclarations, name_of_function, place_of_caller

P = ParamSpec("P")
R = TypeVar("R")
I = TypeVar("I")  # noqa: E741 - the input's type; one letter, as type variables are
E = TypeVar("E", bound=type)
U = TypeVar("U", bound=Upcaster)

OnMissed = Workflow[Missed, Any] | Workflow[None, Any] | Callable[[Event[Missed]], Any]
"""A remedy."""


class Declarations(StepDeclarations):
    """What `App` and `Module` share."""

    def __init__(self, prefix: str) -> None:
        super().__init__(prefix)
        self.expectations = Expectations()
        self.reactions = Reactions()

    @overload
    def workflow(self, function: Callable[[Flow], Coroutine[Any, Any, R]], /) -> Workflow[None, R]: ...

    @overload
    def workflow(self, function: Callable[[Flow, I], Coroutine[Any, Any, R]], /) -> Workflow[I, R]: ...

    @overload
    def workflow(
        self, /, *, name: str | None = ..., version: int = ..., aliases: Sequence[str] = ...,
        deadline: Duration | None = ..., compensate_on_deadline: bool = ...,
        raises: Sequence[type[BaseException]] = ..., queue: Queue | str = ..., priority: int = ...,
        on: type | str | Sequence[type | str] | None = ..., id: Callable[[Event[Any]], str] | None = ...,
        filter: Filter | None = ..., start: Start = ...,
    ) -> WorkflowDecorator: ...  # fmt: skip

    def workflow(
        self, function: Callable[..., Any] | None = None, /, *, name: str | None = None, version: int = 1,
        aliases: Sequence[str] = (), deadline: Duration | None = None, compensate_on_deadline: bool = True,
        raises: Sequence[type[BaseException]] = (), queue: Queue | str = DEFAULT_QUEUE, priority: int = 0,
        on: type | str | Sequence[type | str] | None = None, id: Callable[[Event[Any]], str] | None = None,
        filter: Filter | None = None, start: Start = "now",
    ) -> Any:  # fmt: skip
        """Declare a workflow: an async function of `(flow)` or `(flow, input)`.

        Args:
            name: what records call it; by default the function's name.
            version: kept with each run, which only a worker that has this version drives. For another body under the
                same name, raise it and keep the old function beside the new one until its runs have ended.
            aliases: earlier names, so that a renamed function keeps the runs in flight.
            deadline: how long a run may take in all, as timedelta or seconds; then what it did is undone and it
                has failed with DeadlineExceeded.
            compensate_on_deadline: whether it is undone.
            raises: the business outcomes: `result()` raises them as themselves, and they are no alarm.
            queue: the queue in which its runs wait for a worker, declared with `app.queue`.
            priority: from -100 to 100; of a queue's runs, those of higher priority are taken first.
            on: the events, or patterns, of which each starts a run, once. Its input is the event if the parameter is
                annotated with `Event`, else the event's data.
            id: a function of the event that gives the run's id; by default made of the workflow's name and the event's
                id. If a run of this workflow has the id already, the event starts none.
            filter: with `on`: which of the events.
            start: with `on`: from where in the log it begins: "now", "beginning", or a datetime with its time zone.

        Raises:
            DefinitionError: the declaration cannot work.
        """
        place = place_of_caller()

        def declare(function: Callable[..., Any]) -> Workflow[Any, Any]:
            own = self._prefix + (name or name_of_function(function))
            full_aliases = [alias if "/" in alias else self._prefix + alias for alias in aliases]
            workflow: Workflow[Any, Any] = Workflow(
                function, own, version=version, aliases=full_aliases, deadline=deadline,
                compensate_on_deadline=compensate_on_deadline, raises=raises, queue=queue, priority=priority,
            )  # fmt: skip
            self.registry.add_workflow(workflow)
            warn_of_suspicious_calls(workflow)
            if on is not None:
                events = (on,) if isinstance(on, type | str) else on
                starts = Reaction.starting(
                    own, own, events, id, function, version, filter=filter, start=start, aliases=full_aliases,
                    place=place,
                )  # fmt: skip
                self.reactions.add(starts)
            self.reactions.keep_newest(self.registry.newest)
            return workflow

        return declare if function is None else declare(function)

    def queue(self, name: str, *, concurrency: int | None = None) -> Queue:
        """Declare a queue. Workers take runs in turn from the queues, so that much in one does not hold up another.

        Args:
            name: queues belong to the store: apps that name the same queue share it.
            concurrency: how many of its runs are driven at the same time, by all workers together; None for no limit.
                What the worker that was started last says holds for all.

        A run holds its place while a worker has it in memory. One that only waits (for time, another run, a person)
        leaves memory when others wait for its place, and comes back as soon as it can go on and a place is free.

        Raises:
            DefinitionError: the declaration cannot work.
            DuplicateName: there is a queue of this name already.
        """
        declared = Queue(name, concurrency)
        self.registry.add_queue(declared)
        return declared

    def event(self, name: str, *, key: str | None = None, version: int = 1) -> Callable[[E], E]:
        """Declare a class as the data of a type of event.

        Args:
            name: in the past tense, as `purchase.completed`.
            key: the field that names what it is about; by default the publishing run's id.
            version: of the data's shape.

        Raises:
            DefinitionError: the name is taken, or the key is no field.
        """

        def declare(cls: E) -> E:
            self.registry.events.declare(cls, name, key, version)
            return cls

        return declare

    def on(
        self, *events: type | str, name: str | None = None, filter: Filter | None = None, retry: Retry = REACTION_RETRY,
        timeout: Duration | EllipsisType | None = ..., concurrency: int = CONCURRENCY, hold: bool = False,
        start: Start = "now", transaction: bool = False, aliases: Sequence[str] = (),
    ) -> Callable[[Handler], Reaction]:  # fmt: skip
        """Declare a reaction: a function of `(event)`, async or plain, that each matching event is delivered to.

        Deliveries of one key come one after the other, in the log's order. A function of `(flow, event)` is a workflow
        that each event starts a run of.

        Args:
            events: declared classes, names, or patterns: `purchase.*`. The engine's own events match only what begins
                with `motet.`.
            name: what records call it; by default the function's name.
            filter: a function of the event; what it does not want counts as delivered.
            retry: the policy after an error; then the delivery is a dead letter that a person redrives or discards.
            timeout: the longest an attempt may take, as timedelta or seconds; None for no end; by default
                `Settings.step_timeout_seconds`.
            concurrency: how many events are delivered at the same time, by the one worker that owns the reaction.
            hold: after a dead letter, later events of its key wait for a person; by default they go on.
            start: from where in the log a new reaction begins: "now", "beginning", or a datetime with its time zone.
            transaction: the function takes `(event, connection)`: what it writes through the connection to the store's
                database is committed with the delivery, once.
            aliases: earlier names, oldest first, so that a renamed one goes on where it was.

        Raises:
            DefinitionError: the declaration cannot work.
            DuplicateName: there is a reaction of this name already.
        """
        place = place_of_caller()

        def declare(function: Handler) -> Reaction:
            own = self._prefix + (name or name_of_function(function))
            options: dict[str, Any] = {
                "filter": filter, "retry": retry, "concurrency": concurrency, "hold": hold, "start": start,
                "timeout": None if isinstance(timeout, EllipsisType) else timeout,
                "default_timeout": isinstance(timeout, EllipsisType), "place": place,
                "aliases": [alias if "/" in alias else self._prefix + alias for alias in aliases],
            }  # fmt: skip
            if takes_flow(function, transaction=transaction, name=own):
                workflow = self._workflow_of(function, name, aliases)
                reaction = Reaction.starting(workflow.name, own, events, None, function, **options)
            else:
                reaction = Reaction(own, events, function, transaction=transaction, **options)
            self.reactions.add(reaction)
            return reaction

        return declare

    def _workflow_of(self, function: Handler, name: str | None, aliases: Sequence[str]) -> Workflow[Any, Any]:
        body: Any = function
        found: Workflow[Any, Any] = self.workflow(name=name or name_of_function(function), aliases=aliases)(body)
        return found

    def expect(
        self, event: type | str, *, after: type | str, within: Duration, name: str | None = None,
        each: bool = False, start: Start = "now", on_missed: OnMissed | None = None, aliases: Sequence[str] = (),
    ) -> Expectation:  # fmt: skip
        """Expect an event after another one with the same key; else `motet.expectation.missed` says that it is missed.

        Args:
            event: what is expected: a declared class, or a name.
            after: the trigger: a declared class, or a name.
            within: for how long after the trigger's own time, as timedelta or seconds; a change applies to what is
                open.
            name: what records call it; by default made of the two events' names.
            each: every trigger arms; by default the first for its key does, and later ones are counted.
            start: from where in the log a new one begins: "now", "beginning", or a datetime with its time zone.
            on_missed: the remedy: a workflow that each miss starts, of `(flow)` or `(flow, missed: Missed)`; or a
                function of `(event)`, async or plain, which becomes a reaction to the misses of this expectation, named
                like it with `.remedy` behind.
            aliases: earlier names, oldest first, so that a renamed one keeps what it expects.

        Raises:
            DefinitionError: the declaration cannot work.
            DuplicateName: there is an expectation of this name already.
        """
        types = self.registry.events
        own = self._prefix + (name or f"{name_of(event, types)}-after-{name_of(after, types)}")
        full_aliases = [alias if "/" in alias else self._prefix + alias for alias in aliases]
        declared = Expectation(
            own, event, after, within, each=each, start=start, aliases=full_aliases, place=place_of_caller()
        )  # fmt: skip
        self.expectations.add(declared)
        if on_missed is None or isinstance(on_missed, Workflow):
            declared.remedy = on_missed
        else:
            declared.remedy = self._reaction_to_misses(declared, on_missed)
        return declared

    def _reaction_to_misses(self, of: Expectation, function: Handler) -> Reaction:
        """Those of this expectation, under whatever name it has had."""
        name = f"{of.name}.remedy"
        if not callable(function):
            raise DefinitionError(
                f"expectation {of.name}: on_missed is {function!r}; it must be a workflow of (flow) or "
                "(flow, missed: Missed), or a function of (event)"
            )
        if takes_flow(function, transaction=False, name=name):
            raise DefinitionError(f"{name} takes (flow, ...): decorate it with @app.workflow, or let it take (event)")

        def concerns(event: Event[Missed]) -> bool:
            return event.data.expectation in (of.name, *of.aliases)

        aliases = [f"{alias}.remedy" for alias in of.aliases]
        reaction = Reaction(name, [MISSED_EVENT], function, filter=concerns, aliases=aliases, place=of.place)
        self.reactions.add(reaction)
        return reaction

    def upcast(self, name: str, version: int) -> Callable[[U], U]:
        """Declare how the data of an event of this version is brought to the next one.

        The function gets the data as plain JSON data and returns the next version's.

        Args:
            name: the declared event's.
            version: the one that is brought up to date.

        Raises:
            DefinitionError: there is an upcaster of this version already.
        """

        def declare(function: U) -> U:
            self.registry.events.upcast(name, version, function)
            return function

        return declare


def warn_of_suspicious_calls(workflow: Workflow[Any, Any]) -> None:
    """Say at registration, with the line, what replay could not repeat."""
    code = workflow.function.__code__
    for suspicion in suspicious_calls(workflow.function):
        text = suspicion.warning_text(workflow.name, code.co_filename)
        warnings.warn_explicit(text, DeterminismWarning, code.co_filename, suspicion.line)


def warn_of_risks(registry: Registry) -> None:
    """Say, once all is declared, what is likely to end in trouble when something fails at the wrong moment."""
    for risk in risks_of(registry):
        warnings.warn_explicit(risk.warning_text(), RiskWarning, risk.file, risk.line)


class WorkflowDecorator:
    """The type of `@app.workflow(...)`."""

    @overload
    def __call__(self, function: Callable[[Flow], Coroutine[Any, Any, R]], /) -> Workflow[None, R]: ...

    @overload
    def __call__(self, function: Callable[[Flow, I], Coroutine[Any, Any, R]], /) -> Workflow[I, R]: ...

    def __call__(self, function: Callable[..., Any], /) -> Any:
        raise NotImplementedError


class Module(Declarations):
    """Declarations of a part of an app, in a file of its own; `app.include(module)` makes them the app's."""

    def __init__(self) -> None:
        super().__init__("")
