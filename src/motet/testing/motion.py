"""Moving the clock from one thing that is due to the next, with everything that follows from it in between."""

from __future__ import annotations

import asyncio

from motet.model.clock import Micros
from motet.orchestration.timing import END_OF_TIME
from motet.testing.clock import VirtualClock
from motet.testing.stillness import Stillness, heard

FOLLOW_SECONDS = 0.25


class Motion:
    """One mover at a time, and none while anything is going on."""

    def __init__(self, clock: VirtualClock, stillness: Stillness) -> None:
        self._clock = clock
        self._stillness = stillness
        self._turn = asyncio.Lock()

    async def rest(self) -> None:
        """Move nothing, but wait until nothing can happen without it."""
        async with self._turn:
            await self._stillness.settle()

    async def by(self, duration: Micros) -> None:
        """Move on by this much. Raises ValueError, as `VirtualClock.check`."""
        async with self._turn:
            await self._to(self._clock.now() + duration)

    async def to(self, at: Micros) -> None:
        """Move on until then. Raises ValueError, as `VirtualClock.check`."""
        async with self._turn:
            await self._to(at)

    async def follow(self, written: asyncio.Event) -> None:
        """Whenever all is still, move on to what is due next; ends by being cancelled.

        Args:
            written: set when somebody has written to the store, so that there may be something due.
        """
        while True:
            written.clear()
            async with self._turn:
                due = await self._stillness.settle()
                if due is not None and due < END_OF_TIME:  # which is how to wait for ever
                    self._clock.move(due)
                    continue
            await heard(written, FOLLOW_SECONDS)

    async def _to(self, at: Micros) -> None:
        self._clock.check(at)
        while (due := await self._stillness.settle()) is not None and due <= at:
            self._clock.move(due)
        self._clock.move(at)
