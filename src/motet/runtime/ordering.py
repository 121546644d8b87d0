"""Facts of one run in the order of their positions, while some of them are committed beside the committer's batches.

The committer tells of what it has written in the order in which it was submitted, which is that of positions. A
transaction's record is committed by itself, perhaps earlier, perhaps later than what stands around it. So from the
moment at which it has got its position until it is applied, whatever comes behind it waits here; and it waits itself
until everything that was submitted before it has been told.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable


class _Entry:
    __slots__ = ("action", "position", "waits")

    def __init__(self, position: int, waits: int, action: Callable[[], None] | None) -> None:
        self.position = position
        self.waits = waits
        self.action = action

    def __lt__(self, other: _Entry) -> bool:
        return self.position < other.position


class Order:
    """Of one driver; made when its run first has a transaction."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: list[_Entry] = []

    def open(self, position: int, waits: int) -> None:
        """Something at this position is on its way; it is applied when `settle` and `pass_on` have been called so often
        in all."""
        insort(self._entries, _Entry(position, waits, None))

    def put(self, position: int, action: Callable[[], None]) -> None:
        """What is durable is applied: now, or when its turn comes."""
        if not self._entries or position < self._entries[0].position:
            action()
        else:
            insort(self._entries, _Entry(position, 0, action))

    def settle(self, position: int, action: Callable[[], None]) -> None:
        """What was opened is durable."""
        for entry in self._entries:
            if entry.position == position:
                entry.action = action
        self.pass_on(position)

    def pass_on(self, position: int) -> None:
        """One thing less to wait for."""
        for entry in self._entries:
            if entry.position == position:
                entry.waits -= 1
        self._go_on()

    def void(self, position: int) -> None:
        """What was opened will never be: nothing stands at this position."""
        self._entries = [entry for entry in self._entries if entry.position != position]
        self._go_on()

    def _go_on(self) -> None:
        while self._entries and self._entries[0].waits <= 0:
            action = self._entries.pop(0).action
            if action is not None:
                action()
