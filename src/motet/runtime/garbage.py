"""The garbage collector, less eager while a worker runs.

A run in memory is a few hundred objects, nearly all of them freed by reference counting. With the interpreter's
default threshold the collector walks all young objects after every 700 new ones; measured, that was a fifth of a
worker's time. A program that has set thresholds of its own keeps them.
"""

from __future__ import annotations

import gc

_DEFAULTS = (700, 2000)
"""The first threshold of CPython 3.11 and 3.12, and of 3.13 and later."""

THRESHOLDS = (100_000, 20, 50)
"""A thousand runs in flight come and go in waves of more than 50,000 objects."""


class Garbage:
    """Changes the thresholds at `start`, and puts them back at `stop`."""

    def __init__(self) -> None:
        self._before: tuple[int, int, int] | None = None

    def start(self) -> None:
        before = gc.get_threshold()
        if before[0] in _DEFAULTS:
            self._before = before
            gc.set_threshold(*THRESHOLDS)

    def stop(self) -> None:
        before, self._before = self._before, None
        if before is not None and gc.get_threshold() == THRESHOLDS:
            gc.set_threshold(*before)
