"""When is all over, where nobody owns anything? When nothing is left to be done.

Asked of the store through the client, as anybody may: no run is under way, every reaction has come to the end of the
log and has nothing that it would try again, and nothing is expected any more.
"""

import asyncio
from collections.abc import Callable

from motet import App
from motet.model.clock import SYSTEM

LOOK_SECONDS = 0.05
AT_REST = ("blocked", "completed", "failed", "cancelled")


async def is_settled(app: App) -> bool:
    """Whether nothing is left to be done."""
    store = app.client.store
    under_way = (await store.open_runs(SYSTEM.now())).states
    if any(count for state, count in under_way.items() if state not in AT_REST):
        return False
    for reaction in await app.reaction_status():
        if reaction.behind or reaction.retrying or reaction.waiting or reaction.running:
            return False
    return not any(states.get("open") for states in (await store.expected_counts()).values())


async def settle(app: App, alive: Callable[[], object], patience: float) -> bool:
    """Wait until nothing is left to be done; give up when `alive` has said the same for so many seconds."""
    loop = asyncio.get_running_loop()
    said, at = alive(), loop.time()
    while not await is_settled(app):
        if alive() != said:
            said, at = alive(), loop.time()
        if loop.time() - at > patience:
            return False
        await asyncio.sleep(LOOK_SECONDS)  # tidy: between two looks
    return True
