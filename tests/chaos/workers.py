"""The campaign's worker processes: kept running, killed, stopped for a while, and sent into failpoints."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path

from motet.runtime.heartbeat import BEATS_PER_LEASE
from motet.testing.faults import EXIT_CODE, FAILPOINTS, VARIABLE, Failpoint, reached_in
from tests.chaos.asking import Away, Base
from tests.chaos.edges.workload import EDITION
from tests.chaos.faults.stranger import Stranger
from tests.chaos.kernel import holds_the_lock, is_still, taken, waits_for_the_lock

ROOT = Path(__file__).parent.parent.parent
BATCH_IN_HAND_SECONDS = 0.5
ALL_HAVE_LOOKED_SECONDS = 1.3
"""Each worker looks for the dead once a second."""
BURIED = "SELECT min(CASE WHEN buried THEN 1 ELSE 0 END) FROM worker WHERE pid ="
"""Whether a process is buried under all names that it has had."""
SLOT = "{slot}"
MOST_POINTS = 4
"""That one worker is sent to: of some there is little to meet, and it ends at the first."""
RARE = frozenset({
    "RetireId", "BeginGeneration", "EnterState", "TakeInbox", "PutInbox", "ShowProgress", "AppendOnce", "KeepExpected",
    "MissExpected", "KeepDelivery", "DropDelivery", "MoveCursor", "RegisterWait", "EndWait",
})  # fmt: skip


class Slot:
    """A place that always has a worker: one that dies is followed by another."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: asyncio.subprocess.Process | None = None
        self.working = asyncio.Event()
        self.paused = False
        self.begins = False  # its process is on its way, and has not told yet that it works
        self.retired = False
        self.edition = 0
        self.points: tuple[Failpoint, ...] = ()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid


