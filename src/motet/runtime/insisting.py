"""Beginning anew what has not happened because the store was away: that costs no attempt.

Nothing of it was committed; who is not sure of that asks the store first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from motet.errors import LeaseLost, StoreError
from motet.runtime.committer import FIRST_WAIT, LONGEST_WAIT

T = TypeVar("T")

log = logging.getLogger("motet.worker")

STRIKES = 3
"""So often in a row a function may lose its connection before that is taken for its own fault."""


class Away(Exception):
    """Nothing was committed, and the store is to blame.

    Args:
        begun: whether the function was at work: it may be to blame itself.
    """

    def __init__(self, error: BaseException, *, begun: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.begun = begun


async def insist(attempt: Callable[[], Awaitable[T]], what: str) -> T:
    """Until it is not away any more. Raises what `attempt` raises."""
    wait, strikes = FIRST_WAIT, 0
    while True:
        try:
            return await attempt()
        except Away as away:
            strikes = strikes + 1 if away.begun else 0
            if strikes >= STRIKES:
                raise away.error from None
            if wait == FIRST_WAIT:
                log.warning("%s; %s begins again", away.error, what)
        await asyncio.sleep(wait)  # tidy: the store is away
        wait = min(wait * 2, LONGEST_WAIT)


async def learn(question: Callable[[], Awaitable[T]]) -> T:
    """The store's answer, however long that takes. Raises LeaseLost."""
    wait = FIRST_WAIT
    while True:
        try:
            return await question()
        except LeaseLost:
            raise
        except StoreError as error:
            log.debug("%s", error)
        await asyncio.sleep(wait)  # tidy: the store is away
        wait = min(wait * 2, LONGEST_WAIT)
