"""Noticing that somebody has written to the store: the store hints, and a look tells, at a few microseconds each.

Where others tell what they have committed, that is as good as a look. Since they may not come to it, the first silence
is followed by one.
"""

from __future__ import annotations

import asyncio
import logging

from motet.errors import StoreError
from motet.store.protocol import Store

log = logging.getLogger("motet.worker")

BUSY_SECONDS = 0.005
AWAY_SECONDS = 0.25


class Pulse:
    """Wakes whoever waits for a change."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: set[asyncio.Event] = set()

    def listen(self) -> asyncio.Event:
        """An event that is set at every change; the listener clears it."""
        event = asyncio.Event()
        self._listeners.add(event)
        return event

    def ring(self) -> None:
        """Wake everybody now."""
        for event in self._listeners:
            event.set()

    async def run(self) -> None:
        """The pulse's task; ends by being cancelled."""
        while True:
            try:
                if await self._store.changed():
                    self.ring()
                    await asyncio.sleep(BUSY_SECONDS)  # tidy: under load every commit is a change
                while await self._store.hint():
                    self.ring()
                    await asyncio.sleep(BUSY_SECONDS)  # tidy: under load every commit is a change
            except StoreError:
                await asyncio.sleep(AWAY_SECONDS)  # tidy: the store is away
