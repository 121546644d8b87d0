"""One reaction whose position this worker owns: reads the log, delivers, records.

    read a page ──> window ──> lanes, each delivering one event after the other ──> records, one move per batch

A delivery that simply succeeds is recorded by the position alone. What has effects of ours is one unit with them; what
fails, takes long or waits behind such a one gets a row, so that the position goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from motet.choreography.window import Delivery, Window
from motet.errors import LeaseLost, StoreError, StoreUnavailable, WrongType
from motet.model.event import Event, LoggedEvent
from motet.model.forgotten import is_forgotten
from motet.model.run import Run
from motet.orchestration.attempt import current_delivery
from motet.runtime.calling import call_in_thread
from motet.runtime.insisting import Away, insist
from motet.runtime.reacting.handling import Handler, Handling
from motet.runtime.reacting.recording import Recording
from motet.runtime.reacting.starting import run_for
from motet.runtime.reacting.suspecting import SUSPECT_CRASHES, accused, is_killer
from motet.runtime.reacting.transacting import InTransaction
from motet.runtime.timers import Timer
from motet.store.mutations import Mutation
from motet.store.protocol import CursorRow

if TYPE_CHECKING:
    from motet.runtime.reacting.service import Followed, Reacting

log = logging.getLogger("motet.reactions")

PAGE = 1_000
LONG_SECONDS = 5.0
"""In flight for longer than that, a delivery gets a row, and the position does not wait for it."""
AT_ONCE = 64
"""After so many deliveries in a row, a lane lets the rest of the loop have its turn."""
AWAY_SECONDS = 0.25


class Reader:
    """Lives on one event loop, from the claim of its cursor until it is closed."""

    def __init__(self, house: Reacting, followed: Followed, cursor: CursorRow) -> None:
        self.house = house
        self.reaction = followed.reaction
        self.name = cursor.name
        self.owner, self.epoch, self.touched = cursor.owner, cursor.epoch, cursor.touched
        self.window = Window(cursor.position)
        self.paused = False
        self.closed = False
        self.reading = False
        self.news = asyncio.Event()
        self.full = False
        self.flying: set[Delivery] = set()
        self._patterns = followed.patterns
        self._store = house.worker.session.store
        self._clock = house.worker.clock
        self.records = Recording(self, cursor)
        self.one_by_one = cursor.crashes >= SUSPECT_CRASHES
        self._timers: dict[Delivery, Timer] = {}
        self._lanes: list[asyncio.Task[None]] = []
        self._reads: asyncio.Task[None] | None = None
        self._sleepers: deque[asyncio.Future[None]] = deque()
        self._timeout = self._timeout_of(house)
        self._handler = Handler(self.reaction, cursor.name, cursor.epoch, house.types, self._clock, house.limit)
        self._special = self.reaction.transaction or self.reaction.starts is not None or not self.reaction.is_async

    def _timeout_of(self, house: Reacting) -> float | None:
        if self.reaction.default_timeout:
            return house.worker.settings.step_timeout_seconds
        return self.reaction.timeout

    # --- life -------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take up what an earlier owner has left behind, then begin. Raises StoreError."""
        if self.records.crashes:
            # Nothing that came later can have been at work when its process died. Once only, it is enough that the
            # reaction gets on: a killer keeps the position before itself, and is the first one at last.
            reach = PAGE if self.one_by_one else 1
            self.records.suspect_until = min(self.window.read + reach, await self._store.head())
        killer: Delivery | None = None
        for row in await self._store.under_way(self.name):
            delivery = self.window.restore(row)
            if delivery is None:
                continue
            if is_killer(row, self.records.crashes):
                killer = delivery
            elif self.records.crashes:  # what comes later may go well for ever, and acquits none of these
                self.records.suspect_until = max(self.records.suspect_until, row.position)
        if killer is not None:
            self.window.set_aside(killer)
            self.records.park_killer(killer)
        for delivery in list(self.window.rows.values()):
            if delivery is not killer:  # its letter is on its way to the store
                self.resume(delivery)
        self.records.moved()
        loop = asyncio.get_running_loop()
        self._reads = loop.create_task(self._read(), name=f"motet-reads-{self.name}")
        self._lanes = [
            loop.create_task(self._lane(), name=f"motet-reaction-{self.name}") for _ in range(self.reaction.concurrency)
        ]
        self.news.set()

    def resume(self, delivery: Delivery) -> None:
        """A row as it was found: it may go at once, later, or when it is its turn."""
        if delivery.state in ("held", "parked") or delivery.finished or not self.window.may_go(delivery):
            return
        due = delivery.due
        if delivery.state == "retrying" and due is not None and due > self._clock.now():
            self._timers[delivery] = self.house.worker.timers.at(due, lambda: self._go(delivery))
        else:
            self._go(delivery)

    def _go(self, delivery: Delivery) -> None:
        self._timers.pop(delivery, None)
        if not self.closed:
            self.window.ready.append(delivery)
            self.wake()

    def wake(self) -> None:
        """Have as many lanes at work as there is to deliver."""
        if self.paused or self.closed:
            return
        for _ in range(min(len(self.window.ready), len(self._sleepers))):
            self._sleepers.popleft().set_result(None)

    @property
    def busy(self) -> bool:
        """Whether there is something to do for which no time has to pass."""
        return bool(self.window.ready or self.records.busy or self.reading) and not self.paused

    async def close(self, grace: float) -> None:
        """Begin nothing more; what is at work may come to its end for a while, and is delivered again otherwise."""
        self.closed = True
        if self._reads is not None:
            self._reads.cancel()
        self.window.ready.clear()
        for timer in self._timers.values():
            timer.cancel()
        for sleeper in self._sleepers:
            sleeper.set_result(None)
        self._sleepers.clear()
        if self._lanes:
            _, late = await asyncio.wait(self._lanes, timeout=grace) if grace else (None, set(self._lanes))
            for lane in late:
                lane.cancel()
            await asyncio.gather(*self._lanes, return_exceptions=True)
        self._lanes.clear()

    def abandon(self) -> None:
        """Somebody else owns it: drop everything."""
        self.closed = True
        self.records.drop()
        for timer in self._timers.values():
            timer.cancel()
        for task in (*self._lanes, self._reads):
            if task is not None and task is not asyncio.current_task():
                task.cancel()

    # --- reading ----------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Read whenever something is new, or there is room again."""
        while True:
            await self.news.wait()
            self.news.clear()
            self.reading = True
            try:
                await self._read_on(await self._store.head())
                self.tend()
            except LeaseLost as error:
                self.house.drop(self, error)
                return
            except StoreError as error:
                log.warning("%s: %s; looking again", self.name, error)
                self.news.set()
                await asyncio.sleep(AWAY_SECONDS)  # tidy: the store is away
            except Exception as error:
                self.house.drop(self, error)
                return
            finally:
                self.reading = False

    async def _read_on(self, head: int) -> None:
        """As far as there is room for it. Raises StoreError."""
        window, match = self.window, self._patterns.match
        head = self.records.reach(head)
        while window.read < head and not window.full and not self.paused and not self.closed:
            page = await self._store.events(window.read, PAGE)
            # Where the log was pruned there are gaps: how far a page reaches is told by its last event.
            until = page[-1].position if len(page) == PAGE else max(head, page[-1].position if page else 0)
            meant = [
                row for row in page if match(row.type) and row.recipient is None and not is_forgotten(row.data)
            ]  # fmt: skip
            for delivery in window.take(meant, until):
                self.records.keep(delivery, "waiting")
            for delivery in window.reached():
                self.resume(delivery)
            self.wake()
            if not window.ready:
                self.records.moved()
        self.full = window.read < head and window.full

    def tend(self) -> None:
        """Give a row to what has been at work for long, and to what alone keeps the rest of the log from being read."""
        if self.reaction.transaction:
            return  # it is written with what its handler writes, and by nobody else meanwhile
        obstacle = self.window.obstacle
        if obstacle is not None and obstacle in self.flying and not obstacle.kept:
            self.records.leave_behind(obstacle, "running")
        now = self._clock.monotonic()
        for delivery in list(self.flying):
            if not delivery.kept and now - delivery.started >= LONG_SECONDS:
                self.records.leave_behind(delivery, "running")

    async def look_again(self, touched: int) -> None:
        """A person has changed rows. Raises StoreError."""
        ended = self.records.ended = set()
        rows = {row.position: row for row in await self._store.under_way(self.name)}
        self.records.ended = None
        self.touched = touched
        for position, row in rows.items():
            known = self.window.rows.get(position)
            if known is None and row.state == "retrying" and position not in ended:  # else it ended while we read
                delivery = self.window.restore(row)
                if delivery is not None:
                    self.resume(delivery)
            elif known is not None and known.state == "held" and row.state == "retrying":
                known.state, known.attempts = row.state, row.attempts
                known.due, known.data = row.due, row.data
                self.resume(known)
        for position, known in list(self.window.rows.items()):
            if known.state == "held" and (position not in rows or rows[position].state == "done"):
                self.records.finish(known)

    # --- delivering -------------------------------------------------------------------------------------------

    async def _lane(self) -> None:
        ready = self.window.ready
        task = asyncio.current_task()
        count = 0
        while not self.closed:
            while ready and not self.paused:
                delivery = ready.popleft()
                delivery.lane = task
                if self.one_by_one and delivery.position <= self.records.suspect_until:
                    async with accused(self, delivery):
                        await self._try(delivery)
                else:
                    await self._try(delivery)
                count += 1
                if count % AT_ONCE == 0:
                    await asyncio.sleep(0)
            self.records.moved()
            if self.full:
                self.tend()
            sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._sleepers.append(sleeper)
            await sleeper

    async def _try(self, delivery: Delivery) -> None:
        if delivery.event is None:
            delivery.event = await insist(partial(self._event_at, delivery.position), f"a delivery to {self.name}")
        delivery.started = self._clock.monotonic()
        self.flying.add(delivery)
        timeout = self._timeout
        limits = self.house.worker.attempts.limits
        if timeout is not None:
            limits.add(delivery, timeout)
        try:
            effects = await self._act(delivery)
        except LeaseLost as error:
            self.house.drop(self, error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not delivery.timed_out or task is None:
                raise
            task.uncancel()
            delivery.timed_out = False
            self.records.fail(delivery, TimeoutError(f"attempt {delivery.attempts + 1} took longer than {timeout:g} s"))
        except Exception as error:
            self.records.fail(delivery, error)
        else:
            if isinstance(effects, Run):
                self.records.start(delivery, effects)
            else:
                self.records.succeed(delivery, effects)
        finally:
            self.flying.discard(delivery)
            if timeout is not None:
                limits.discard(delivery, timeout)

    async def _event_at(self, position: int) -> LoggedEvent:
        try:
            (row,) = await self._store.events_at([position])
        except StoreUnavailable as error:
            raise Away(error, begun=False) from error
        return row

    async def _act(self, delivery: Delivery) -> list[Mutation] | Run | None:
        """Returns what is to be written with the delivery, or the run that it starts; None: that has been done."""
        house, reaction, row = self.house, self.reaction, delivery.event
        assert row is not None
        handling = Handling(self._handler, row, delivery.attempts + 1)
        event: Event[Any] = Event(row, house.types.read(row, delivery.data), handling.publish)
        current_delivery.set(handling.attempt)
        if reaction.filter is not None and not reaction.filter(event):
            return []
        try:
            if self._special:
                return await self._act_otherwise(delivery, row, event, handling)
            await reaction.function(event)
            return handling.units
        finally:
            handling.closed = True

    async def _act_otherwise(
        self, delivery: Delivery, row: LoggedEvent, event: Event[Any], handling: Handling
    ) -> list[Mutation] | Run | None:
        """What is not an async function alone."""
        reaction = self.reaction
        if reaction.starts is not None:
            return self._start(event)
        if not reaction.transaction:
            await call_in_thread(self.house.worker.attempts.threads, lambda: reaction.function(event))
            return handling.units

        def begin() -> tuple[Event[Any], Handling]:
            anew = Handling(self._handler, row, delivery.attempts + 1)
            current_delivery.set(anew.attempt)
            return Event(row, self.house.types.read(row, delivery.data), anew.publish), anew

        await InTransaction(self, delivery, begin, self._timeout).call()
        return None

    def _start(self, event: Event[Any]) -> Run:
        name = self.reaction.starts
        assert name is not None
        workflow = self.house.worker.registry.workflow(name)
        id = self.reaction.function(event)
        if not isinstance(id, str):
            raise WrongType(f"the id of workflow {name} for event {event.id} is {id!r}; it must be a text")
        return run_for(workflow, event, id, self.house.worker.registry.fingerprint, self._clock.now())
