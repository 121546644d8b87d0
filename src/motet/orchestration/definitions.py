"""What users declare: steps, their compensations, and workflows; prepared once, then only read.

A definition is named `app/name` in records. It can be called as the plain function that it is, so that it is
testable without Motet; only inside a workflow body a direct call of a step is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Sequence
from copy import copy
from functools import cached_property
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar, cast, get_origin, overload

from motet.errors import CompensationSignature, DefinitionError, StepCalledDirectly, WrongType
from motet.model.clock import Duration, Micros, micros, seconds
from motet.model.codec import Codec, plain
from motet.model.event import Event, LoggedEvent
from motet.model.event_types import EventTypes
from motet.model.policy import COMPENSATION_RETRY, STEP_RETRY, Retry
from motet.model.run import DEFAULT_QUEUE
from motet.orchestration.loop import DeterministicLoop
from motet.orchestration.queues import Queue, checked_priority
from motet.orchestration.signature import Arguments, admits_none, hints_of, is_positional, local_names
from motet.orchestration.surroundings import running_loop

if TYPE_CHECKING:
    from motet.orchestration.flow import Flow

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")
I = TypeVar("I")  # noqa: E741 - the input's type; one letter, as type variables are


def in_workflow_body() -> bool:
    """Whether the calling code is a workflow's body."""
    return isinstance(running_loop(), DeterministicLoop)


class Callee:
    """A function that is run in attempts: what steps and compensations have in common."""

    noun = "step"
    transactional = False
    """Whether it takes a connection first, and its effect commits with its record."""

    def __init__(
        self, function: Callable[..., Any], name: str, retry: Retry, timeout: Duration | EllipsisType | None
    ) -> None:
        _check_function(function, f"{self.noun} {name}")
        self.function = function
        self.name = name
        self.retry = retry
        self.raises: tuple[type[BaseException], ...] = ()
        self.timeout = self._timeout(timeout)
        self.is_async = inspect.iscoroutinefunction(function)
        self.names = local_names(function)
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__wrapped__ = function

    @cached_property
    def operation_name(self) -> str:
        """How histories call its operations: the oldest name that it has had, so that a renamed function
        keeps the history and the idempotency keys of runs in flight."""
        return _bare(self.name)

    @cached_property
    def hints(self) -> dict[str, Any]:
        return hints_of(self.function, self.names)

    @cached_property
    def arguments(self) -> Arguments:
        return Arguments(self.function, self.hints, f"{self.noun} {self.name}", given=int(self.transactional))

    @cached_property
    def result(self) -> Codec[Any]:
        try:
            return Codec(self.hints.get("return", Any))
        except WrongType as error:
            raise DefinitionError(f"{self.noun} {self.name}: its result's {error}") from error

    @cached_property
    def result_words(self) -> str:
        """How errors call its result."""
        return f"the result of {self.noun} {self.name}"

    def prepare(self) -> None:
        """Read the annotations now, so that a wrong one is found when the program starts."""
        _ = self.arguments, self.result

    def _timeout(self, timeout: Duration | EllipsisType | None) -> float | EllipsisType | None:
        if timeout is None or isinstance(timeout, EllipsisType):
            return timeout
        if seconds(timeout) <= 0:
            raise DefinitionError(
                f"{self.noun} {self.name}: timeout is {timeout!r}; it must be above 0, or None for no end"
            )
        return seconds(timeout)

    def __repr__(self) -> str:
        return f"<{self.noun} {self.name}>"


