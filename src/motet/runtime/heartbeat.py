"""A worker's counter moves although it writes nothing, and although its event loop is busy: a thread sees to it.

    a batch was written lately     nothing to do: each batch moves the counter
    idle, the loop ticks           beat
    idle, the loop is held up      beat: a step that blocks the loop must not cost the worker its runs
    ... for HUNG_SECONDS           no beat: a loop that never comes back has to be found out, and its runs move

Who is told by a beat that it has been buried has lost its lease, as with a batch.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from motet.errors import StoreError
from motet.model.clock import Clock
from motet.store.protocol import Owning

log = logging.getLogger("motet.worker")

HUNG_SECONDS = 60.0
BEATS_PER_LEASE = 6

Standing = tuple[int | None, int]
"""Who the process is registered as, and the number of its last batch."""


class Heartbeat:
    """Made on the event loop that it watches.

    Args:
        standing: read from the heart's own thread.
        lost: called on the event loop with the worker that has been buried.
    """

    def __init__(
        self, store: Owning, clock: Clock, lease_seconds: float, standing: Callable[[], Standing],
        lost: Callable[[int], None],
    ) -> None:  # fmt: skip
        self._store = store
        self._clock = clock
        self._every = lease_seconds / BEATS_PER_LEASE
        self._standing = standing
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._ticked = clock.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="motet-heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def tick(self) -> None:
        """The event loop lives."""
        self._ticked = self._clock.monotonic()

    def stop(self) -> None:
        """No beat begins after this."""
        self._stopped.set()

    def _run(self) -> None:
        seen = self._standing()
        hung = False
        with asyncio.Runner() as runner:
            while not self._stopped.wait(self._every):
                before, seen = seen, self._standing()
                held_up = self._clock.monotonic() - self._ticked
                if held_up >= HUNG_SECONDS:
                    if not hung:
                        log.error("the event loop has been held up for %.0f s; other workers may take over", held_up)
                    hung = True
                    continue
                hung = False
                if seen == before and seen[0] is not None:
                    runner.run(self._beat(seen[0]))

    async def _beat(self, worker: int) -> None:
        try:
            alive = await self._store.beat(worker)
        except StoreError:
            return  # the store is away: nobody can bury anybody
        if not (alive or self._stopped.is_set()):
            self._loop.call_soon_threadsafe(self._lost, worker)
