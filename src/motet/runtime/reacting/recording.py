"""What becomes of one reaction's deliveries, as records: positions, rows, and what handlers want written with them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from motet.choreography.window import Delivery
from motet.errors import MotetError, ProcessKiller, RunExists, WrongType
from motet.model.delivery import DeliveryState
from motet.model.failure import encode_fault
from motet.model.run import Run
from motet.runtime.reacting.handling import key_of
from motet.runtime.reacting.parking import parked_event
from motet.store.mutations import DropDelivery, KeepDelivery, MoveCursor, Mutation
from motet.store.protocol import CursorRow, Receipt

if TYPE_CHECKING:
    from motet.runtime.reacting.reader import Reader

log = logging.getLogger("motet.reactions")

AT_ONCE = 500


class Recording:
    """Of one reader, under its cursor's epoch."""

    def __init__(self, reader: Reader, cursor: CursorRow) -> None:
        self._reader = reader
        self._house = reader.house
        self._reaction = reader.reaction
        self._window = reader.window
        self._name, self._epoch = cursor.name, cursor.epoch
        self._committer = reader.house.worker.committer
        self._clock = reader.house.worker.clock
        self._saved = cursor.position
        self._delivered, self._failed = cursor.delivered, cursor.failed
        self.crashes = cursor.crashes
        self.suspect_until = 0  # up to this position each delivery is recorded before it begins, and alone
        self.ended: set[int] | None = None  # positions of deliveries that have ended while somebody reads the rows
        self._moving = False
        self._unwritten = 0

    @property
    def busy(self) -> bool:
        """Whether something is on its way to the store."""
        return self._moving or self._unwritten > 0

    def done(self, delivery: Delivery) -> list[Mutation]:
        """The record that it is done, for a unit that has effects."""
        if delivery.kept:
            return [DropDelivery(self._name, delivery.position, self._epoch)]
        return [self._row(delivery, "done")]

    def succeed(self, delivery: Delivery, effects: list[Mutation] | None) -> None:
        self._delivered += 1
        if effects is None:
            self._tell(delivery)
            self.finish(delivery)
        elif not effects and not delivery.kept:
            self.finish(delivery)
        else:
            self._submit([*effects, *self.done(delivery)], lambda _: self._recorded(delivery), delivery)

    def _recorded(self, delivery: Delivery) -> None:
        self._tell(delivery)
        self.finish(delivery)

    def _tell(self, delivery: Delivery) -> None:
        hooks, event = self._house.worker.session.hooks, delivery.event
        if hooks.wants_deliveries and event is not None:
            hooks.tell_delivery_recorded(key_of(self._reaction, event), self._name, delivery.attempts + 1)

    def start(self, delivery: Delivery, run: Run) -> None:
        """Without a record that it is done: the run cannot be started twice, and whether its id was free is only known
        when it is written."""

        def durable(receipt: Receipt) -> None:
            winner = receipt.lost.get(run.uid)
            if winner is not None and (error := self._taken(winner)) is not None:
                self.fail(delivery, error, final=True)
            else:
                self.succeed(delivery, [])

        self._submit([run], durable, delivery)

    def _taken(self, winner: Run) -> RunExists | None:
        """Another run has the id that was asked for: it has been started already, unless it is another workflow's."""
        workflow = self._house.worker.registry.workflow(self._reaction.starts or "")
        if winner.workflow in (workflow.name, *workflow.aliases):
            return None
        return RunExists(f"the id '{winner.id}' belongs to a run of {winner.workflow}; give id= another one")

    def fail(self, delivery: Delivery, error: BaseException, *, final: bool = False) -> None:
        if self._reader.closed:
            return  # it is delivered again
        self._failed += 1
        delivery.attempts += 1
        delivery.error = encode_fault(error)
        retry = self._reaction.retry
        if not final and not isinstance(error, WrongType) and retry.allows(delivery.attempts, error):
            delivery.due = self._clock.now() + retry.wait(delivery.attempts)
            self.leave_behind(delivery, "retrying")
        else:
            self._park(delivery, error)

    def _park(self, delivery: Delivery, error: BaseException) -> None:
        """It is a dead letter: a person decides. Later ones of its key go on, unless the reaction holds them."""
        log.error(
            "event at position %d is a dead letter of %s: %s: %s", delivery.position, self._name, type(error).__name__,
            error,
        )  # fmt: skip
        now = self._clock.now()
        delivery.due = None
        state: DeliveryState = "held" if self._reaction.hold and delivery.key is not None else "parked"
        told = parked_event(self._name, delivery, error, now)

        def recorded(_: Receipt) -> None:
            if state == "parked":
                self.finish(delivery)

        self.leave_behind(delivery, state, [told], recorded)

    def park_killer(self, delivery: Delivery) -> None:
        error = ProcessKiller(f"it was being delivered when its process died, {self.crashes} times")
        self.crashes = 0
        delivery.attempts += 1
        delivery.error = encode_fault(error)
        self._park(delivery, error)

    def leave_behind(
        self, delivery: Delivery, state: DeliveryState, others: list[Mutation] | None = None,
        then: Callable[[Receipt], None] | None = None,
    ) -> None:  # fmt: skip
        """Write its row; once that is durable, the position may pass it, and those behind it need rows too."""
        mutation = self._row(delivery, state)
        delivery.kept = True

        def durable(receipt: Receipt) -> None:
            if delivery.finished:
                return  # it has come to its end meanwhile
            for later in self._window.leave_behind(delivery, state):
                self.keep(later, "waiting")
            if state == "retrying":
                self._reader.resume(delivery)
            if then is not None:
                then(receipt)
            self.moved()

        self._submit([mutation, *(others or ())], durable, delivery)

    def keep(self, delivery: Delivery, state: DeliveryState) -> None:
        """Write a row for what waits behind another one."""

        delivery.kept = True

        def durable(_: Receipt) -> None:
            self._window.leave_behind(delivery, state)
            self._reader.resume(delivery)
            self.moved()

        self._submit([self._row(delivery, state)], durable, delivery)

    def _row(self, delivery: Delivery, state: DeliveryState, accused: int = 0) -> KeepDelivery:
        before, delivery.state = delivery.state, state
        row = delivery.row(self._name, self._clock.now(), accused)
        delivery.state = before
        return KeepDelivery(*row, self._epoch)

    def finish(self, delivery: Delivery) -> None:
        """The next one of its key may go; the position may have moved."""
        window = self._window
        if self.ended is not None:
            self.ended.add(delivery.position)
        after = window.finish(delivery)
        if after is not None:
            if after.state is not None:
                self._reader.resume(after)
            elif not after.kept:  # else it goes when its row is durable
                window.ready.append(after)
                self._reader.wake()
        if len(window.ready) == 0:
            self.moved()

    def moved(self) -> None:
        """Something has been dealt with. How far all has is recorded soon, and at once when that is much or acquits
        somebody: a position that is a moment old costs a few deliveries once more after a crash, and a record less for
        each event."""
        position = self._window.position
        if self._reader.full and self._window.spare:
            self._reader.full = False
            self._reader.news.set()
        if position - self._saved >= AT_ONCE or self._is_acquittal(position):
            self.save()
        elif position > self._saved and not self._moving:
            self._house.save_soon()

    def save(self) -> None:
        """Record how far all has been dealt with: one record at a time, so that there is one per batch."""
        position = self._window.position
        acquittal = self._is_acquittal(position)
        if self._moving or not (acquittal or position > self._saved):
            return
        self._moving, self._saved = True, position
        if acquittal:
            self.crashes = self.suspect_until = 0
        self._submit([self.move(position)], self._have_moved, None)

    def _is_acquittal(self, position: int) -> bool:
        """Whether all that may have been at work when the process died has been dealt with, and nothing died of it."""
        until = self.suspect_until
        if not self.crashes or position < until:
            return False
        return not any(at <= until and delivery.state != "held" for at, delivery in self._window.rows.items())

    def reach(self, head: int) -> int:
        """How far may be read: among suspects not beyond the last of them, before it is on record that all of these
        have been dealt with. One that came later and kills would do so before each suspect's turn, and for ever."""
        if not (self.crashes and self._reader.one_by_one) or (self._saved >= self.suspect_until and not self._moving):
            return head
        return min(head, self.suspect_until)

    def drop(self) -> None:
        """Record nothing more."""
        self._moving = True

    def move(self, position: int) -> MoveCursor:
        now = self._clock.now()
        return MoveCursor(self._name, self._epoch, position, self._delivered, self._failed, self.crashes, now)

    def _have_moved(self, _: Receipt) -> None:
        self._moving = False
        if self._reader.one_by_one:
            self._reader.news.set()  # more may be read now
        self.moved()

    async def accuse(self, delivery: Delivery) -> None:
        """Record that it begins: if the process dies now, it is known which one did it."""
        recorded: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def durable(_: Receipt) -> None:
            for later in self._window.leave_behind(delivery, "running"):
                self.keep(later, "waiting")
            if not recorded.done():
                recorded.set_result(None)

        self._submit([self._row(delivery, "running", self.crashes)], durable, delivery)
        delivery.kept = True
        await recorded

    def absolve(self, delivery: Delivery) -> None:
        """It goes on, but is accused no more."""
        if not self._reader.closed:
            self._submit([self._row(delivery, "running")], lambda _: None, delivery)

    def _submit(self, unit: list[Mutation], durable: Callable[[Receipt], None], delivery: Delivery | None) -> None:
        self._unwritten += 1

        def done(receipt: Receipt) -> None:
            self._unwritten -= 1
            durable(receipt)

        def failed(error: Exception) -> None:
            self._unwritten -= 1
            self._refused(delivery, error)

        self._committer.submit(unit, done, failed)

    def _refused(self, delivery: Delivery | None, error: Exception) -> None:
        """The store does not take it: the reaction has changed hands, or what was published can never be stored."""
        if self._reader.closed:
            return
        if delivery is None or delivery.finished or "changed hands" in str(error):
            self._house.drop(self._reader, error)
        else:
            self.fail(delivery, error if isinstance(error, MotetError) else WrongType(str(error)))
