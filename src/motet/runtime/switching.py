"""The interpreter lock, handed over sooner while a worker runs.

The store's writing thread needs the lock for a moment between any two of its statements, and while a batch is told the
event loop does not let go of it. With the interpreter's default each of these moments costs 5 ms: a batch then waits
until the loop has nothing left to do, and the loop waits for the batch. Measured, that was a tenth of a worker's speed.
A program that has set an interval of its own keeps it.
"""

from __future__ import annotations

import sys

_DEFAULT = 0.005

INTERVAL = 0.0005


class Switching:
    """Changes the interval at `start`, and puts it back at `stop`."""

    def __init__(self) -> None:
        self._changed = False

    def start(self) -> None:
        if sys.getswitchinterval() == _DEFAULT:
            self._changed = True
            sys.setswitchinterval(INTERVAL)

    def stop(self) -> None:
        changed, self._changed = self._changed, False
        if changed and sys.getswitchinterval() == INTERVAL:
            sys.setswitchinterval(_DEFAULT)
