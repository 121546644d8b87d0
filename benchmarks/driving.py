"""Keeps a number of purchases in flight for some seconds, in one process that is client and worker."""

import asyncio
import itertools
import sys
import time
from collections.abc import Callable

from benchmarks import meters
from benchmarks.frame import Found, percentile, say
from benchmarks.purchase import a_purchase, shop

Hook = Callable[[], None]


def _nothing() -> None:
    pass


class Crowd:
    """Customers who each buy one thing after the other."""

    def __init__(self, store: str, name: str = "purchase") -> None:
        self.app, self.workflow = shop(store)
        self._name = name
        self.ended: list[tuple[float, float]] = []  # (when, how long it took)
        self.commits: list[tuple[float, int, float]] = []  # (when, rows, seconds)
        self._numbers = itertools.count(1)
        self._open = True
        self.app.hooks.batch_committed(self._committed)

    def _committed(self, _units: int, rows: int, seconds: float) -> None:
        self.commits.append((time.perf_counter(), rows, seconds))

    async def customer(self) -> None:
        clock = time.perf_counter
        while self._open:
            number = next(self._numbers)
            began = clock()
            run = await self.app.start(self.workflow, a_purchase(str(number)), id=f"{self._name}-{number}")
            await run.result()
            now = clock()
            self.ended.append((now, now - began))

    async def drive(
        self, in_flight: int, warm_up: float, seconds: float, begin: Hook = _nothing, end: Hook = _nothing
    ) -> Found:
        """Raises whatever a run raises: then nothing was measured."""
        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(self.customer())
            await asyncio.sleep(warm_up)
            watch = meters.Stopwatch()
            begin()
            began = time.perf_counter()
            await asyncio.sleep(seconds)
            # Where the disk stands still, the window is as long as it takes.
            while not self._ended_since(began):  # noqa: ASYNC110 - a look ten times a second is all it needs
                await asyncio.sleep(0.1)
            ended = time.perf_counter()
            end()
            used = watch.read()
            self._open = False
        return self._found(began, ended) | {"used": used}

    def _ended_since(self, began: float) -> bool:
        return bool(self.ended) and self.ended[-1][0] >= began and bool(self.commits) and self.commits[-1][0] >= began

    def _found(self, began: float, ended: float) -> Found:
        took = [long for when, long in self.ended if began <= when < ended]
        commits = [(rows, long) for when, rows, long in self.commits if began <= when < ended]
        wall = ended - began
        return {
            "runs": len(took),
            "runs_per_second": len(took) / wall,
            "p50_ms": percentile(took, 50) * 1000,
            "p99_ms": percentile(took, 99) * 1000,
            "commits_per_second": len(commits) / wall,
            "rows_per_commit": sum(rows for rows, _ in commits) / max(1, len(commits)),
            "rows_per_run": sum(rows for rows, _ in commits) / max(1, len(took)),
            "commit_p50_ms": percentile([long for _, long in commits], 50) * 1000,
            "committing_share": sum(long for _, long in commits) / wall,
        }


async def drive(given: Found) -> Found:
    """The probe: `store`, `in_flight`, `warm_up`, `seconds`; with `name`, one of several, who wait for each other."""
    crowd = Crowd(given["store"], given.get("name", "purchase"))
    async with crowd.app.worker():
        if "name" in given:
            say({"ready": True})
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        found = await crowd.drive(given["in_flight"], given["warm_up"], given["seconds"])
    memory = meters.memory()
    return found | {"peak_mb": memory[1] if memory is not None else None}
