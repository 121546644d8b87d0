"""Runs that hear one word after the other while somebody says them: each wait meets its event on the way.

Who waits and who speaks know nothing of each other, so words come before, after and just while the wait for them is
written. Whichever it was, a run hears what was said to it in the order of the log, and leaves out nothing. This comes
only in campaigns that name it (`--kinds hear`); the waits of the loose edges are in `edges/`.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict

from tests.chaos.asking import Base
from tests.chaos.saying import some
from tests.chaos.workload import SAID, WORDS, app

HEAR = "hear"
PAUSE_SECONDS = 0.8


async def speak(whom: str, chance: random.Random) -> None:
    """All words for this run, at times of their own."""
    for number in range(WORDS):
        await asyncio.sleep(chance.uniform(0, PAUSE_SECONDS))  # tidy: whoever speaks does so when they like
        await app.publish(SAID, {"number": number}, key=whom)


def wrong(base: Base) -> list[str]:
    """What runs have heard otherwise than it was said. (That they have ended at all is everybody's check.)"""
    said: dict[str, list[int]] = defaultdict(list)
    for whom, position in base.ask("SELECT subject, position FROM event WHERE type = ? ORDER BY position", SAID):
        said[whom].append(position)
    ended = base.ask("SELECT id, result FROM run WHERE workflow = ? AND state = 'completed'", f"chaos/{HEAR}")
    otherwise = (
        f"{id} heard {json.loads(result)} of {said[id]}" for id, result in ended if json.loads(result) != said[id]
    )
    return [f"hearing: {words}" for words in some("runs have not heard what was said", otherwise)]
