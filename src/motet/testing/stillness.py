"""When nothing can happen without time passing.

    still:  no attempt is at work, nothing is on its way to the disk,
            no part of a worker finds anything to do in the store, and no timer is due

Attempts are real work, and real work takes real time: as long as one is at work the clock stands. One that is at work
for too long is taken to hang, and what follows from that is a matter of its timeout, which is virtual time again.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence

from motet.model.clock import Micros, micros
from motet.runtime.attempts import Running
from motet.runtime.overdue import Timed
from motet.runtime.timers import Timer, Timers
from motet.runtime.worker import Worker
from motet.testing.clock import VirtualClock

log = logging.getLogger("motet.testing")

LOOK_SECONDS = 0.005
LONG_SECONDS = 3_600.0


class Sleeping:
    """Which attempts wait for virtual time themselves: by their keys, with one nap for each place where they do."""

    def __init__(self) -> None:
        self._naps: dict[int, str] = {}
        self._count = 0

    def keys(self) -> set[str]:
        return set(self._naps.values())

    def begin(self, key: str) -> int:
        self._count += 1
        self._naps[self._count] = key
        return self._count

    def end(self, nap: int) -> None:
        """A second time changes nothing."""
        self._naps.pop(nap, None)


class Stillness:
    """Waits for it, in all of the kit's workers at once.

    Args:
        patience_seconds: for how much real time an attempt is believed to be at work.
    """

    def __init__(self, workers: Sequence[Worker], clock: VirtualClock, patience_seconds: float) -> None:
        self.sleeping = Sleeping()
        self._workers = workers
        self._clock = clock
        self._patience = patience_seconds
        self._since: dict[Running, float] = {}
        self._stirred = asyncio.Event()
        for worker in workers:
            worker.attempts.limits = VirtualLimits(worker.timers, clock, self._stirred)

    async def settle(self) -> Micros | None:
        """Wait until all is still; returns when something is due next, which is later than now, or None."""
        while True:
            self._stirred.clear()
            if self._at_work():
                await heard(self._stirred, LOOK_SECONDS)
                continue
            for worker in self._workers:
                await worker.committer.flushed(LONG_SECONDS)
            if any(self._is_due(worker.timers.next_due()) for worker in self._workers):
                for worker in self._workers:
                    worker.timers.look()
                continue
            written = self._written()
            dues, busy = await self._ask_parts()
            if written != self._written() or not self._quiet():
                continue  # while the parts were asked, something has happened
            if busy:
                await heard(self._stirred, LOOK_SECONDS)
                continue
            dues += [due for worker in self._workers if (due := worker.timers.next_due()) is not None]
            return min(dues, default=None)

    def _is_due(self, at: Micros | None) -> bool:
        return at is not None and at <= self._clock.now()

    async def _ask_parts(self) -> tuple[list[Micros], bool]:
        """When things in the stores are due, and whether some are now."""
        dues: list[Micros] = []
        busy = False
        for worker in self._workers:
            for part in worker.parts:
                outlook = await part.outlook()
                due = outlook.next_due
                if outlook.busy or self._is_due(due):
                    busy = True
                    part.look()
                elif due is not None:
                    dues.append(due)
        return dues, busy

    def _quiet(self) -> bool:
        if self._at_work() or not all(worker.committer.quiet for worker in self._workers):
            return False
        return not any(self._is_due(worker.timers.next_due()) for worker in self._workers)

    def _written(self) -> list[int]:
        return [worker.committer.batch for worker in self._workers]

    def _at_work(self) -> bool:
        """Whether an attempt is at work that is not taken to hang, and does not wait for the clock itself."""
        now = self._clock.monotonic()
        before, self._since = self._since, {}
        sleeping = self.sleeping.keys()
        busy = False
        for worker in self._workers:
            for running in worker.attempts.running:
                if running.attempt.key in sleeping:
                    continue
                since = self._since[running] = before.get(running, now)
                limit = self._patience if running.timeout is None else min(self._patience, running.timeout)
                if running.timed_out or now - since < limit:  # who has run out of time is about to end
                    busy = True
                elif since > -math.inf:
                    self._give_up(running, limit)
        return busy

    def _give_up(self, running: Running, seconds: float) -> None:
        self._since[running] = -math.inf
        log.warning(
            "step %s of run '%s' has been at work for %g s and is taken to hang: virtual time goes on without it "
            "(if it is only slow: virtual(..., patience=...))",
            running.attempt.step, running.attempt.run, seconds,
        )  # fmt: skip


class VirtualLimits:
    """Time limits of attempts in virtual time."""

    def __init__(self, timers: Timers, clock: VirtualClock, stirred: asyncio.Event) -> None:
        self._timers = timers
        self._clock = clock
        self._stirred = stirred
        self._alarms: dict[Timed, Timer] = {}

    def add(self, timed: Timed, seconds: float) -> None:
        self._alarms[timed] = self._timers.at(self._clock.now() + micros(seconds), timed.time_out)

    def discard(self, timed: Timed, seconds: float) -> None:
        alarm = self._alarms.pop(timed, None)
        if alarm is not None:
            alarm.cancel()
        self._stirred.set()

    def close(self) -> None:
        for alarm in self._alarms.values():
            alarm.cancel()
        self._alarms.clear()


async def heard(event: asyncio.Event, seconds: float) -> None:
    """Wait for it, at most so long in real time."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
