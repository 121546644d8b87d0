"""Deliveries that may be what kills the process: one by one, in one line with the suspects among the runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from motet.choreography.window import Delivery
from motet.model.delivery import DeliveryRow
from motet.runtime.suspects import TURN_SECONDS, Turn

if TYPE_CHECKING:
    from motet.runtime.reacting.reader import Reader

SUSPECT_CRASHES = 2
KILLER_CRASHES = 3


def is_killer(row: DeliveryRow, crashes: int) -> bool:
    """Whether its process has died since it was accused. `crashes`: how often the reaction's owners have died."""
    return row.state == "running" and 0 < row.crashes < crashes >= KILLER_CRASHES


@asynccontextmanager
async def accused(reader: Reader, delivery: Delivery) -> AsyncGenerator[None, None]:
    """Wait for its turn and record that it begins; when it ends, or takes long and another waits, the turn is over."""
    worker, records = reader.house.worker, reader.records
    line, limits = worker.suspects, worker.attempts.limits
    begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def begin() -> bool:
        if begun.done():  # nobody waits any more
            return False
        begun.set_result(None)
        return True

    def give_up() -> None:
        if not reader.reaction.transaction:  # else nobody can write anything meanwhile, and nobody can be accused
            records.absolve(delivery)
            line.leave(turn)

    turn = Turn(line, begin, give_up, reader.name)
    line.ask(turn)
    try:
        await begun
        await records.accuse(delivery)
        limits.add(turn, TURN_SECONDS)
        yield
    finally:
        limits.discard(turn, TURN_SECONDS)
        line.leave(turn)
