"""Queues: where runs wait for a worker, so that much of one kind does not hold up a little of another."""

from __future__ import annotations

from motet.errors import DefinitionError, MotetError
from motet.model.codec import check_text
from motet.model.run import DEFAULT_QUEUE

PRIORITIES = range(-100, 101)


class Queue:
    """A declared queue. Its name is the store's: two apps on one store that name the same queue share it."""

    __slots__ = ("concurrency", "name")

    def __init__(self, name: str, concurrency: int | None) -> None:
        check_text(name, "a queue's name")
        if not name:
            raise DefinitionError("a queue needs a name")
        if name == DEFAULT_QUEUE:
            raise DefinitionError(
                f"queue '{DEFAULT_QUEUE}' is for all workflows that name none, and has no limit; choose another name"
            )
        if concurrency is not None and (isinstance(concurrency, bool) or concurrency < 1):
            raise DefinitionError(f"queue '{name}': concurrency is {concurrency!r}; it must be 1 or more, or None")
        self.name = name
        self.concurrency = concurrency

    def __repr__(self) -> str:
        return f"<queue {self.name}>"


def checked_priority(priority: int, what: str, error: type[MotetError] = DefinitionError) -> int:
    """Raises `error`: it is out of bounds. They are narrow, since each priority in use is a line of its own."""
    if isinstance(priority, bool) or priority not in PRIORITIES:
        raise error(
            f"{what}: priority is {priority!r}; it must be a whole number from {PRIORITIES[0]} to {PRIORITIES[-1]}"
        )
    return priority
