"""What a worker's parts have to do, now and next. Whoever moves a clock by hand asks all of them.

In production nobody asks: each part finds its own work and wakes up by itself when something is due.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from motet.model.clock import Micros


class Outlook(NamedTuple):
    """What lies ahead of one part.

    Args:
        busy: there is something to do that no time has to pass for.
        next_due: when time alone will bring something to do; None: never.
    """

    busy: bool
    next_due: Micros | None = None


class Part(Protocol):
    """Something in a worker that finds its work in the store.

    What is due in memory needs no part of its own, if it is one of the worker's timers.
    """

    async def outlook(self) -> Outlook:
        """Read from the store what there is to do at this time of the clock, without doing it."""
        ...

    def look(self) -> None:
        """Look for work soon: the clock was moved, or there is something to do."""
        ...