class Workers:
    """All of them, and what has befallen them."""

    def __init__(
        self, count: int, folder: Path, environment: Mapping[str, str], chance: random.Random,
        mark: Callable[[str, int], None], points: Sequence[Failpoint] = FAILPOINTS, hurry: float = 1.0,
    ) -> None:  # fmt: skip
        self.kills = 0
        self.pauses = 0
        self.returns = 0
        self.overtaken = 0
        self.hit: set[Failpoint] = set()
        self.surprises: list[str] = []
        self.trees: dict[int, Path] = {}
        """Places whose next worker runs another copy of the code."""
        self.moved_in = 0
        """How many of these have begun to work."""
        self._folder = folder
        self._environment = {**os.environ, **environment}
        self._chance = chance
        self._mark = mark
        self._slots = [Slot(number) for number in range(count)]
        self._tasks: list[asyncio.Task[None]] = []
        self._faults = True
        self._points = tuple(point._replace(nth=1) for point in points)
        self._hurry = hurry
        self._sought: set[Failpoint] = set()
        self._spared, self._insist = False, True
        self._edition = 0
        self._hushing = 0
        self._may_start = asyncio.Event()
        self._may_start.set()

    @property
    def missing(self) -> set[Failpoint]:
        """Failpoints that no worker has met so far."""
        return {point for point in self._points if point not in self.hit}

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(self._keep(slot)) for slot in self._slots]
        await asyncio.gather(*(slot.working.wait() for slot in self._slots))

    def spare(self, *, insist: bool) -> None:
        """From now on workers are sent into failpoints that nobody has met only, and if nobody insists, into none."""
        self._spared, self._insist = True, insist

    def end_faults(self) -> None:
        """From now on nobody is sent into a failpoint; who is under way to one dies at it or is replaced."""
        self._faults = False
        for slot in self._slots:
            if slot.points and slot.process is not None and slot.process.returncode is None:
                self._kill(slot)

    async def stop(self) -> None:
        """All end in good order. Raises TimeoutError: one does not."""
        for keeping in self._tasks:
            keeping.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for slot in self._slots:
            if slot.process is not None and slot.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    slot.process.terminate()
        async with asyncio.timeout(60):
            for slot in self._slots:
                if slot.process is not None:
                    await slot.process.wait()

    def kill_all(self) -> None:
        for slot in self._slots:
            if slot.process is not None and slot.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    slot.process.kill()

    @contextlib.asynccontextmanager
    async def quiet(self) -> AsyncGenerator[None]:
        """No worker begins meanwhile, and none is just about to."""
        self._hushing += 1  # a night may begin in the middle of a deploy
        self._may_start.clear()
        try:
            while any(slot.begins for slot in self._slots):
                await asyncio.sleep(0.02)  # tidy: between two looks
            yield
        finally:
            self._hushing -= 1
            if not self._hushing:
                self._may_start.set()

    @contextlib.asynccontextmanager
    async def night(self) -> AsyncGenerator[None]:
        """All are killed, and nobody works for as long as it lasts."""
        async with self.quiet():
            for slot in self._slots:
                if slot.process is not None and slot.process.returncode is None:
                    self._kill(slot)
            for slot in self._slots:
                if slot.process is not None:
                    await slot.process.wait()
            yield

    async def deploy(self, edition: int) -> None:
        """Whoever begins from now on is of this edition, and nobody of an earlier one is about to."""
        async with self.quiet():
            self._edition = edition

    async def retire_old(self, most: int) -> int:
        """Ask some of earlier editions to end in good order; how many there were."""
        old = [slot for slot in self._slots if slot.edition < self._edition]
        may = [slot for slot in self._working() if slot in old and not slot.retired]
        for slot in may[:most]:
            slot.retired = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(slot.pid, signal.SIGTERM)
        return len(old)

    def kill(self) -> bool:
        """SIGKILL for one that works; False if none does. Rather for one that is not on its way to where nobody was."""
        working = self._working()
        slot = self._chance.choice(self._aimless(working) or working) if working else None
        if slot is not None:
            self._kill(slot)
        return slot is not None

    def redirect(self) -> None:
        """While failpoints are wanting, replace one that is on its way to none of these: what leads there may be its
        own as long as it lives, a reaction, say."""
        if self.missing and (aimless := self._aimless(self._working())):
            self._kill(self._chance.choice(aimless))

    def _aimless(self, slots: Sequence[Slot]) -> list[Slot]:
        """Those that are not on their way to where nobody was."""
        return [slot for slot in slots if {point._replace(nth=1) for point in slot.points} <= self.hit]

    async def overtake(self, seconds: float, base: Base, stranger: Stranger) -> bool:
        """Pause two that have a batch in their hands: with a stranger's lock, all wait to write theirs."""
        await asyncio.to_thread(stranger.hold, BATCH_IN_HAND_SECONDS)
        await asyncio.sleep(BATCH_IN_HAND_SECONDS / 2)  # tidy: so that each has a batch
        waiting = [slot for slot in self._working() if waits_for_the_lock(slot.pid)]
        chosen = self._chance.sample(waiting, min(len(waiting), 2))
        buried = await asyncio.gather(*(self._pause(slot, seconds, base) for slot in chosen))
        await asyncio.to_thread(stranger.wait)
        self.overtaken += sum(buried)
        return any(buried)

    async def pause(self, seconds: float, base: Base) -> bool:
        """SIGSTOP one until it is buried, for so long at least, then let it go on; whether that happened."""
        slot = self._one()
        return slot is not None and await self._pause(slot, seconds, base)

    async def _pause(self, slot: Slot, seconds: float, base: Base) -> bool:
        pid = self._stop(slot)
        try:
            buried = False
            async with asyncio.timeout(seconds + 20):
                await asyncio.sleep(seconds)  # tidy: so long it is away
                while not (buried := _is_buried(base, pid)) and not holds_the_lock(pid):
                    await asyncio.sleep(0.2)  # tidy: between two looks
        except TimeoutError:
            pass
        finally:
            self._resume(slot, pid)
        self.pauses += buried
        return buried

    async def come_back(self, lease_seconds: float, base: Base, store: Path) -> bool:
        """SIGSTOP one, and let it write just before those who have made up their minds to bury it.

        All wait for the writers' lock meanwhile, as if one of them had been stopped in the middle of a commit; the
        others are stopped for the moment in which it goes first.
        """
        slot = self._one()
        if slot is None:
            return False
        while holds_the_lock(pid := await _stilled(self._stop(slot))):  # nobody could bury anybody
            self._resume(slot, pid)
            await asyncio.sleep(0.01)  # tidy: until it has done its transaction
        others: list[tuple[Slot, int]] = []
        try:
            before = _counter(base, pid)
            # Its last beat is a while ago: who saw it, might bury it when the lease counts from there.
            await asyncio.sleep(lease_seconds - lease_seconds / BEATS_PER_LEASE)  # tidy: so long it is away
            with await asyncio.to_thread(taken, store):
                await asyncio.sleep(ALL_HAVE_LOOKED_SECONDS)  # tidy: others look, and want to bury it
                working = [other for other in self._slots if other.working.is_set() and not other.paused]
                others = [(other, self._stop(other)) for other in working]
                for _, its_pid in others:
                    await _stilled(its_pid)  # or one of them takes the lock first
                self._resume(slot, pid)
            first = await self._moves(base, pid, before)
        finally:
            self._resume(slot, pid)
            for other, its_pid in others:
                self._resume(other, its_pid)
        self.returns += first
        return first

    async def _moves(self, base: Base, pid: int, before: int | None) -> bool:
        """Whether it writes within a second or two, unburied."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                while before is not None and (now := _counter(base, pid)) is not None:
                    if now > before:
                        return True
                    await asyncio.sleep(0.01)  # tidy: between two looks
        return False

    def _stop(self, slot: Slot) -> int:
        slot.paused = True
        pid = slot.pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        self._mark("paused", pid)
        return pid

    def _resume(self, slot: Slot, pid: int) -> None:
        """The process that was stopped: its place may have another by now."""
        slot.paused = False
        self._mark("resumed", pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def _one(self) -> Slot | None:
        working = self._working()
        return self._chance.choice(working) if working else None

    def _working(self) -> list[Slot]:
        """Those that something may happen to, if one at least is left alone."""
        working = [slot for slot in self._slots if slot.working.is_set() and not slot.paused]
        return working if len(working) > 1 else []

    def _kill(self, slot: Slot) -> None:
        with contextlib.suppress(ProcessLookupError):
            assert slot.process is not None
            slot.process.kill()
            self.kills += 1

    async def _keep(self, slot: Slot) -> None:
        while True:
            await self._may_start.wait()
            slot.begins, slot.retired, slot.edition = True, False, self._edition
            slot.points = self._next_points()
            tree = self.trees.get(slot.number, ROOT)
            path = self._folder / f"worker-{slot.number}.log"
            with path.open("ab") as log:
                slot.process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "tests.chaos.working", cwd=tree, stdout=asyncio.subprocess.PIPE, stderr=log,
                    env={**self._of(slot), **_running(tree), VARIABLE: ", ".join(map(str, slot.points))},
                )  # fmt: skip
            assert slot.process.stdout is not None
            was_working = bool(await slot.process.stdout.readline())
            slot.begins = False
            if was_working:
                slot.working.set()
                self.moved_in += tree != ROOT
            code = await slot.process.wait()
            slot.working.clear()
            self._mark("dead", slot.pid)
            if code == EXIT_CODE and slot.points:
                self.kills += 1
                self.hit.update(point._replace(nth=1) for point in reached_in(path.read_text(errors="replace")))
            elif not was_working:
                await asyncio.sleep(0.5)  # tidy: it could not begin: the disk was full, say
            elif code != -signal.SIGKILL and not (slot.retired and code == 0):
                self.surprises.append(f"worker {slot.pid} ended with code {code}")
                await asyncio.sleep(0.5)  # tidy: not in a tight circle

    def _of(self, slot: Slot) -> dict[str, str]:
        """The environment of this place's worker, which may be told its number."""
        given = {name: value.replace(SLOT, str(slot.number)) for name, value in self._environment.items()}
        return {**given, EDITION: str(slot.edition)}

    def _next_points(self) -> tuple[Failpoint, ...]:
        """Two of three workers are on their way to failpoints, first to some that nobody has met; all of them, when
        it is for these alone. Who is sent to one that somebody was sent to in vain dies there the first time it comes
        by."""
        missing = sorted(self.missing)
        if not (self._faults and self._points) or (self._spared and not (self._insist and missing)):
            return ()
        if not self._spared and self._chance.random() < 1 / 3 / max(self._hurry, 1):
            return ()
        if missing:
            chosen = self._chance.sample(missing, min(len(missing), MOST_POINTS))
            points = [point if point in self._sought else self._later(point, 2, 20) for point in chosen]
            self._sought.update(chosen)
            return tuple(points)
        return (self._later(self._chance.choice(self._points), 3, 60),)

    def _later(self, point: Failpoint, rare: int, often: int) -> Failpoint:
        """The same place, some commits later."""
        return point._replace(nth=self._nth(rare if point.kind in RARE else often))

    def _nth(self, most: int) -> int:
        return self._chance.randint(1, max(1, round(most / max(self._hurry, 1))))


def _running(tree: Path) -> dict[str, str]:
    """What has Python find the code of this copy, before what is installed."""
    if tree == ROOT:
        return {}
    return {"PYTHONPATH": f"{tree / 'src'}{os.pathsep}{tree}", "PYTHONDONTWRITEBYTECODE": "1"}


async def _stilled(pid: int) -> int:
    """The process that was sent SIGSTOP, when the kernel has stopped each of its threads."""
    while not is_still(pid):
        await asyncio.sleep(0.005)  # tidy: between two looks
    return pid


def _is_buried(base: Base, pid: int) -> bool:
    return bool(_ask(base, f"{BURIED} ?", pid))


def _counter(base: Base, pid: int) -> int | None:
    """The counter of who is not buried; None: there is nobody, or the store is away."""
    return _ask(base, "SELECT max(batch + beats) FROM worker WHERE NOT buried AND pid = ?", pid)


def _ask(base: Base, question: str, pid: int) -> int | None:
    try:
        ((answer,),) = base.ask(question, pid)
    except Away:
        return None
    return None if answer is None else int(answer)
