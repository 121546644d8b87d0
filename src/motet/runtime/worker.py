"""A process that drives runs.

    register ──> bury the dead ──> claim what is due ──> drive ──> ... ──> drain ──> release ──> resign
                                        ▲                  │
                                        └── inbox, timers ─┘

A run started in this process is owned and driven at once, without a claim, if there is room for it and its queue has
no limit. A run that only waits leaves memory after a while, or at once if others of its queue wait for its place;
whoever is free then claims it when it is due. When the lease is lost, everything in memory is dropped
(others own it now) and the process registers anew.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence

from motet.errors import LeaseLost, ProcessKiller, StoreError, UnknownWorkflow
from motet.model.clock import SECOND
from motet.model.history import Recorded
from motet.model.run import Run
from motet.runtime import logs
from motet.runtime.attempts import Attempts
from motet.runtime.burial import bury_dead
from motet.runtime.draining import drain, named, release_rest
from motet.runtime.driver import Driver
from motet.runtime.garbage import Garbage
from motet.runtime.heartbeat import Heartbeat
from motet.runtime.liveness import Watch, describe_self
from motet.runtime.outlook import Outlook, Part
from motet.runtime.room import Room
from motet.runtime.session import Session
from motet.runtime.suspects import OneByOne, accuse_bodies, groups, killer
from motet.runtime.switching import Switching
from motet.runtime.timers import Timers
from motet.store.mutations import Mutation, PutInbox
from motet.store.protocol import Receipt
from motet.store.taking import Taken

log = logging.getLogger("motet.worker")

CLAIM_CHUNK = 100
ACTIVE_LIMIT = 5_000
SWEEP_SECONDS = 1.0
ANNOUNCE_SECONDS = 1.0
GRACE_SECONDS = 0.05
BUSY_PAUSE = 0.01


class Worker:
    """Lives on one event loop, on an open session."""

    def __init__(self, session: Session, catalog: Callable[[], dict[str, str]]) -> None:
        self.session = session
        self.settings = session.settings
        self.clock = session.clock
        self.hooks = session.hooks
        self.registry = session.registry
        self.committer = session.committer
        self.attempts = Attempts(session.settings, session.clock)
        self.timers = Timers(session.clock)
        self.id = 0
        self.draining = False
        self.suspects = OneByOne()
        self.room = Room(ACTIVE_LIMIT)
        self.drivers: dict[str, Driver] = {}
        self.on_settled: Callable[[Run], None] | None = None
        self.parts: list[Part] = [self]  # everything in it that finds work in the store
        self._catalog = catalog
        self._garbage = Garbage()
        self._switching = Switching()
        self._heart: Heartbeat | None = None
        self._unsure = False  # whether work is being taken, or the last taking did not come to its end
        self._known = list(session.registry.versions)
        self._watch = Watch(session.clock, session.settings.lease_seconds)
        self._look = session.pulse.listen()
        self._told = asyncio.Event()  # the body of a suspect is recorded, or the lease is lost
        self._tasks: list[asyncio.Task[None]] = []

    # --- life -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        logs.install()
        self._garbage.start()
        self._switching.start()
        await self._register()
        self.committer.on_lease_lost = self._lease_lost
        self._heart = Heartbeat(
            self.session.store, self.clock, self.settings.lease_seconds,
            lambda: (self.committer.worker, self.committer.batch), self._buried,
        )  # fmt: skip
        self._heart.start()
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._serve(), name="motet-serve"),
            loop.create_task(self._sweep(), name="motet-sweep"),
        ]

    async def stop(self) -> None:
        """Let running steps finish for a while, release everything else, resign."""
        self.draining = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._announce_draining()
        late = await drain(self, self.settings.drain_seconds)
        if late:
            log.warning("a step of %d runs did not finish in time and will be tried again: %s", len(late), named(late))
        await self.attempts.close()
        release_rest(self)
        if not await self.committer.flushed(self.settings.drain_seconds):
            log.error("the store does not answer; what was not recorded will be done again")
        self.timers.close()
        if self._heart is not None:
            self._heart.stop()
        self._garbage.stop()
        self._switching.stop()
        self.committer.on_lease_lost = None
        worker, self.committer.worker = self.committer.worker, None
        if worker is not None:
            try:
                await self.session.store.resign(worker)
            except StoreError as error:
                log.warning("could not resign: %s; the next worker on this machine notices", error)

    async def _announce_draining(self) -> None:
        if self.committer.worker is not None:
            try:
                async with asyncio.timeout(ANNOUNCE_SECONDS):
                    await self.session.store.drain(self.committer.worker)
            except (StoreError, TimeoutError):
                return  # who looks at the workers will see it gone a little later

    @property
    def broken(self) -> bool:
        """Whether a part of it has ended with an error: a mistake of ours, which only a new process repairs."""
        return any(task.done() and not task.cancelled() and task.exception() is not None for task in self._tasks)

    async def _register(self) -> None:
        store = self.session.store
        info = describe_self(self.registry.fingerprint)
        self.id = await store.register(info, self._catalog(), self.clock.now(), self.registry.limits)
        self.committer.batch = 0
        self.committer.worker = self.id
        try:
            await self._bury_dead()
        except StoreError as error:  # registered we are; whoever is dead is found by the sweep
            log.warning("cannot look for the dead yet: %s", error)
            self._watch.forget()
        self._look.set()

    def _buried(self, worker: int) -> None:
        self.committer.lose_lease(
            LeaseLost(f"worker {worker} has been declared dead; its runs belong to others"), worker
        )

    def _lease_lost(self) -> None:
        """Others own what is in memory: drop it, and begin again under a fresh identity."""
        self._told.set()
        for driver in list(self.drivers.values()):
            driver.drop()
        self.drivers.clear()
        self.room = Room(ACTIVE_LIMIT)
        if not self.draining:
            self._tasks.append(asyncio.get_running_loop().create_task(self._register_again()))

    async def _register_again(self) -> None:
        while True:
            try:
                await self._register()
                return
            except StoreError as error:
                log.warning("cannot register: %s", error)
                await asyncio.sleep(SWEEP_SECONDS)  # tidy: the store is away

    # --- work from the store ----------------------------------------------------------------------------------

    async def _serve(self) -> None:
        """Look for work whenever somebody has written, when a run is due, and at the latest after the poll."""
        wait = 0.0
        while True:
            try:
                async with asyncio.timeout(wait):
                    await self._look.wait()
            except TimeoutError:
                pass  # nothing was heard: time to look all the same
            self._look.clear()
            worker = self.committer.worker
            try:
                wait = await self._take_work()
            except LeaseLost as error:
                self.committer.lose_lease(error, worker)
                wait = self.settings.poll_seconds
            except StoreError as error:
                log.warning("%s; looking again", error)
                wait = self.settings.poll_seconds
            except Exception:  # one piece of work that cannot be taken must not end the taking of all others
                log.exception("work from the store could not be taken; looking again")
                wait = self.settings.poll_seconds
            if self.drivers:
                await asyncio.sleep(BUSY_PAUSE)  # tidy: under load every commit is a change

    async def _take_work(self) -> float:
        """Read the inbox and claim what is due; returns how many seconds until something is due."""
        worker = self.committer.worker
        if worker is None or self.draining:
            return self.settings.poll_seconds
        try:
            if self._unsure:
                await self._take_what_is_ours(worker)
            wait = await self._look_for_work(worker)
        finally:
            self.suspects.go_on()
        self._unsure = False
        return wait

    async def _take_what_is_ours(self, worker: int) -> None:
        """A claim's reply was lost, or what followed it failed: the store knows what we own and do not drive."""
        inside = self.room.inside()  # taken before: what leaves memory meanwhile is not ours any more
        ours = await self.session.store.owned(worker)
        if lost := [
            run for run in ours if run.uid not in inside
        ]:  # they may have been driven here, by a driver that left
            histories = await self.session.store.histories([(run.uid, run.generation) for run in lost])
            await self._resume(worker, Taken(lost, histories, await self.session.store.inbox(worker)))

    async def _look_for_work(self, worker: int) -> float:
        store, now = self.session.store, self.clock.now()
        code, full = self.registry.fingerprint, self.room.full()
        prospect = await store.prospect(worker, self._known, code, now, full)
        self._unsure = self._unsure or prospect.inbox or prospect.claimable
        if prospect.inbox:
            await self._read_inbox(worker)
        longest = self.settings.poll_seconds if self._make_places(prospect.crowded) else GRACE_SECONDS
        while prospect.claimable and not self.draining:
            full = self.room.full()
            taken = await store.take(worker, self._known, code, self.clock.now(), CLAIM_CHUNK, full)
            await self._resume(worker, taken)
            if len(taken.runs) < CLAIM_CHUNK:
                break
        due = prospect.next_wake
        if due is None:
            return longest
        return min(max((due - self.clock.now()) / SECOND, 0.0), longest)

    def _make_places(self, crowded: frozenset[str]) -> bool:
        """Let go of some runs that only wait while others wait for their places; False: more may follow soon."""
        if not crowded:
            return True
        now = self.clock.monotonic()
        idle = [driver for driver in self.drivers.values() if driver.run.queue in crowded and driver.idle]
        long_idle = [driver for driver in idle if now - driver.still_since >= GRACE_SECONDS][:CLAIM_CHUNK]
        for driver in long_idle:
            driver.release(driver.next_due())
        return len(long_idle) == len(idle)

    async def _read_inbox(self, worker: int) -> None:
        for message in await self.session.store.inbox(worker):
            driver = self.drivers.get(message.uid)
            if driver is not None:
                driver.hear(message)

    async def _resume(self, worker: int, taken: Taken) -> None:
        inbox: dict[str, list[PutInbox]] = {}
        for message in taken.inbox:
            inbox.setdefault(message.uid, []).append(message)
        for group in groups(taken.runs):
            accusations = accuse_bodies(group)
            if accusations and self.committer.worker == worker:
                await self._accuse(accusations)
            if self.committer.worker != worker:
                return
            for run in group:
                self._take_in(run, taken.histories.get(run.uid, []), inbox.get(run.uid, []))
            await self.suspects.let_one()  # and attempts and commits go on, beside a long line of replays

    async def _accuse(self, bodies: list[Mutation]) -> None:
        """Before bodies of suspects run: record them, for one may be what kills the process."""
        self.suspects.hold()
        self._told.clear()
        self.committer.submit(bodies, lambda _: self._told.set(), lambda _: self._told.set())
        await self._told.wait()

    def _take_in(self, run: Run, history: Sequence[Recorded], messages: Sequence[PutInbox]) -> None:
        present = self.drivers.get(run.uid)
        if present is not None and not present.leaving:
            return  # it was started here, and the reply that gave it an owner was long on its way
        driver = self._driver(run)
        if driver is None:
            return
        if (culprit := killer(run)) is not None:
            driver.park("crash", ProcessKiller(f"{culprit} was running when its process died, and was under suspicion"))
        else:
            driver.resume(history, messages)

    async def outlook(self) -> Outlook:
        """What waits in the store for this worker: a part's answer."""
        worker, code = self.committer.worker, self.registry.fingerprint
        if worker is None:
            return Outlook(busy=True)
        found = await self.session.store.prospect(worker, self._known, code, self.clock.now())
        if self._unsure:  # looked at afterwards: what the store no longer has to give may have been taken meanwhile
            return Outlook(busy=True)
        crowded = found.crowded
        leaves = bool(crowded) and any(driver.idle and driver.run.queue in crowded for driver in self.drivers.values())
        return Outlook(found.inbox or found.claimable or leaves, found.next_wake)

    def look(self) -> None:
        """Look for work in the store now."""
        self._look.set()

    def make_room(self, run: Run) -> bool:
        """Whether a run that is about to be started can be driven here at once; whoever asks tells `adopt`."""
        if self.draining or self.committer.worker is None or not self.room.has(run.queue):
            return False
        self.room.take(run)
        return True

    def adopt(self, run: Run, receipt: Receipt) -> None:
        """Drive a run that was just started in this process, if the receipt says that it has got its owner."""
        if run.uid in self.drivers:
            return  # it was claimed meanwhile
        unowned = run.owner is None or run.uid in receipt.waiting
        if unowned or run.uid in receipt.lost or run.owner != self.committer.worker or self.draining:
            # Its queue has a limit, the lease was lost, or the worker stops: whoever is next claims it.
            self.room.leave(run)
            if unowned:
                self._look.set()
            return
        driver = self._driver(run)
        if driver is not None:
            driver.begin()

    def _driver(self, run: Run) -> Driver | None:
        try:
            driver = self.drivers[run.uid] = Driver(self, run)
        except UnknownWorkflow:
            log.error("run '%s' is of %s v%d, which this worker does not know", run.id, run.workflow, run.version)
            self.room.leave(run)
            return None
        self.room.take(run)
        return driver

    def blocked(self, run: Run) -> None:
        """The run needs a person: whoever waits for it is told."""
        if self.on_settled is not None:
            self.on_settled(run)

    def left(self, driver: Driver, ended: Run | None) -> None:
        """A driver is done: its run has ended, is parked, or was released."""
        if self.drivers.get(driver.run.uid) is driver:
            del self.drivers[driver.run.uid]
            self.room.leave(driver.run)
        if ended is not None and self.on_settled is not None:
            self.on_settled(ended)
        if ended is not None and ended.parent is not None:
            self._look.set()

    # --- care -------------------------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        """Once a second: show what takes long, look for the dead."""
        for quarter in itertools.count(1):
            await asyncio.sleep(SWEEP_SECONDS / 4)  # tidy: this is the rhythm
            self._let_go()  # more often: what only waits comes in by thousands a second
            if self._heart is not None:
                self._heart.tick()
            if quarter % 4:
                continue
            self._show()
            try:
                await self._bury_dead()
            except StoreError:
                self._watch.forget()

    def _show(self) -> None:
        now = self.clock.monotonic()
        for driver in self.drivers.values():
            if not (driver.shown or driver.leaving) and now - driver.still_since >= SWEEP_SECONDS:
                driver.show()

    def _let_go(self) -> None:
        now = self.clock.monotonic()
        soon = self.clock.now() + round(self.settings.idle_seconds * SECOND)
        idle = [driver for driver in self.drivers.values() if driver.idle]
        excess = len(idle) - self.settings.resident_limit
        for driver in idle:
            due = driver.next_due()
            long_idle = now - driver.still_since >= self.settings.idle_seconds
            if excess > 0 or (long_idle and (due is None or due > soon)):
                driver.release(due)
                excess -= 1

    async def _bury_dead(self) -> None:
        if await bury_dead(self.session.store, self._watch, lambda: self.committer.worker):
            self._look.set()
