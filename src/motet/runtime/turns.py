"""Waiting by queue, served in turn: however much of one queue waits, the next queue's first is served next."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """In a queue, first come is first served."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[T]] = {}  # in the order of their turns; none is empty
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, queue: str, item: T) -> None:
        waiting = self._waiting.get(queue)
        if waiting is None:
            self._waiting[queue] = deque((item,))
        else:
            waiting.append(item)
        self._count += 1

    def take(self, queue: str | None = None) -> T | None:
        """The next one of this queue, or of the queue whose turn it is; None if nothing waits there."""
        chosen = next(iter(self._waiting), None) if queue is None else queue
        waiting = self._waiting.pop(chosen, None) if chosen is not None else None
        if chosen is None or waiting is None:
            return None
        self._count -= 1
        item = waiting.popleft()
        if waiting:
            self._waiting[chosen] = waiting  # behind all others
        return item

    def remove(self, queue: str, item: T) -> None:
        """Forget one that may wait here."""
        waiting = self._waiting.get(queue)
        if waiting is not None and item in waiting:
            waiting.remove(item)
            self._count -= 1
            if not waiting:
                del self._waiting[queue]

    def clear(self) -> None:
        self._waiting.clear()
        self._count = 0


class Places:
    """How many of each queue are at work, under a limit for all together.

    A queue of which nothing is at work always gets a place, even above the limit: else much slow work of one queue
    would hold up the first of another for as long as it takes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken: dict[str, int] = {}
        self.count = 0

    def has(self, queue: str) -> bool:
        """Whether one more of this queue may go to work."""
        return self.count < self._limit or queue not in self._taken

    def take(self, queue: str) -> None:
        self.count += 1
        self._taken[queue] = self._taken.get(queue, 0) + 1

    def leave(self, queue: str) -> None:
        self.count -= 1
        left = self._taken[queue] - 1
        if left:
            self._taken[queue] = left
        else:
            del self._taken[queue]

    def next(self, turns: Turns[T], left: str) -> T | None:
        """Who goes to work when one of queue `left` is done: the next in turn, unless that queue is without now."""
        if left not in self._taken and (own := turns.take(left)) is not None:
            return own
        return turns.take() if self.count < self._limit else None
