"""asyncio's tasks and futures with a hash that is the same in every process: their creation number.

`TaskGroup`, `asyncio.wait` and users keep tasks in sets, and a set iterates by hash. asyncio hashes by memory
address, so siblings would be cancelled, and their operations created, in an order that replay cannot repeat.
With numbers, a set that was built the same way iterates the same way (not always in the order of the
numbers).

Invariant: a task or future gets its number from its loop, once, when it is made. Equality stays identity.

Not here: who counts, and the refusal of what cannot be numbered (`asyncio.Future()`, made without the loop).
"""

from __future__ import annotations

import asyncio
import asyncio.tasks
from types import CodeType, FrameType
from typing import Any


class NumberedFuture(asyncio.Future[Any]):
    """A future of a workflow body."""

    __slots__ = ("number",)

    number: int

    def __hash__(self) -> int:
        return self.number


class NumberedTask(asyncio.Task[Any]):  # tidy: it is one of asyncio's tasks
    """A task of a workflow body."""

    __slots__ = ("number",)

    number: int

    def __hash__(self) -> int:
        try:
            return self.number
        except AttributeError:
            # asyncio is just putting it into its set of the tasks of *all* loops, where the first task of ten
            # thousand runs must not share one hash. The weak reference in there remembers the hash it sees
            # now.
            return id(self) >> 4


_gathering: Any = getattr(asyncio.tasks, "_GatheringFuture", None)


class _HashByNumber:
    __slots__ = ()

    number: int

    def __hash__(self) -> int:
        return self.number


_numbered_gathering: Any = _gathering and type("NumberedGathering", (_HashByNumber, _gathering), {"__slots__": ()})


def code_of(owner: object, *names: str) -> CodeType | None:
    """The code of a private function of asyncio, to know it as a caller; None where this Python has none."""
    for name in names:
        owner = getattr(owner, name, None)
    return getattr(owner, "__code__", None)


GATHER_MAKES_FUTURE = code_of(_gathering, "__init__")


def number_gathering(maker: FrameType, number: int) -> None:
    """Number the future of `asyncio.gather` while it is made, which asyncio does without asking the loop."""
    gathering = maker.f_locals["self"]
    gathering.__class__ = _numbered_gathering
    gathering.number = number


def has_number(future: asyncio.Future[Any]) -> bool:
    return type(future).__hash__ is not object.__hash__
