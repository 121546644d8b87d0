"""Keeping replies back: how the demo makes a moment in which work is done outside and nobody has been told.

    open --(armed, enough attempts)--> withholding --(release)--> open

While withholding, the ledger works and writes as ever and says nothing to those who charge, enroll or undo that.
Whoever armed it is told when enough purchases stand there unanswered. That is the moment to kill a worker in.
"""

import asyncio
from dataclasses import dataclass

from .entries import Attempt


@dataclass(frozen=True, slots=True)
class Plan:
    """Withhold once `after` attempts have come in; enough is `purchases` waiting, with `effects` done and
    untold."""

    after: int
    purchases: int
    effects: int


class Withholding:
    """The state of the gate, and what stands behind it. `active` tells whether replies are kept back now."""

    def __init__(self) -> None:
        self.active = False
        self._plan: Plan | None = None
        self._purchases: set[str] = set()
        self._effects: set[str] = set()
        self._enough = asyncio.Event()
        self._released = asyncio.Event()

    @property
    def purchases(self) -> int:
        """How many purchases wait for a reply that is withheld."""
        return len(self._purchases)

    @property
    def effects(self) -> int:
        """How many effects were done with nobody told."""
        return len(self._effects)

    def arm(self, plan: Plan) -> None:
        """Set when to begin. A new plan replaces one that has not begun."""
        self._plan = plan
        self._enough.clear()

    def begins_at(self, attempts: int) -> bool:
        """Begin if the plan's time has come; tell whether this call began it."""
        if self.active or self._plan is None or attempts < self._plan.after:
            return False
        self.active = True
        self._released.clear()
        return True

    def note(self, attempt: Attempt) -> None:
        """Count a durable attempt whose reply is withheld."""
        self._purchases.add(attempt.purchase)
        self._effects.update(effect.id for effect in attempt.effects)
        plan = self._plan
        if plan is not None and self.purchases >= plan.purchases and self.effects >= plan.effects:
            self._enough.set()

    async def enough(self) -> None:
        """Return when as much is withheld as the plan asks for."""
        await self._enough.wait()

    def release(self) -> None:
        """Let all replies go that are kept back, and keep back no more."""
        self.active = False
        self._plan = None
        self._purchases.clear()
        self._effects.clear()
        self._released.set()

    async def until_released(self) -> None:
        """Return when the replies may go."""
        await self._released.wait()
