"""What an heir finds, in any mixture: rows, gaps, and a log to be read in pages of any size. Each event is delivered
once, those of one key in the log's order, and it never comes to a standstill."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.choreography import window as rules
from motet.choreography.window import Delivery, Window
from motet.model.delivery import DeliveryRow, DeliveryState
from motet.model.event import LoggedEvent

KEYS = (None, "a", "b")
FOUND: tuple[DeliveryState | None, ...] = (None, None, "retrying", "waiting", "done", "parked")

Log = list[tuple[str | None, DeliveryState | None]]


def event(position: int, key: str | None) -> LoggedEvent:
    return LoggedEvent(position, f"id-{position}", "app", "n", key, 0, 0, "c", None, "null")


def row(position: int, key: str | None, state: DeliveryState) -> DeliveryRow:
    return DeliveryRow("r", position, state, key, 1, 0, None, None, None, 0)


class Heir:
    """Reads and delivers in the order that the draw says, as `runtime.reacting` does, but without a store."""

    def __init__(self, log: Log, passed: int) -> None:
        self.log = log
        self.window = Window(passed)
        self.done: list[int] = []
        for position, (key, state) in enumerate(log, 1):
            if state is not None and (position > passed or state in ("retrying", "waiting")):
                self.window.restore(row(position, key, state))
        for delivery in list(self.window.rows.values()):
            self.resume(delivery)

    def resume(self, delivery: Delivery) -> None:
        if not delivery.finished and self.window.may_go(delivery):
            self.window.ready.append(delivery)

    def read(self, count: int) -> bool:
        """Whether there was anything to read, and room for it."""
        window = self.window
        until = min(window.read + count, len(self.log))
        if window.full or window.read >= until:
            return False
        page = [event(position, self.log[position - 1][0]) for position in range(window.read + 1, until + 1)]
        for delivery in window.take(page, until):
            window.leave_behind(delivery, "waiting")
        for delivery in window.reached():
            self.resume(delivery)
        return True

    def deliver(self, which: int) -> bool:
        """Whether there was anything to deliver."""
        ready = self.window.ready
        if not ready:
            return False
        delivery = ready[which % len(ready)]
        ready.remove(delivery)
        self.done.append(delivery.position)
        after = self.window.finish(delivery)
        if after is not None:
            if after.state is None:
                ready.append(after)
            else:
                self.resume(after)
        return True


@given(
    log=st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(FOUND)), max_size=24),
    passed=st.integers(0, 6),
    moves=st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=80),
)
def test_each_once_and_a_key_in_order(log: Log, passed: int, moves: list[tuple[bool, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "LIMIT", 4)
        passed = min(passed, len(log))
        heir = Heir(log, passed)
        for reads, number in moves:
            heir.read(number + 1) if reads else heir.deliver(number)
        while heir.read(3) or heir.deliver(0):
            pass
    due = [
        position
        for position, (_, state) in enumerate(log, 1)
        if state in ("retrying", "waiting") or (state is None and position > passed)
    ]
    assert sorted(heir.done) == due
    assert (heir.window.position, heir.window.rows) == (len(log), {})
    by_key: dict[str, list[int]] = defaultdict(list)
    for position in heir.done:
        key = log[position - 1][0]
        if key is not None:
            by_key[key].append(position)
    assert all(positions == sorted(positions) for positions in by_key.values()), by_key
