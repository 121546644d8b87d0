"""What a test has in its hands: the clock, and the certainty that all that could happen has happened."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime

from motet.app import App
from motet.errors import WrongPlace
from motet.model.clock import Duration, as_datetime, from_datetime, micros
from motet.orchestration.attempt import current_attempt
from motet.orchestration.timing import END_OF_TIME
from motet.runtime.worker import Worker
from motet.testing.clock import VirtualClock
from motet.testing.stillness import Stillness, heard

log = logging.getLogger("motet.testing")

FOLLOW_SECONDS = 0.25


class Kit:
    """Virtual time for the apps of one `virtual(...)` block.

    Args:
        store: the address of the store, for whoever wants to look into it.
    """

    def __init__(
        self, apps: Sequence[App], clock: VirtualClock, workers: Sequence[Worker], store: str, patience_seconds: float
    ) -> None:
        self.store = store
        self._clock = clock
        self._timers = workers[0].timers
        self._stillness = Stillness(workers, clock, patience_seconds)
        self._written = apps[0].client.listen()
        self._moving = asyncio.Lock()

    @property
    def now(self) -> datetime:
        """What time it is, in UTC."""
        return as_datetime(self._clock.now())

    async def idle(self) -> None:
        """Wait until nothing can happen without time passing. Steps that are at work are awaited in real time."""
        self._refuse_in_step("idle")
        async with self._moving:
            await self._stillness.settle()

    async def advance(self, by: Duration) -> None:
        """Move the clock, through everything that falls due on the way, each at its time and in order of time.

        Before each move all that can happen happens; when this returns, the apps are idle at the new time.

        Args:
            by: a timedelta, or seconds.

        Raises:
            ValueError: into the past, or beyond the year 9999.
            WrongPlace: called by a step, for whose end it would wait.
        """
        self._refuse_in_step("advance")
        async with self._moving:
            await self._move(self._clock.now() + micros(by))

    async def advance_to(self, at: datetime) -> None:
        """As `advance`, to a point in time. Raises what `advance` raises; ValueError: `at` has no time zone."""
        self._refuse_in_step("advance_to")
        async with self._moving:
            await self._move(from_datetime(at))

    async def sleep(self, duration: Duration) -> None:
        """Let virtual time pass inside a step, or in what stands in for a service that the step calls: "the bank takes
        a minute to answer". The clock does not wait for a step that sleeps like this."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        attempt = current_attempt.get()
        key = attempt.key if attempt is not None else ""
        sleeping = self._stillness.sleeping
        sleeping[key] += 1
        awake = False

        def wake() -> None:
            nonlocal awake
            if not awake:
                awake = True
                sleeping[key] -= 1  # at once and not when the step goes on: from here on, the clock waits for it
            if not future.done():
                future.set_result(None)

        timer = self._timers.at(self._clock.now() + micros(duration), wake)
        try:
            await future
        finally:
            timer.cancel()
            wake()

    async def follow(self) -> None:
        """Whenever the apps are idle, move the clock to what is due next; ends by being cancelled."""
        while True:
            self._written.clear()
            async with self._moving:
                due = await self._stillness.settle()
                if due is not None and due < END_OF_TIME:
                    self._clock.move(due)
                    continue
            await heard(self._written, FOLLOW_SECONDS)

    async def _move(self, to: int) -> None:
        self._clock.check(to)
        while (due := await self._stillness.settle()) is not None and due <= to:
            self._clock.move(due)
        self._clock.move(to)

    def _refuse_in_step(self, verb: str) -> None:
        if current_attempt.get() is not None:
            raise WrongPlace(f"kit.{verb}() waits until no step is at work, so a step cannot call it; use kit.sleep()")
