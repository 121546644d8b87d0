"""A run's own chance: seeded by its identity, so that it is the same in replay.

A rerun draws what the run drew whose history it keeps, for as long as it is in that part: its steps have been called
with those numbers. Behind it, its chance is its own.
"""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING

from motet.model.identity import effect_key

if TYPE_CHECKING:
    from motet.orchestration.machine import Identity


class Chance:
    """Where a machine draws from."""

    __slots__ = ("_generator", "_identity", "_until")

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._generator = random.Random()
        self._until = -1

    def at(self, position: int) -> random.Random:
        """The generator for drains behind this position, which only grows."""
        if position > self._until:
            who = self._identity
            kept = next((part for part in who.kept if position <= part.position), None)
            uid, generation = (who.uid, who.generation) if kept is None else (kept.uid, kept.generation)
            self._until = sys.maxsize if kept is None else kept.position
            self._generator = random.Random(effect_key(uid, generation, "random"))
        return self._generator
