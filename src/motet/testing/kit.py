"""What a test has in its hands: the clock, and the certainty that all that could happen has happened."""

from __future__ import annotations

import asyncio
from datetime import datetime

from motet.errors import WrongPlace
from motet.model.clock import Duration, as_datetime, from_datetime, micros
from motet.orchestration.attempt import current_attempt
from motet.runtime.timers import Timers
from motet.testing.clock import VirtualClock
from motet.testing.motion import Motion
from motet.testing.stillness import Sleeping


class Kit:
    """Virtual time for the apps of one `virtual(...)` block.

    Args:
        store: the address of the store, for whoever wants to look into it.
    """

    def __init__(self, store: str, clock: VirtualClock, motion: Motion, timers: Timers, sleeping: Sleeping) -> None:
        self.store = store
        self._clock = clock
        self._motion = motion
        self._timers = timers
        self._sleeping = sleeping

    @property
    def now(self) -> datetime:
        """What time it is, in UTC."""
        return as_datetime(self._clock.now())

    async def idle(self) -> None:
        """Wait until nothing can happen without time passing. Steps that are at work are awaited in real time.

        Raises:
            WrongPlace: called by a step, for whose end it would wait.
        """
        _refuse_in_step("idle")
        await self._motion.rest()

    async def advance(self, by: Duration) -> None:
        """Move the clock, through everything that falls due on the way, each at its time and in order of time.

        Before each move all that can happen happens. When this returns, the apps are idle at the new time.

        Args:
            by: a timedelta, or seconds.

        Raises:
            ValueError: into the past, or beyond the year 9999.
            WrongPlace: called by a step, for whose end it would wait.
        """
        _refuse_in_step("advance")
        await self._motion.by(micros(by))

    async def advance_to(self, at: datetime) -> None:
        """As `advance`, to a point in time. Raises what `advance` raises; ValueError: `at` has no time zone."""
        _refuse_in_step("advance_to")
        await self._motion.to(from_datetime(at))

    async def sleep(self, duration: Duration) -> None:
        """Let virtual time pass inside a step, or in what stands in for a service that the step calls: "the bank takes
        a minute to answer". The clock moves on without a step that sleeps like this.

        Args:
            duration: a timedelta, or seconds.
        """
        attempt = current_attempt.get()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        nap = self._sleeping.begin(attempt.key if attempt is not None else "")

        def wake() -> None:
            self._sleeping.end(nap)  # now, and not when the step goes on: from here on the clock waits for it
            if not future.done():
                future.set_result(None)

        timer = self._timers.at(self._clock.now() + micros(duration), wake)
        try:
            await future
        finally:
            timer.cancel()
            self._sleeping.end(nap)


def _refuse_in_step(verb: str) -> None:
    if current_attempt.get() is not None:
        raise WrongPlace(
            f"kit.{verb}() waits until no step is at work, so a step cannot call it; kit.sleep() lets time pass there"
        )
