"""A worker with reactions that dies at moments that a test chooses, in one process: life after life on one store.

To die is to stop for good in the middle of whatever runs: the event loop turns no more, no `finally` runs, nothing is
resigned. What its store's threads had in hand may still reach the disk, as with a process that dies a moment later.
Its heir buries it, as siblings do with a process that is gone.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from motet import App, Event, Retry, Settings
from motet.model.clock import SYSTEM
from motet.model.delivery import DeliveryRow
from motet.model.event import EventRow, LoggedEvent
from motet.model.identity import new_uid
from motet.runtime.reacting.service import Reacting, followed_by
from motet.runtime.session import Session
from motet.runtime.worker import Worker
from motet.store.edges import DeliveryFilter
from motet.store.protocol import Store, Ticket
from motet.store.sqlite.store import SqliteStore
from motet.store.transactions import AttemptTransaction, DeliveryFence

ATTEMPTS = 3
LOOK_SECONDS = 0.004
MOMENT = 0.02
PATIENCE_SECONDS = 30.0


class Reacts(NamedTuple):
    """One reaction.

    Args:
        how: `publish` and `thread` publish an event for each that they get, in a coroutine or a thread; `book` writes
            a row through its transaction.
        only: keys that its filter lets pass; None: all.
        failures: for each number of an event in turn, how often its handler fails; `ATTEMPTS` times is a poison.
    """

    events: tuple[str, ...]
    how: str
    only: str | None
    concurrency: int
    failures: tuple[int, ...]

    def poisons(self, number: int) -> bool:
        return self.failures[number % len(self.failures)] >= ATTEMPTS


class Published(NamedTuple):
    """An event from outside; `late`: while a worker lives, and not before."""

    type: str
    key: str | None
    late: bool


class Death(NamedTuple):
    """In the middle of the `nth` handler's work, or at the `nth` moment around a commit."""

    where: str
    nth: int


class Died(BaseException):
    """What ends a thread in which a handler was at work when its process died."""


_dead: list[object] = []  # nothing of a dead process is ever cleaned up, not even by the garbage collector


class World:
    """What outlives the processes: the store's file, what is published, and how often each handler was called."""

    def __init__(self, folder: Path, reactions: list[Reacts], published: list[Published]) -> None:
        self.path = folder / "motet.db"
        self.reactions = reactions
        self.published = published
        self.calls: dict[tuple[int, str], int] = {}
        self.deaths = 0
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("CREATE TABLE book (id INTEGER PRIMARY KEY, reaction INTEGER, position INTEGER)")

    def live(self, death: Death | None) -> bool:
        """One process, until it dies or all has been dealt with; whether it died."""
        life = Life(self, death)
        life.run()
        self.deaths += life.died.is_set()
        return life.died.is_set()

    def booked(self, reaction: int) -> list[int]:
        """The positions of the events that a reaction has written down, in the order of writing."""
        with closing(sqlite3.connect(self.path)) as connection:
            query = "SELECT position FROM book WHERE reaction = ? ORDER BY id"
            return [position for (position,) in connection.execute(query, (reaction,))]

    def ask(self, question: Callable[[Store], Coroutine[Any, Any, Any]]) -> Any:
        async def answer() -> Any:
            store = SqliteStore(str(self.path), SYSTEM)
            await store.open(create=True)
            try:
                return await question(store)
            finally:
                await store.close()

        return asyncio.run(answer())

    def log(self) -> list[LoggedEvent]:
        found: list[LoggedEvent] = self.ask(lambda store: store.events(0, 10_000))
        return found

    def letters(self) -> list[DeliveryRow]:
        found: list[DeliveryRow] = self.ask(lambda store: store.deliveries(DeliveryFilter(limit=10_000)))
        return found

    def redrive(self, letter: DeliveryRow) -> None:
        meant = DeliveryFilter(reaction=letter.reaction, position=letter.position)
        self.ask(lambda store: store.redrive(meant, SYSTEM.now()))

    def publish_early(self) -> None:
        """What is there before anybody works."""
        for number, one in enumerate(self.published):
            if not one.late:
                row = self.event(number, one)
                self.ask(lambda store, row=row: store.commit([[row]], Ticket(row.id)))

    def event(self, number: int, one: Published) -> EventRow:
        now = SYSTEM.now()
        return EventRow(new_uid(now), "outside", one.type, one.key, now, now, "talk", None, str(number))


