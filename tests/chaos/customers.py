"""The campaign's customers: they start runs, wait for their ends, and now and then change their minds."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

from motet import RunBlocked, RunHandle
from motet.errors import MotetError
from tests.chaos.hearing import HEAR, speak
from tests.chaos.plan import Plan
from tests.chaos.workload import Order, Refused, app

MOST_OPEN = 300

KINDS: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("purchase", 40, ("", "", "", "pay:refused", "pay:flaky", "pay:lost", "enroll:refused", "enroll:refused",
                      "enroll:flaky", "enroll:lost", "enroll:always_lost", "slow")),
    ("impatient", 8, ("",)),
    ("race", 12, ("",)),
    ("nap", 8, ("",)),
    ("rounds", 6, ("",)),
    ("family", 10, ("", "enroll:refused")),
    ("careful", 10, ("",)),
    ("again", 6, ("pay:refused_once",)),
)  # fmt: skip
"""The workflows, how often each is started, and what may befall its effects."""
NAMED_ONLY: tuple[tuple[str, int, tuple[str, ...]], ...] = ((HEAR, 10, ("",)),)
"""The same, of those that come only in campaigns that name them."""


class Customers:
    """Of one campaign.

    Args:
        accepted: the runs that were started, by id, with their workflows.
    """

    def __init__(self, plan: Plan, chance: random.Random, accepted: dict[str, str]) -> None:
        self.open = 0
        self.cancels = 0
        self.going = True
        self._plan = plan
        self._chance = chance
        self._accepted = accepted
        self._started = 0
        self._there: set[asyncio.Task[None]] = set()

    async def come(self) -> None:
        """A little faster than the plan needs, as long as not too many are open."""
        pace = self._plan.seconds / self._plan.runs * 0.8
        while self.going:
            if self.open < MOST_OPEN:
                customer = asyncio.create_task(self._buy(self._started))
                self._started += 1
                self._there.add(customer)
                customer.add_done_callback(self._there.discard)
            await asyncio.sleep(self._chance.expovariate(1 / pace))  # tidy: customers come as they like

    async def _buy(self, number: int) -> None:
        named = self._plan.kinds
        kinds = [kind for kind in (*KINDS, *NAMED_ONLY) if kind[0] in named] if named else KINDS
        kind, _, troubles = self._chance.choices(kinds, [weight for _, weight, _ in kinds])[0]
        order = Order(f"{kind}-{number}", self._chance.choice(troubles), self._chance.uniform(0.2, 3), number % 3)
        regrets = self._chance.uniform(0, 1) if self._chance.random() < 0.08 else None
        self.open += 1
        speaking: asyncio.Task[None] | None = None
        try:
            run = await app.start(kind, order, id=order.id)
            self._accepted[order.id] = kind
            if kind == HEAR:
                speaking = asyncio.create_task(speak(order.id, self._chance))
            with contextlib.suppress(MotetError, Refused):
                if regrets is not None:
                    await asyncio.sleep(regrets)  # tidy: the customer thinks it over
                    await run.cancel(reason="changed my mind")
                    self.cancels += 1
                await self._end_of(run)
        finally:
            self.open -= 1
            if speaking is not None:
                speaking.cancel()

    async def _end_of(self, run: RunHandle[Any]) -> None:
        """Wait for it, also while a person has to help."""
        while True:
            try:
                await run.result()
                return
            except RunBlocked:
                await asyncio.sleep(0.5)  # tidy: until the customer asks again

    async def gone(self) -> None:
        """Until nobody is there any more."""
        while self._there:
            await asyncio.wait(set(self._there))

    async def send_home(self) -> None:
        """Whoever still waits."""
        for customer in list(self._there):
            customer.cancel()
        await asyncio.gather(*self._there, return_exceptions=True)