class Compensation(Callee):
    """How a step's effect is undone: takes `(result)` or `(result, *the step's parameters)`; as a transaction, a
    connection before them."""

    noun = "compensation"

    def __init__(
        self, step: Step[Any, Any, Any], function: Callable[..., Any], name: str, retry: Retry,
        timeout: Duration | EllipsisType | None, transaction: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(function, name, retry, timeout)
        self.step = step
        self.transactional = transaction
        self._check_signature()

    def _check_signature(self) -> None:
        own = list(inspect.signature(self.function).parameters)
        asked = list(inspect.signature(self.step.function).parameters)[int(self.step.transactional) :]
        first = ["connection"] if self.transactional else []
        result = own[len(first) :]
        if len(result) == 1 or (result and result[1:] == asked):
            return
        short, long = ", ".join([*first, "result"]), ", ".join([*first, "result", *asked])
        raise CompensationSignature(
            f"compensation {self.name}({', '.join(own)}) does not fit {self.step.noun} {self.step.name}; expected "
            f"{self.name}({short}) or {self.name}({long}), where result is what the {self.step.noun} returned, "
            "or None when nobody knows whether it happened"
        )

    @cached_property
    def takes_parameters(self) -> bool:
        return len(self.arguments.names) > 1

    @cached_property
    def admits_none(self) -> bool:
        """Whether it can be called when nobody knows whether the step happened."""
        first = self.arguments.names[0]
        return first in self.hints and admits_none(self.hints[first])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The plain function; in a workflow body raises StepCalledDirectly."""
        if in_workflow_body():
            raise StepCalledDirectly(
                f"compensation {self.name} was called directly in a workflow body, where it would not be recorded; "
                "it runs by itself when the run or its flow.scope() fails, and a step can do the same at any time"
            )
        return self.function(*args, **kwargs)


class Step(Callee, Generic[P, R, C]):
    """A side effect that can fail: run at least once, recorded exactly once."""

    def __init__(
        self, function: Callable[P, C], name: str, aliases: Sequence[str] = (), retry: Retry = STEP_RETRY,
        timeout: Duration | EllipsisType | None = ..., raises: Sequence[type[BaseException]] = (),
    ) -> None:  # fmt: skip
        super().__init__(function, name, retry, timeout)
        self.aliases = tuple(aliases)
        self.raises = _exceptions(raises, f"step {name}")
        self.declared_at: str | None = None  # where in the source, as file:line
        self._compensations: list[Compensation] = []  # none or one; shared with what `options` returns

    @property
    def compensated_by(self) -> Compensation | None:
        """How it is undone; None if there is nothing to undo."""
        return self._compensations[0] if self._compensations else None

    @cached_property
    def operation_name(self) -> str:
        return _bare(self.aliases[0] if self.aliases else self.name)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C:
        """The plain function; in a workflow body raises StepCalledDirectly."""
        if in_workflow_body():
            raise StepCalledDirectly(
                f"step {self.name} was called directly in a workflow body, where its result would not be "
                f"recorded; write: await flow.step({self.__name__}, ...)"
            )
        called: C = self.function(*args, **kwargs)
        return called

    def options(self, *, retry: Retry | None = None, timeout: Duration | EllipsisType | None = ...) -> Self:
        """The same step with another policy, for one call: `flow.step(charge.options(timeout=30), order)`.

        Raises:
            DefinitionError: the timeout is not above 0.
        """
        other = copy(self)
        if retry is not None:
            other.retry = retry
        if timeout is not ...:
            other.timeout = self._timeout(timeout)
        return other

    @overload
    def compensation(self, function: Callable[..., Any], /) -> Compensation: ...

    @overload
    def compensation(
        self, /, *, name: str | None = None, retry: Retry = ..., timeout: Duration | EllipsisType | None = ...,
        transaction: bool = ...,
    ) -> Callable[[Callable[..., Any]], Compensation]: ...  # fmt: skip

    def compensation(
        self, function: Callable[..., Any] | None = None, /, *, name: str | None = None,
        retry: Retry = COMPENSATION_RETRY, timeout: Duration | EllipsisType | None = ..., transaction: bool = False,
    ) -> Any:  # fmt: skip
        """Declare how this step is undone.

        Args:
            name: what records call it; by default the function's name.
            retry, timeout: as of a step.
            transaction: it takes a connection to the store's database before everything else, and what it writes
                there is committed with the record that it is done.

        Raises:
            CompensationSignature: it takes neither `(result)` nor `(result, *the step's parameters)`.
            DefinitionError: the step has a compensation already.
        """

        def declare(function: Callable[..., Any]) -> Compensation:
            if self.compensated_by is not None:
                raise DefinitionError(f"step {self.name} has a compensation already: {self.compensated_by.name}")
            own: str = getattr(function, "__name__", "?")
            compensation = Compensation(self, function, name or own, retry, timeout, transaction)
            self._compensations.append(compensation)
            return compensation

        return declare if function is None else declare(function)


class Workflow(Generic[I, R]):
    """One owner of a sequence: a coroutine function of `(flow)` or `(flow, input)`."""

    def __init__(
        self, function: Callable[..., Coroutine[Any, Any, R]], name: str, *, version: int = 1,
        aliases: Sequence[str] = (), deadline: Duration | None = None, compensate_on_deadline: bool = True,
        raises: Sequence[type[BaseException]] = (), queue: Queue | str = DEFAULT_QUEUE, priority: int = 0,
    ) -> None:  # fmt: skip
        _check_function(function, f"workflow {name}")
        self.queue = queue.name if isinstance(queue, Queue) else queue
        self.priority = checked_priority(priority, f"workflow {name}")
        self.function = function
        self.name = name
        self.version = version
        self.aliases = tuple(aliases)
        self.deadline: Micros | None = None if deadline is None else micros(deadline)
        self.compensate_on_deadline = compensate_on_deadline
        self.raises = _exceptions(raises, f"workflow {name}")
        self.names = local_names(function)
        self.events: EventTypes | None = None  # once its app is prepared
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__wrapped__ = function
        if not inspect.iscoroutinefunction(function):
            raise DefinitionError(f"workflow {name} must be an async function: async def {self.__name__}(flow, ...)")
        parameters = inspect.signature(function).parameters
        if not 1 <= len(parameters) <= 2 or not all(map(is_positional, parameters.values())):
            takes = ", ".join(map(str, parameters.values()))
            raise DefinitionError(
                f"workflow {name} takes ({takes}); it must take (flow) or (flow, input): "
                "put several inputs into one dataclass"
            )
        self.input_name = list(parameters)[1] if len(parameters) == 2 else None
        if self.deadline is not None and self.deadline <= 0:
            raise DefinitionError(f"workflow {name}: deadline is {deadline!r}; it must be above 0")
        if version < 1:
            raise DefinitionError(f"workflow {name}: version is {version}; versions count from 1")

    @cached_property
    def input(self) -> Codec[Any] | None:
        """Reads the input; None for a workflow without one."""
        if self.input_name is None:
            return None
        return EventCodec(self) if self.takes_event else self._codec(self.input_name, "input")

    @cached_property
    def takes_event(self) -> bool:
        """Whether its input is an event, and not the data of one."""
        if self.input_name is None:
            return False
        kind = hints_of(self.function, self.names).get(self.input_name)
        return kind is Event or get_origin(kind) is Event

    @cached_property
    def result(self) -> Codec[R]:
        return self._codec("return", "result")

    def _codec(self, hint: str, what: str) -> Codec[Any]:
        try:
            return Codec(hints_of(self.function, self.names).get(hint, Any))
        except WrongType as error:
            raise DefinitionError(f"workflow {self.name}: its {what}'s {error}") from error

    def reads(self, input: str | None) -> bool:
        """Whether a recorded input is one for it."""
        if self.input is None:
            return input is None
        try:
            self.input.decode("null" if input is None else input, self.input_words)
        except WrongType:
            return False
        return True

    @cached_property
    def operation_name(self) -> str:
        """How histories of parents call it: its oldest name, as for steps."""
        return _bare(self.aliases[0] if self.aliases else self.name)

    @cached_property
    def input_words(self) -> str:
        """How errors call its input."""
        return f"the input of workflow {self.name}"

    @cached_property
    def result_words(self) -> str:
        """How errors call its result."""
        return f"the result of workflow {self.name}"

    def prepare(self) -> None:
        """Read the annotations now, so that a wrong one is found when the program starts."""
        _ = self.input, self.result

    def __call__(self, flow: Flow, *input: I) -> Coroutine[Any, Any, R]:
        """The plain coroutine, to run it as a part of another workflow's body."""
        return self.function(flow, *input)

    def __repr__(self) -> str:
        return f"<workflow {self.name} v{self.version}>"


class EventCodec(Codec[Event[Any]]):
    """Reads an event that is a workflow's input: a row of the log as JSON."""

    __slots__ = ("_workflow",)

    def __init__(self, workflow: Workflow[Any, Any]) -> None:
        super().__init__(LoggedEvent)
        self._workflow = workflow

    def decode(self, text: str, what: str, *about: object) -> Event[Any]:
        """Raises WrongType: it is none, or its data does not have the declared shape."""
        row = cast("LoggedEvent", super().decode(text, what, *about))
        types = self._workflow.events
        return Event(row, plain(row.data) if types is None else types.read(row))


def _bare(name: str) -> str:
    return name.rpartition("/")[2]


def _check_function(function: object, what: str) -> None:
    if not inspect.isroutine(function):
        raise DefinitionError(f"{what} is {function!r}, which is not a function; decorate a def or an async def")


def _exceptions(raises: Sequence[object], what: str) -> tuple[type[BaseException], ...]:
    for kind in raises:
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise DefinitionError(f"{what}: raises={kind!r} is not an exception class")
    return cast("tuple[type[BaseException], ...]", tuple(raises))
