"""One campaign: a client, workers, faults of all kinds for a while; then quiet, and the checks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from motet.errors import MotetError
from tests.chaos import hearing, ledger, workload
from tests.chaos.asking import Base, SqliteBase
from tests.chaos.burials import Burials
from tests.chaos.checks import blocked, broken, find
from tests.chaos.customers import Customers
from tests.chaos.edges import checks as edges
from tests.chaos.edges.client import EdgeClient
from tests.chaos.edges.workload import BOOK, EDGES, LAST_EDITION, declare
from tests.chaos.faults.clock import FakeClock
from tests.chaos.faults.disk import SmallDisk
from tests.chaos.faults.fsync import FailingFsync
from tests.chaos.faults.preload import merge
from tests.chaos.faults.stranger import Stranger
from tests.chaos.plan import Plan
from tests.chaos.workers import ROOT, SLOT, Workers
from tests.chaos.workload import LEASE_SECONDS, app, tell

T = TypeVar("T")
Fault = Callable[[], Awaitable[object]]
Often = tuple[str, tuple[float, float], Fault]
"""A fault that comes again and again: its name, how many seconds lie between, and what happens."""

HOUR = 3_600.0
LATE_HURRY = 2.5
"""So many times as often a fault comes that has not come often enough when all have had their time."""


@dataclass
class Counts:
    """What has befallen them, beside what the workers' keeper counts."""

    disk_full: int = 0
    locked: int = 0
    fsync: int = 0
    clock: int = 0
    retries: int = 0
    left_out: list[str] = field(default_factory=list)


