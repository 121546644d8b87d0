"""Everything in memory that is due at a time of day: one heap, one wake-up of the event loop.

Due times are wall-clock times, so the wake-up is never further away than `LOOK_AGAIN`: when the machine's clock is
set, timers follow.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

from motet.model.clock import SECOND, Clock, Micros

LOOK_AGAIN = 1.0
SWEEP_AT = 1_000


class Timer:
    """Something due; `cancel` forgets it."""

    __slots__ = ("__weakref__", "action", "due")

    def __init__(self, due: Micros, action: Callable[[], None]) -> None:
        self.due = due
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        self.action = None


class Timers:
    """Lives on one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[Micros, int, Timer]] = []  # the number keeps those of one moment in their order
        self._count = 0
        self._sweep_at = SWEEP_AT
        self._wake: asyncio.TimerHandle | None = None
        self._wake_due: Micros = 0
        self._closed = False

    def at(self, due: Micros, action: Callable[[], None]) -> Timer:
        """Call `action` on the event loop when `due` has come."""
        self._count += 1
        timer = Timer(due, action)
        if len(self._heap) >= self._sweep_at:
            self._sweep()
        heapq.heappush(self._heap, (due, self._count, timer))
        if self._wake is None or due < self._wake_due:
            self._plan()
        return timer

    def next_due(self) -> Micros | None:
        """When the first of them is due; None if there are none."""
        self._forget_cancelled()
        return self._heap[0][0] if self._heap else None

    def look(self) -> None:
        """Ring at once what is due, because the clock has been set."""
        if self._wake is not None:
            self._wake.cancel()
        self._ring()

    def close(self) -> None:
        self._closed = True
        self._heap.clear()
        if self._wake is not None:
            self._wake.cancel()

    def _sweep(self) -> None:
        """Forget the cancelled: most deadlines are, and one timer that is due before them would keep them all."""
        self._heap = [entry for entry in self._heap if entry[2].action is not None]
        heapq.heapify(self._heap)
        self._sweep_at = max(SWEEP_AT, 2 * len(self._heap))

    def _plan(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        self._forget_cancelled()
        if self._heap and not self._closed:
            self._wake_due = self._heap[0][0]
            delay = (self._wake_due - self._clock.now()) / SECOND
            self._wake = asyncio.get_running_loop().call_later(min(max(delay, 0.0), LOOK_AGAIN), self._ring)

    def _forget_cancelled(self) -> None:
        """Those at the head, for the first living one to be there."""
        heap = self._heap
        while heap and heap[0][2].action is None:
            heapq.heappop(heap)

    def _ring(self) -> None:
        self._wake = None
        now = self._clock.now()
        try:
            while self._heap and self._heap[0][0] <= now:  # an action may sweep, which makes another heap
                action = heapq.heappop(self._heap)[2].action
                if action is not None:
                    action()
        finally:
            self._plan()  # whatever one action raises, the others have their turn
