"""Transactions: steps whose effect is committed together with their record, in the store's own database.

The function takes `(connection, *args)`; whoever calls it in a workflow gives the arguments alone. Exactly once,
because there is only one commit: a crash leaves effect and record, or neither. So nobody ever wonders whether one that
has failed has happened: it was rolled back, and there is nothing to undo.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import Concatenate, Generic, ParamSpec, TypeVar

from motet.errors import DefinitionError, StepCalledDirectly
from motet.model.clock import Duration
from motet.model.policy import STEP_RETRY, Retry
from motet.orchestration.definitions import Step, in_workflow_body
from motet.orchestration.signature import is_positional

N = TypeVar("N")
P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")


class Transaction(Step[P, R, C], Generic[N, P, R, C]):
    """A step in the store's own database: run until it is committed, exactly once with its record."""

    noun = "transaction"
    transactional = True

    def __init__(
        self, function: Callable[Concatenate[N, P], C], name: str, aliases: Sequence[str] = (),
        retry: Retry = STEP_RETRY, timeout: Duration | EllipsisType | None = ...,
        raises: Sequence[type[BaseException]] = (),
    ) -> None:  # fmt: skip
        super().__init__(function, name, aliases, retry, timeout, raises)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        first = next(iter(inspect.signature(function).parameters.values()), None)
        if first is None or not is_positional(first):
            raise DefinitionError(
                f"transaction {name} takes {inspect.signature(function)}; its first parameter must be the connection: "
                f"def {self.__name__}(connection, ...)"
            )

    def __call__(self, connection: N, /, *args: P.args, **kwargs: P.kwargs) -> C:  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride]
        """The plain function; in a workflow body raises StepCalledDirectly."""
        if in_workflow_body():
            raise StepCalledDirectly(
                f"transaction {self.name} was called directly in a workflow body, where its result would not be "
                f"recorded; write: await flow.transaction({self.__name__}, ...)"
            )
        called: C = self.function(connection, *args, **kwargs)
        return called
