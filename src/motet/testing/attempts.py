"""Step code on its own: what `attempt()` gives it when no worker runs it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from motet.orchestration.attempt import Attempt, current_attempt


@contextmanager
def attempt_of(
    step: str = "step", *, run: str = "run-1", number: int = 1, token: int = 1, key: str | None = None
) -> Generator[Attempt]:
    """Inside the block, `attempt()` tells this.

    Args:
        step: the step's name.
        run: the run's id.
        number: which try it is, from 1.
        token: the fencing token.
        key: the idempotency key; by default made of run and step.
    """
    operation = f"{step}#1"
    told = Attempt(key if key is not None else f"{run}.1.{operation}", number, token, run, step, operation)
    token_of_context = current_attempt.set(told)
    try:
        yield told
    finally:
        current_attempt.reset(token_of_context)
