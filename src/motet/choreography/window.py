"""The rules of delivery for one reaction, without I/O: what may be delivered now, and how far all is dealt with.

    read ──> line (in the log's order) ──> ready ──> at work ──> finished, or left behind with a row of its own
                     one chain per key: only its first may be at work

Everything up to `position` has been dealt with or has a row. Deliveries of one key go one after the other, in the
log's order; those without a key go in any order.

An owner may die when a delivery has a row and an earlier one of its key is done, but not yet passed by the recorded
position. Its heir delivers that one again, and has to do so first: so a row that was found ahead of what has been read
is *unreached*, and begins only when the log has been read as far as it. Whoever writes the newest state of a key
somewhere would end up with an old one otherwise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from motet.model.clock import Micros
from motet.model.delivery import DeliveryRow, DeliveryState
from motet.model.event import LoggedEvent

LIMIT = 1_000
"""How many deliveries may be under way without a row of their own, and how many rows may be left behind."""


class Cancels(Protocol):
    """Whoever delivers."""

    def cancel(self) -> object: ...


class Delivery:
    """One event on its way to one reaction's handler.

    `state` is that of its row; None: it has none yet, and the reaction's position stays before it. `kept`: its row has
    been written, or is on its way to the store.
    """

    __slots__ = (
        "__weakref__", "attempts", "data", "due", "error", "event", "finished", "kept", "key", "lane",
        "position", "started", "state", "timed_out",
    )  # fmt: skip

    def __init__(self, position: int, key: str | None, event: LoggedEvent | None) -> None:
        self.position = position
        self.key = key
        self.event = event
        self.state: DeliveryState | None = None
        self.kept = False
        self.finished = False
        self.attempts = 0
        self.data: str | None = None
        self.due: Micros | None = None
        self.error: str | None = None
        self.started = 0.0
        self.timed_out = False
        self.lane: Cancels | None = None

    def time_out(self) -> None:
        """Whoever delivers it has taken too long."""
        if self.lane is not None:
            self.timed_out = True
            self.lane.cancel()

    def row(self, reaction: str, at: Micros, accused: int) -> DeliveryRow:
        """As the store keeps it; `accused`: at which count of crashes it was, 0 if it is not."""
        assert self.state is not None
        return DeliveryRow(
            reaction, self.position, self.state, self.key, self.attempts, accused, self.due, self.error, self.data,
            at,
        )  # fmt: skip


class Window:
    """What is under way of one reaction.

    Args:
        position: up to where everything has been dealt with.
    """

    def __init__(self, position: int) -> None:
        self.read = position
        self.ready: deque[Delivery] = deque()
        self.rows: dict[int, Delivery] = {}  # those with a row, by position
        self._ahead: set[int] = set()  # not read yet, but dealt with: they have rows
        self._unreached: dict[int, Delivery] = {}  # those of them that are still to be delivered
        self._line: deque[Delivery] = deque()
        self._chains: dict[str, list[Delivery]] = {}  # mostly of one: a deque would be ten times as large
        self._unfinished = 0

    @property
    def position(self) -> int:
        """Up to where everything has been dealt with or has a row."""
        line = self._line
        while line and (line[0].finished or line[0].state is not None):
            line.popleft()
        return line[0].position - 1 if line else self.read

    @property
    def full(self) -> bool:
        """Whether nothing more should be read: too much is under way, or too much has been left behind."""
        return (self.position < self.read and len(self._line) >= LIMIT) or self._left_behind >= LIMIT

    @property
    def spare(self) -> bool:
        """Whether there is room for a good deal more, after it was full."""
        return len(self._line) <= LIMIT // 2 and self._left_behind < LIMIT

    @property
    def _left_behind(self) -> int:
        """How many rows there are; without those that only reading on can set going."""
        return len(self.rows) - len(self._unreached)

    @property
    def obstacle(self) -> Delivery | None:
        """The first that is not done, when nothing more may be read and most of what was read after it is done."""
        if self._left_behind >= LIMIT or not self.full:
            return None
        done = len(self._line) - (self._unfinished - len(self.rows))
        return self._line[0] if done >= LIMIT // 2 else None

    def take(self, events: Iterable[LoggedEvent], until: int) -> list[Delivery]:
        """Events of the log, in its order, that the reaction is for; `until` is how far was read.

        Returns:
            those behind one of their key that has a row: they need rows too, for the position must not wait for it.
        """
        behind: list[Delivery] = []
        line, ready, chains, ahead = self._line, self.ready, self._chains, self._ahead
        for event in events:
            if ahead and event.position in ahead:
                ahead.discard(event.position)
                continue
            key = event.subject
            delivery = Delivery(event.position, key, event)
            line.append(delivery)
            self._unfinished += 1
            if key is None:
                ready.append(delivery)
            elif (chain := chains.get(key)) is None:
                chains[key] = [delivery]
                ready.append(delivery)
            elif self._unreached:
                place = next((at for at, one in enumerate(chain) if one.position > delivery.position), len(chain))
                chain.insert(place, delivery)
                if place == 0:
                    ready.append(delivery)
                elif any(one.state is not None for one in chain[:place]):
                    behind.append(delivery)
            else:
                chain.append(delivery)
                if chain[0].state is not None:
                    behind.append(delivery)
        self.read = until
        return behind

    def reached(self) -> list[Delivery]:
        """Rows as far as which the log has now been read, in its order; each is told once."""
        found = [delivery for position, delivery in self._unreached.items() if position <= self.read]
        for delivery in found:
            del self._unreached[delivery.position]
        return found

    def set_aside(self, delivery: Delivery) -> None:
        """It is not to be delivered, though it is not finished yet: reading as far as it does not set it going."""
        self._unreached.pop(delivery.position, None)

    def restore(self, row: DeliveryRow) -> Delivery | None:
        """A row that was left behind, in the order of positions; None: it is done, or nobody waits for it."""
        if row.position > self.read:
            self._ahead.add(row.position)
        if row.state in ("done", "parked"):
            return None
        delivery = Delivery(row.position, row.key, None)
        delivery.kept = True
        delivery.state, delivery.attempts = row.state, row.attempts
        delivery.due, delivery.error, delivery.data = row.due, row.error, row.data
        self.rows[row.position] = delivery
        if row.position > self.read:
            self._unreached[row.position] = delivery
        self._unfinished += 1
        if row.key is not None:
            self._chains.setdefault(row.key, []).append(delivery)
        return delivery

    def may_go(self, delivery: Delivery) -> bool:
        """Whether no earlier one of its key is under way, or may still be read."""
        if delivery.position in self._unreached:
            return False
        return delivery.key is None or self._chains[delivery.key][0] is delivery

    def leave_behind(self, delivery: Delivery, state: DeliveryState) -> list[Delivery]:
        """It gets a row, so that the position may pass it; returns those of its key that need rows now too."""
        delivery.state, delivery.kept = state, True
        self.rows[delivery.position] = delivery
        if delivery.key is None:
            return []
        return [later for later in self._chains[delivery.key] if not later.kept and later is not delivery]

    def finish(self, delivery: Delivery) -> Delivery | None:
        """It is done, or a dead letter that nobody waits for; returns the next one of its key, which may go now."""
        delivery.finished = True
        self._unfinished -= 1
        self.rows.pop(delivery.position, None)
        self._unreached.pop(delivery.position, None)
        key = delivery.key
        if key is None:
            return None
        chain = self._chains[key]
        was_first = chain[0] is delivery
        if len(chain) == 1:
            del self._chains[key]
            return None
        chain.remove(delivery)
        return chain[0] if was_first else None
