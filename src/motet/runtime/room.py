"""How many runs of each queue a worker has in memory, so that those of one queue leave room for those of others."""

from __future__ import annotations

from motet.model.run import Run


class Room:
    """Up to `limit` runs of each queue. What others wait for in the store is taken when there is room again."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside: dict[str, set[str]] = {}

    def has(self, queue: str) -> bool:
        """Whether there is room for one more."""
        return len(self._inside.get(queue, ())) < self._limit

    def take(self, run: Run) -> None:
        """It comes in, or is about to; a second time changes nothing."""
        inside = self._inside.get(run.queue)
        if inside is None:
            self._inside[run.queue] = {run.uid}
        else:
            inside.add(run.uid)

    def leave(self, run: Run) -> None:
        """It is gone, or does not come in after all."""
        inside = self._inside.get(run.queue)
        if inside is not None:
            inside.discard(run.uid)

    def inside(self) -> set[str]:
        """The uids of all that are in, or about to come in."""
        return {uid for inside in self._inside.values() for uid in inside}

    def full(self) -> list[str]:
        """The queues of which no more may come in."""
        return [queue for queue, inside in self._inside.items() if len(inside) >= self._limit]
