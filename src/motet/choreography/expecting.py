"""The rules of expectations: what an event of the log does to what is expected for its key.

Rows in, rows out. The caller reads the rows of a page's keys, lets the page's events come in the order of the log,
and writes what has changed together with the cursor's move; so a crash in between repeats the page from the same rows.

1. The first trigger for a key arms; later ones are counted. With `each`, every trigger arms one of its own.
2. Of what is open or missed, an event that happened at the trigger's own time or later settles all: `met` until the
   due time, `late` after it. So with `each` one expected event may answer several triggers.
3. One that happened before the trigger does not count, and is shown as early, whichever of the two came first into
   the log. One that came first into the log but happened later counts: events of other systems may be reordered on
   their way in. Of several that came without a trigger the latest is remembered, and their number.
4. Time alone settles nothing here: see `overdue`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from motet.model.clock import Micros, as_datetime
from motet.model.codec import plain
from motet.model.event import Heading, LoggedEvent
from motet.model.expected import Expected, Missed


class Rule(NamedTuple):
    """After an event of the type `after`, one of the type `expected` for the same key within a time.

    Args:
        name: as `shop/receipt`.
        each: whether every trigger arms, and not only the first for its key.
    """

    name: str
    expected: str
    after: str
    within: Micros
    each: bool = False

    def concerns(self, event: Heading) -> bool:
        """Whether the event can change anything."""
        return event.subject is not None and event.type in (self.expected, self.after)


class Ledger:
    """What is expected for some keys, while events come."""

    def __init__(self, rule: Rule, rows: Iterable[Expected]) -> None:
        self._rule = rule
        self._by_key: dict[str, dict[int, Expected]] = {}
        self._changed: dict[tuple[str, int], None] = {}
        for row in rows:
            self._by_key.setdefault(row.key, {})[row.position] = row

    def take(self, event: Heading) -> None:
        """The next event of the log; what the rule does not concern changes nothing."""
        if not self._rule.concerns(event):
            return
        if event.type == self._rule.expected:
            self._settle(event)
        if event.type == self._rule.after:
            self._arm(event)

    def changes(self) -> list[Expected]:
        """The rows that are not as they were."""
        return [self._by_key[key][position] for key, position in self._changed]

    def _settle(self, event: Heading) -> None:
        rows = self._of(event)
        unsettled = [row for row in rows.values() if row.position and row.state in ("open", "missed")]
        reached = [row for row in unsettled if row.armed_at <= event.time]
        for row in reached:
            self._put(settled(row, self._rule, event.time, event.id))
        if reached:
            return
        for row in unsettled:
            self._put(row._replace(early=row.early + 1))
        answered = not self._rule.each and any(row.position for row in rows.values())
        if not unsettled and not answered and event.type != self._rule.after:
            self._remember(event, rows.get(0))

    def _remember(self, event: Heading, before: Expected | None) -> None:
        """It has come without a trigger; the trigger may be on its way."""
        row = Expected(self._rule.name, _key(event), 0, "early", "", event.correlationid, event.time, triggers=0)
        latest = (event.time, event.id)
        if before is not None:
            row = before
            if before.came_at is not None and before.came is not None:
                latest = max(latest, (before.came_at, before.came))
        self._put(row._replace(early=row.early + 1, came_at=latest[0], came=latest[1]))

    def _arm(self, event: Heading) -> None:
        rows = self._of(event)
        first = None if self._rule.each else next((row for row in rows.values() if row.position), None)
        if first is not None:
            self._put(first._replace(triggers=first.triggers + 1))
            return
        row = Expected(self._rule.name, _key(event), event.position, "open", event.id, event.correlationid, event.time)
        there = rows.get(0)
        if there is not None and there.came_at is not None and there.came is not None:
            counts = there.came_at > event.time  # at the same moment, the order of the log decides
            row = row._replace(early=there.early - counts)
            if counts:
                row = settled(row, self._rule, there.came_at, there.came)
            self._put(there._replace(early=0, came_at=None, came=None))
        self._put(row)

    def _of(self, event: Heading) -> dict[int, Expected]:
        return self._by_key.setdefault(_key(event), {})

    def _put(self, row: Expected) -> None:
        self._by_key[row.key][row.position] = row
        self._changed[row.key, row.position] = None


def settled(row: Expected, rule: Rule, came_at: Micros, came: str) -> Expected:
    """The row after its event has come: a missed one is judged by what it was missed by."""
    due = due_of(row, rule)
    return row._replace(state="met" if came_at <= due else "late", due=due, came_at=came_at, came=came)


def due_of(row: Expected, rule: Rule) -> Micros:
    """Until when the expected event has to happen. For what is open, by the rule as it is now."""
    return row.due if row.due is not None else row.armed_at + rule.within


def overdue(rows: Iterable[Expected], rule: Rule, now: Micros) -> list[Expected]:
    """Those whose time is over, as missed; the rows are open.

    That they *are* missed holds only if everything has been read that was in the log when `now` was over: what has
    happened in time may lie there unread.
    """
    return [
        row._replace(state="missed", due=row.armed_at + rule.within, missed_at=now)
        for row in rows
        if row.armed_at + rule.within < now
    ]


def next_look(rows: Sequence[Expected], rule: Rule) -> Micros | None:
    """When the first of these open ones is overdue, if nothing comes."""
    return min((row.armed_at + rule.within + 1 for row in rows), default=None)


def missed_id(row: Expected) -> str:
    """The id of the event that announces it: one for each trigger, whose own id may not be the only one of its kind."""
    return f"missed:{row.expectation}:{row.position}"


def missed_data(row: Expected, rule: Rule, trigger: LoggedEvent | None) -> Missed:
    """What is told of a missed one."""
    return Missed(
        expectation=row.expectation, key=row.key, expected=rule.expected, after=rule.after,
        trigger=row.event if trigger is None else trigger.given_id, armed_at=as_datetime(row.armed_at),
        due=as_datetime(due_of(row, rule)), early=row.early, data=None if trigger is None else plain(trigger.data),
    )  # fmt: skip


def _key(event: Heading) -> str:
    assert event.subject is not None  # `Rule.concerns` has seen to it
    return event.subject