class Campaign:
    """One folder, one seed, one life."""

    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.counts = Counts()
        self.wrong: list[str] = []
        self.accepted: dict[str, str] = {}
        self._say = say
        self._folder = folder
        self._chance = random.Random(plan.seed)
        self._marks: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self._over = asyncio.Event()
        self._wanting: frozenset[str] | None = None  # when the faults have had their time: those that go on
        self._customers = Customers(plan, self._chance, self.accepted)
        self._edges: EdgeClient | None = None
        self._clock: FakeClock | None = None
        self._fsync: FailingFsync | None = None
        self._disk: SmallDisk | None = None
        self._store = folder / "chaos.db"
        self._base: Base = SqliteBase(self._store)

    async def run(self) -> list[str]:
        """Everything that was not as promised; empty when all is well."""
        with contextlib.ExitStack() as stack:
            await self._prepare(stack)
            book = self._ledger(stack)
            if "clock" in self.plan.faults:
                self._clock = self._unless_missing(FakeClock.available(), lambda: FakeClock(self._folder), "clock")
            workers = self._workers()
            stack.callback(FakeClock.sweep)
            stack.callback(workers.kill_all)
            self._begin_edges(workers)
            await workers.start()
            marking = asyncio.create_task(self._mark_all())
            burials = Burials(self._base, LEASE_SECONDS, self._folder)
            burying = asyncio.create_task(burials.watch())
            async with app.connect():
                cares = (self._person(), *([self._edges.care()] if self._edges is not None else []))
                others = [asyncio.create_task(other) for other in (*cares, *self._others())]
                await self._rage(workers)
                await self._settle()
                for other in others:
                    other.cancel()
                await asyncio.gather(*others, return_exceptions=True)
            stack.callback(self._base.close)
            burying.cancel()  # from here on workers resign
            await workers.stop()
            await self._marks.join()
            marking.cancel()
            self._keep()
            lines = ledger.read(book)
            self._say(self._story(workers, len(lines)))
            for words in burials.evidence():
                self._say(words)
            return [
                *self._too_little(workers),
                *workers.surprises,
                *self.wrong,
                *burials.wrong,
                *self._broken(lines),
            ]

    # --- setting up -------------------------------------------------------------------------------------------

    async def _prepare(self, stack: contextlib.ExitStack) -> None:
        """The store's place, and what makes it bad."""
        self._disk = self._small_disk(stack) if "disk" in self.plan.faults else None
        if self._disk is not None:
            self._store = self._disk.folder / "chaos.db"
            self._base = SqliteBase(self._store)
        if "fsync" in self.plan.faults:
            self._fsync = self._unless_missing(FailingFsync.available(), lambda: FailingFsync(self._folder), "fsync")

    def _address(self, _slot: str = "") -> str:
        """Where the campaign's client finds the store, or the worker in this place."""
        return f"sqlite:///{self._store}"

    def _keep(self) -> None:
        """What is gone with the campaign: a small disk."""
        for file in self._store.parent.glob(self._store.name + "*"):
            shutil.copy(file, self._folder / f"left-{file.name}")

    def _broken(self, lines: list[ledger.Line]) -> list[str]:
        wrong = [*broken(find(self._base, lines, self.accepted)), *hearing.wrong(self._base)]
        if self._edges is not None:
            wrong += edges.broken(edges.find(self._base, lines, self._edges.told))
        return wrong

    def _begin_edges(self, workers: Workers) -> None:
        if self.plan.edges:
            declare(LAST_EDITION, self.plan.store)
            self._make_book()
            self._edges = EdgeClient(self.plan, self._base, workers, self.accepted)

    def _make_book(self) -> None:
        """The table in which handlers write through their deliveries' transactions."""
        with contextlib.closing(sqlite3.connect(self._store)) as connection:
            connection.execute(BOOK["sqlite"])

    @property
    def _going(self) -> bool:
        """Whether anybody still begins anything."""
        return self._customers.going

    def _others(self) -> list[Coroutine[Any, Any, None]]:
        """Who else has a part in it, from the first fault until all is quiet."""
        return []

    def _small_disk(self, stack: contextlib.ExitStack, mebibytes: int = 128) -> SmallDisk | None:
        missing = SmallDisk.available()
        if missing is not None:
            self._leave_out("disk", missing)
            return None
        return stack.enter_context(SmallDisk(self._folder / "disk", mebibytes))

    def _unless_missing(self, missing: str | None, make: Callable[[], T], what: str) -> T | None:
        if missing is None:
            return make()
        self._leave_out(what, missing)
        return None

    def _leave_out(self, what: str, why: str) -> None:
        if os.environ.get("CI"):
            raise RuntimeError(f"{what}: {why}; here nothing may be left out")
        self.counts.left_out.append(what)
        self._say(f"LEFT OUT: {what}, because {why}")

    def _ledger(self, stack: contextlib.ExitStack) -> Path:
        book, socket = self._folder / "ledger.jsonl", self._folder / "ledger.sock"
        command = [sys.executable, "-m", "tests.chaos.ledger", str(socket), str(book)]
        process = stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE))
        stack.callback(process.terminate)
        assert process.stdout is not None
        process.stdout.readline()
        workload.SOCKET = str(socket)
        app.use_store(self._address())
        return book

    def _workers(self) -> Workers:
        environment = {
            "MOTET_STORE": self._address(SLOT), "CHAOS_LEDGER": workload.SOCKET,
            workload.BATCH_ROWS: str(self.plan.batch_rows), EDGES: ",".join(self.plan.edges),
        }  # fmt: skip
        tools = [tool.environment for tool in (self._clock, self._fsync) if tool is not None]
        return Workers(
            self.plan.workers, self._folder, {**environment, **merge(*tools)}, random.Random(self.plan.seed + 1),
            lambda what, pid: self._marks.put_nowait({"kind": "mark", "what": what, "pid": pid}),
            self.plan.points if "points" in self.plan.faults else (), self.plan.hurry,
        )  # fmt: skip

    async def _mark_all(self) -> None:
        while True:
            await tell(dict(await self._marks.get()))
            self._marks.task_done()

    # --- the rage ---------------------------------------------------------------------------------------------

    async def _rage(self, workers: Workers) -> None:
        began = time.monotonic()
        buying = [asyncio.create_task(self._customers.come())]
        if self._edges is not None:
            buying.append(asyncio.create_task(self._edges.live()))
        raging = [asyncio.create_task(self._again(*each)) for each in self._faults(workers)]
        if self._clock is not None:
            raging.append(asyncio.create_task(self._move_clock()))
        lacking: list[str] = []
        try:
            while (passed := time.monotonic() - began) < 4 * self.plan.seconds:
                await asyncio.sleep(1)  # tidy: between two looks
                await self._count()
                if passed >= self.plan.seconds:
                    self._wanting = frozenset(self._too_few(workers))
                    workers.spare(insist=self.plan.insist)
                    if self.plan.insist:
                        workers.redirect()
                    lacking, before = self._too_little(workers), lacking
                    if not lacking:
                        break
                    if lacking != before:
                        self._say(f"after {passed:.0f} s: {'; '.join(lacking)}")
                for task in [*raging, *buying]:
                    if task.done():
                        task.result()
        finally:
            self._over.set()
            await asyncio.gather(*raging)
        workers.end_faults()
        self._customers.going = False
        if self._edges is not None:
            self._edges.end()
        await asyncio.gather(*buying)
        self._say(f"the faults are over after {time.monotonic() - began:.0f} s; {self._customers.open} runs are open")

    def _faults(self, workers: Workers) -> list[Often]:
        """Those that come again and again."""
        often: list[Often] = [
            ("kills", (1.5, 3.5), lambda: as_async(workers.kill)),
            ("pauses", (0.5, 2.5), lambda: workers.pause(LEASE_SECONDS + 0.5, self._base)),
            ("overtaken", (3, 9), lambda: workers.overtake(LEASE_SECONDS + 0.5, self._base, self._stranger())),
            ("returns", (4, 12), lambda: workers.come_back(LEASE_SECONDS, self._base, self._store)),
            ("locks", (6, 16), self._lock),
        ]
        found = [each for each in often if each[0] in self.plan.faults]
        if self._fsync is not None:
            found.append(("fsync", (6, 16), self._fail_fsync))
        if (disk := self._disk) is not None:
            found.append(("disk", (6, 16), lambda: self._fill(disk)))
        return found

    async def _again(self, name: str, apart: tuple[float, float], fault: Fault) -> None:
        while True:
            hurry = self.plan.hurry * (LATE_HURRY if self._wanting is not None else 1)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._chance.uniform(*apart) / hurry):
                    await self._over.wait()
            if self._over.is_set():
                return
            if self._wanting is None or name in self._wanting:
                await fault()

    def _stranger(self) -> Stranger:
        return Stranger(self._store)

    async def _lock(self) -> None:
        stranger = self._stranger()
        try:
            await asyncio.to_thread(stranger.hold, self._chance.uniform(1, 3))
            await asyncio.to_thread(stranger.wait)
            self.counts.locked += 1
        finally:
            stranger.close()

    async def _fill(self, disk: SmallDisk) -> None:
        await asyncio.to_thread(disk.fill)
        try:
            await asyncio.sleep(self._chance.uniform(0.5, 2))  # tidy: the disk is full for so long
        finally:
            await asyncio.to_thread(disk.free)
        self.counts.disk_full += 1

    async def _fail_fsync(self) -> None:
        shim = self._fsync
        assert shim is not None
        before = shim.fired()
        shim.begin()
        try:
            await asyncio.sleep(self._chance.uniform(0.3, 1.2))  # tidy: fsync fails for so long
        finally:
            shim.end()
        self.counts.fsync += shim.fired() > before

    async def _move_clock(self) -> None:
        """An hour back, and home again; then an hour forth. There it stays, so that all that is due comes due."""
        clock = self._clock
        assert clock is not None
        began = time.monotonic()
        for share, shift in ((0.4, -HOUR), (0.5, 0.0), (0.7, HOUR)):
            until = began + share * self.plan.seconds
            while time.monotonic() < until and not self._over.is_set():
                await asyncio.sleep(0.2)  # tidy: until then
            await tell({"kind": "mark", "what": "clock", "pid": 0})
            clock.set(shift)
            self.counts.clock += 1

    async def _person(self) -> None:
        """Tries again what is blocked as a killer: whoever was killed often enough by others looks like one."""
        while True:
            await asyncio.sleep(1)  # tidy: the rhythm of this person
            for id, parked, error in await asyncio.to_thread(blocked, self._base):
                if parked != "crash":
                    self.wrong.append(f"run {id} is blocked ({parked}): {error}")
                with contextlib.suppress(MotetError):
                    await app.retry(id, note="it was not its fault")
                    self.counts.retries += 1

    async def _settle(self) -> None:
        """Wait until nobody is open any more, at most so long: the checks name who is."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.plan.quiet):
                await self._customers.gone()
                if self._edges is not None:
                    await self._edges.settled()
        await self._customers.send_home()

    # --- what came of it --------------------------------------------------------------------------------------

    def _too_little(self, workers: Workers) -> list[str]:
        """Which faults did not come often enough for the campaign to say anything."""
        found = list(self._too_few(workers).values())
        if self.plan.insist and workers.missing:
            found.append(f"failpoints that nobody met: {', '.join(sorted(map(str, workers.missing)))}")
        if self._edges is not None and self.plan.insist:
            found += self._edges.too_little()
        return found

    def _too_few(self, workers: Workers) -> dict[str, str]:
        """Names of faults, and in words how often each came."""
        plan = self.plan
        least = {
            "runs": ("runs", len(self.accepted), plan.runs),
            "kills": ("kills", workers.kills, plan.kills),
            "pauses": ("pauses past the lease", workers.pauses, plan.pauses),
            "overtaken": ("pauses with a batch in hand", workers.overtaken, self._wanted("overtaken", plan.others)),
            "returns": ("returns in the last moment", workers.returns, self._wanted("returns", plan.others)),
            "disk": ("times the disk was full", self.counts.disk_full, self._wanted("disk", plan.others)),
            "clock": ("times the clock was moved", self.counts.clock, self._wanted("clock", min(plan.others, 3))),
            **self._least(),
        }
        return {
            name: f"too few {what}: {had} of {wanted}" for name, (what, had, wanted) in least.items() if had < wanted
        }

    def _wanted(self, fault: str, number: int) -> int:
        return number if fault in self.plan.faults and fault not in self.counts.left_out else 0

    async def _count(self) -> None:
        """Take over what others have counted."""

    def _least(self) -> dict[str, tuple[str, int, int]]:
        """What there is for this kind of store: its name, what it is, how often it came, and how often it must."""
        locks, fsync = (self._wanted(name, self.plan.others) for name in ("locks", "fsync"))
        return {
            "locks": ("times the database was locked", self.counts.locked, locks),
            "fsync": ("times fsync failed", self.counts.fsync, fsync),
        }

    def _befell(self) -> str:
        """The same, in words."""
        return f"{self.counts.locked} strangers' locks, {self.counts.fsync} times failing fsync"

    def _story(self, workers: Workers, lines: int) -> str:
        counts = self.counts
        return (
            f"seed {self.plan.seed}: {len(self.accepted)} runs, {workers.kills} kills, "
            f"{len(workers.hit)} failpoints met, {workers.pauses} pauses past the lease "
            f"({workers.overtaken} with a batch in hand), {workers.returns} returns in its last moment, "
            f"{self._befell()}, {counts.disk_full} full disks, {counts.clock} moves of the clock, "
            f"{self._customers.cancels} cancels, {counts.retries} retries by a person; "
            f"{lines} lines in the ledger{'; ' + self._edges.story() if self._edges is not None else ''}"
        )


async def as_async(act: Callable[[], object]) -> object:
    return act()