class Life:
    """One process."""

    def __init__(self, world: World, death: Death | None) -> None:
        self._world = world
        self._death = death
        self._counts = {"handler": 0, "commit": 0}
        self._lock = threading.Lock()
        self.died = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._error: BaseException | None = None
        self._worker: Worker | None = None
        self._session: Session | None = None
        self._transactions: list[AttemptTransaction] = []

    def run(self) -> None:
        """Raises what went wrong in it, but not its death."""
        living = self._loop.create_task(self._live())
        living.add_done_callback(lambda _: self._loop.stop())
        self._loop.run_forever()
        if self.died.is_set():
            _dead.append((self._loop, asyncio.all_tasks(self._loop), self._worker))
            self._bring_out_the_dead()
        else:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()
            living.result()

    def _bring_out_the_dead(self) -> None:
        """What the operating system would do: its files are closed, its threads end."""
        worker, session = self._worker, self._session
        if worker is not None:
            worker._garbage.stop()
            worker._switching.stop()
            if worker._heart is not None:
                worker._heart.stop()
        if session is not None:
            asyncio.run(self._close(session))

    async def _close(self, session: Session) -> None:
        await asyncio.gather(*(transaction.roll_back() for transaction in self._transactions))
        await session.store.close()

    def _note_transactions(self, store: Store) -> None:
        """For what is still open at its death has to be closed: it holds the lock of the writers."""
        begin = store.delivery_transaction

        def noted(fence: DeliveryFence, *, blocking: bool = False) -> AttemptTransaction:
            self._transactions.append(begin(fence, blocking=blocking))
            return self._transactions[-1]

        store.delivery_transaction = noted

    async def _live(self) -> None:
        app = self._app()
        session = self._session = Session(app.registry, app.settings, SYSTEM, app.hooks)
        app.hooks.failpoint = lambda when, kinds: self._pass_commit()
        await session.open(create=True)
        self._note_transactions(session.store)
        for row in await session.store.workers():
            await session.store.bury(row.id, row.counter)
        worker = self._worker = Worker(session, dict)
        reacting = Reacting(worker, followed_by(app.reactions, app.registry.events))
        await worker.start()
        await reacting.start()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._publish_late(session)
            while not await self._is_over(session.store):
                await asyncio.sleep(LOOK_SECONDS)  # tidy: between two looks
        if not self.died.is_set():
            await reacting.stop()
            await worker.stop()
            await session.close()

    async def _publish_late(self, session: Session) -> None:
        for number, one in enumerate(self._world.published):
            if one.late and self._world.deaths == number % 2:
                await session.committer.write([self._world.event(number, one)])

    async def _is_over(self, store: Store) -> bool:
        head = await store.head()
        if any(cursor.position < head for cursor in await store.cursors()):
            return False
        wanted = DeliveryFilter(("retrying", "waiting", "running"), limit=1)
        return not await store.deliveries(wanted) and await store.head() == head

    def _is_due(self, where: str) -> bool:
        """Whether this is the moment to die."""
        with self._lock:
            self._counts[where] += 1
            return self._death == (where, self._counts[where])

    def _die(self) -> None:
        """Raises nothing: the loop turns no more."""
        self.died.set()
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _pass_commit(self) -> None:
        if self._is_due("commit"):
            self._die()

    # --- what it does ---------------------------------------------------------------------------------------------

    def _app(self) -> App:
        app = App("lives", store=f"sqlite:///{self._world.path}", settings=Settings(poll_seconds=0.05))
        for number, reacts in enumerate(self._world.reactions):
            only = reacts.only
            app.on(
                *reacts.events, name=f"r{number}", start="beginning", retry=Retry(attempts=ATTEMPTS, first=0.001),
                concurrency=reacts.concurrency, transaction=reacts.how == "book",
                filter=None if only is None else lambda event, only=only: event.key == only,
            )(self._handler(number, reacts))  # fmt: skip
        return app

    def _handler(self, number: int, reacts: Reacts) -> Callable[..., Any]:
        async def publish(event: Event[Any]) -> None:
            event.publish(f"c.{number}", event.position)
            if self._is_due("handler"):
                await asyncio.sleep(MOMENT)  # tidy: meanwhile others go on, and positions are recorded
                self._die()
            await asyncio.sleep(0)  # tidy: one turn of the loop
            if self.died.is_set():
                await asyncio.get_running_loop().create_future()
            self._stumble(number, reacts, event)

        def publish_in_thread(event: Event[Any]) -> None:
            event.publish(f"c.{number}", event.position)
            if self._is_due("handler"):
                threading.Event().wait(MOMENT)  # meanwhile others go on, and positions are recorded
                self._die()
            if self.died.is_set():
                raise Died
            self._stumble(number, reacts, event)

        def book(event: Event[Any], connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO book (reaction, position) VALUES (?, ?)", (number, event.position))
            publish_in_thread(event)

        return {"publish": publish, "thread": publish_in_thread, "book": book}[reacts.how]

    def _stumble(self, number: int, reacts: Reacts, event: Event[Any]) -> None:
        """Raises OSError as often as it is to fail, in all lives together."""
        place = (number, event.id)
        calls = self._world.calls[place] = self._world.calls.get(place, 0) + 1
        fails = reacts.failures[event.position % len(reacts.failures)]
        if calls <= fails or fails >= ATTEMPTS:
            raise OSError(f"try {calls} of {place}")
