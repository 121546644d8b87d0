"""Noticing that somebody else has written to the store: asked every few milliseconds, at a few microseconds each."""

from __future__ import annotations

import asyncio
import logging

from motet.errors import StoreError
from motet.store.protocol import Store

log = logging.getLogger("motet.worker")

TICK_SECONDS = 0.005
QUIET_TICK_SECONDS = 0.01
QUIET_AFTER_TICKS = 200
AWAY_SECONDS = 0.25


class Pulse:
    """Wakes whoever waits for a change, and at the latest after the poll interval."""

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
        still = 0
        while True:
            try:
                if await self._store.changed():
                    still = 0
                    self.ring()
                still += 1
                # An idle process should cost next to nothing.
                seconds = TICK_SECONDS if still < QUIET_AFTER_TICKS else QUIET_TICK_SECONDS
                await asyncio.sleep(seconds)  # tidy: this is the poll
            except StoreError:
                await asyncio.sleep(AWAY_SECONDS)  # tidy: the store is away
