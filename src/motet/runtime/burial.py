"""A worker looks for others that are dead, and declares them so: what they drove is free then.

Who is dead is `liveness.py`'s to tell; that nobody is buried who has moved meanwhile is the store's (compare-and-set on
the counter). The log says why, since nobody else can say so afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from motet.runtime.liveness import Watch, is_dead
from motet.store.protocol import Owning

log = logging.getLogger("motet.worker")

GONE: Final = "process gone"
STILL: Final = "counter still for a lease"


async def bury_dead(store: Owning, watch: Watch, who: Callable[[], int | None]) -> bool:
    """Look once; whether anybody was buried.

    Args:
        who: as whom this process is registered now, if it is.

    Raises:
        StoreError.
    """
    workers, me = await store.workers(), who()
    others = [worker for worker in workers if worker.id != me]
    own = next((worker for worker in workers if worker.id == me), None)
    gone = [worker for worker in others if is_dead(worker, shared=store.shared)]
    still = watch.still([worker for worker in others if worker not in gone], own)
    found = False
    for why, dead in ((GONE, gone), (STILL, still)):
        for worker in dead:
            if await store.bury(worker.id, worker.counter):
                log.warning("worker %s (%d) is dead: %s; its runs are taken over", worker.name, worker.id, why)
                found = True
    return found
