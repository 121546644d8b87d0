"""The decorators of what a workflow calls: steps and transactions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Sequence
from types import EllipsisType
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from motet.model.clock import Duration
from motet.model.policy import STEP_RETRY, Retry
from motet.orchestration.definitions import Step
from motet.orchestration.registry import Registry
from motet.orchestration.transactions import Transaction

N = TypeVar("N")
P = ParamSpec("P")
R = TypeVar("R")


class StepDeclarations:
    """The part of `App` and `Module` that declares them."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.registry = Registry()

    # Async functions first: their result is what the coroutine returns.
    @overload
    def step(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R, Coroutine[Any, Any, R]]: ...

    @overload
    def step(self, function: Callable[P, R], /) -> Step[P, R, R]: ...

    @overload
    def step(
        self, /, *, name: str | None = ..., aliases: Sequence[str] = ..., retry: Retry = STEP_RETRY,
        timeout: Duration | EllipsisType | None = ..., raises: Sequence[type[BaseException]] = ...,
    ) -> StepDecorator: ...  # fmt: skip

    def step(
        self, function: Callable[..., Any] | None = None, /, *, name: str | None = None, aliases: Sequence[str] = (),
        retry: Retry = STEP_RETRY, timeout: Duration | EllipsisType | None = ...,
        raises: Sequence[type[BaseException]] = (),
    ) -> Any:  # fmt: skip
        """Declare a step: a side effect that can fail, run at least once and recorded exactly once.

        Args:
            name: what records call it; by default the function's name.
            aliases: earlier names, oldest first, so that a renamed function keeps the runs in flight.
            retry: the policy after a fault.
            timeout: the longest an attempt may take, as timedelta or seconds; None for no end; by default
                `Settings.step_timeout_seconds`.
            raises: the errors that are answers: not retried, known not to have happened, caught by their class.

        Raises:
            DefinitionError: the declaration cannot work.
        """

        place = place_of_caller()

        def declare(function: Callable[..., Any]) -> Step[..., Any, Any]:
            own = self._prefix + (name or name_of_function(function))
            step: Step[..., Any, Any] = Step(function, own, aliases, retry, timeout, raises)
            step.declared_at = place
            self.registry.add_step(step)
            return step

        return declare if function is None else declare(function)

    @overload
    def transaction(
        self, function: Callable[Concatenate[N, P], Coroutine[Any, Any, R]], /
    ) -> Transaction[N, P, R, Coroutine[Any, Any, R]]: ...

    @overload
    def transaction(self, function: Callable[Concatenate[N, P], R], /) -> Transaction[N, P, R, R]: ...

    @overload
    def transaction(
        self, /, *, name: str | None = ..., aliases: Sequence[str] = ..., retry: Retry = STEP_RETRY,
        timeout: Duration | EllipsisType | None = ..., raises: Sequence[type[BaseException]] = ...,
    ) -> TransactionDecorator: ...  # fmt: skip

    def transaction(
        self, function: Callable[..., Any] | None = None, /, *, name: str | None = None, aliases: Sequence[str] = (),
        retry: Retry = STEP_RETRY, timeout: Duration | EllipsisType | None = ...,
        raises: Sequence[type[BaseException]] = (),
    ) -> Any:  # fmt: skip
        """Declare a step that writes to the store's own database: a function of `(connection, ...)`, whose effect is
        committed together with its record, exactly once. Used with `flow.transaction(function, ...)`.

        On SQLite the connection is a `sqlite3.Connection`, and a plain function is best: nobody else writes to the file
        while it runs. On PostgreSQL it is a connection of asyncpg, for an async function. Do not commit yourself.

        Args:
            as of `step`. An error that is not declared is retried after a rollback, so the function starts afresh.

        Raises:
            DefinitionError: the declaration cannot work.
        """

        place = place_of_caller()

        def declare(function: Callable[..., Any]) -> Transaction[Any, ..., Any, Any]:
            own = self._prefix + (name or name_of_function(function))
            declared: Transaction[Any, ..., Any, Any] = Transaction(function, own, aliases, retry, timeout, raises)
            declared.declared_at = place
            self.registry.add_step(declared)
            return declared

        return declare if function is None else declare(function)


class StepDecorator:
    """The type of `@app.step(...)`."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R, Coroutine[Any, Any, R]]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> Step[P, R, R]: ...

    def __call__(self, function: Callable[..., Any], /) -> Any:
        raise NotImplementedError


class TransactionDecorator:
    """The type of `@app.transaction(...)`."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[N, P], Coroutine[Any, Any, R]], /
    ) -> Transaction[N, P, R, Coroutine[Any, Any, R]]: ...

    @overload
    def __call__(self, function: Callable[Concatenate[N, P], R], /) -> Transaction[N, P, R, R]: ...

    def __call__(self, function: Callable[..., Any], /) -> Any:
        raise NotImplementedError


def place_of_caller() -> str | None:
    """Where the declaration stands in the user's code: where the verb was called that calls this."""
    own = inspect.currentframe()
    verb = own.f_back if own is not None else None
    user = verb.f_back if verb is not None else None
    return f"{user.f_code.co_filename}:{user.f_lineno}" if user is not None else None


def name_of_function(function: object) -> str:
    """What records call it unless they are told otherwise."""
    name: str = getattr(function, "__name__", "?")  # what is no function is refused by its definition
    return name
