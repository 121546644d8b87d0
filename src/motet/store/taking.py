"""Runs that were claimed, with all that their owner needs to go on; and how to come by it one verb after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from motet.model.history import Recorded
from motet.model.run import Run
from motet.store.mutations import PutInbox


class Taken(NamedTuple):
    """What `take` gives.

    Args:
        histories: by uid, the facts of their generations in order; none of a run that nobody has driven before.
        inbox: what waits for them, oldest first; perhaps with what waits for others of the worker's.
    """

    runs: list[Run]
    histories: dict[str, list[Recorded]]
    inbox: list[PutInbox]


class _Read(Protocol):
    """The verbs that it takes."""

    async def histories(self, runs: Sequence[tuple[str, int]]) -> dict[str, list[Recorded]]: ...

    async def inbox(self, worker: int) -> list[PutInbox]: ...


def driven_before(claimed: Sequence[Run]) -> list[tuple[str, int]]:
    """Of runs that were claimed just now: those that may have a history, for the owner is not their first. A rerun
    begins with one."""
    return [
        (run.uid, run.generation)
        for run in claimed
        if run.epoch != 1 or run.generation != 1 or run.origin is not None
    ]  # fmt: skip


async def with_histories(store: _Read, worker: int, claimed: list[Run]) -> Taken:
    """What is to be known of runs that were claimed just now. Raises StoreError."""
    if not claimed:
        return Taken([], {}, [])
    older = driven_before(claimed)
    histories = await store.histories(older) if older else {}
    return Taken(claimed, histories, await store.inbox(worker))
