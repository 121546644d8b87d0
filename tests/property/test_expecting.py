"""The rules of expectations against a plain model that knows the whole log and has no rows.

The reader under test gets the log in pages, loads for each page the rows of its keys as a store gives them, and judges
by the clock between pages; none of which may change what becomes of an expectation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from motet.choreography.expecting import Ledger, Rule, missed_id, overdue
from motet.model.event import Heading
from motet.model.expected import Expected

A, B = "a", "b"
TIMES = st.integers(0, 30)
LOGS = st.lists(st.tuples(st.sampled_from([A, A, B, B, "other"]), st.sampled_from("xy"), TIMES), max_size=14)


def logged(kinds: Sequence[tuple[str, str, int]]) -> list[Heading]:
    return [
        Heading(position, f"e{position}", kind, key, time, "talk")
        for position, (kind, key, time) in enumerate(kinds, 1)
    ]


class Fate(NamedTuple):
    """What becomes of one trigger."""

    state: str
    came: str | None
    triggers: int
    early: int


class Trigger:
    """One that has armed, as the model remembers it."""

    def __init__(self, event: Heading, early: int, answer: Heading | None) -> None:
        self.event = event
        self.answer = answer
        self.count = 1
        self.early = early


def fates(rule: Rule, log: list[Heading], judged: dict[int, int]) -> dict[int, Fate]:
    """By the trigger's position, what must become of it: the whole log at once, and no time but the events' own.

    Args:
        judged: by position, what time it was when everything up to there had been read.
    """
    found: dict[int, Fate] = {}
    for key in {event.subject for event in log}:
        armed: list[Trigger] = []
        alone: list[Heading] = []  # answers that came without a trigger
        for event in (event for event in log if event.subject == key):
            waiting = [trigger for trigger in armed if trigger.answer is None]
            if event.type == rule.expected:
                reached = [trigger for trigger in waiting if trigger.event.time <= event.time]
                for trigger in waiting:
                    if trigger in reached:
                        trigger.answer = event
                    elif not reached:
                        trigger.early += 1
                if not waiting and (rule.each or not armed) and rule.expected != rule.after:
                    alone.append(event)
            if event.type == rule.after:
                if armed and not rule.each:
                    armed[0].count += 1
                    continue
                latest = max(alone, key=lambda answer: (answer.time, answer.id), default=None)
                counts = latest is not None and latest.time > event.time
                armed.append(Trigger(event, len(alone) - counts, latest if counts else None))
                alone.clear()
        for trigger in armed:
            place, due = trigger.event.position, trigger.event.time + rule.within
            over = any(at > due for read, at in judged.items() if read >= place)
            state = "missed" if over else "open"
            if trigger.answer is not None:
                state = "met" if trigger.answer.time <= due else "late"
            came = trigger.answer.id if trigger.answer is not None else None
            found[place] = Fate(state, came, trigger.count, trigger.early)
    return found


class Reader:
    """As a worker reads, on rows as a store keeps them."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.rows: dict[tuple[str, int], Expected] = {}
        self.announced: list[str] = []

    def read(self, page: list[Heading]) -> None:
        concerned = [event for event in page if self.rule.concerns(event)]
        answered = {event.subject for event in concerned if event.type == self.rule.expected}
        ledger = Ledger(self.rule, [row for row in self.rows.values() if self._wanted(row, concerned, answered)])
        for event in page:
            ledger.take(event)
        self.rows.update({(row.key, row.position): row for row in ledger.changes()})

    def _wanted(self, row: Expected, page: list[Heading], answered: set[str | None]) -> bool:
        """Of what every trigger arms, a store is asked only for what can still change."""
        if not self.rule.each:
            return row.key in {event.subject for event in page}
        return row.state in ("early", "open", "missed") and (row.key in answered or not row.position)

    def judge(self, now: int) -> None:
        for row in overdue([row for row in self.rows.values() if row.state == "open"], self.rule, now):
            self.rows[row.key, row.position] = row
            self.announced.append(missed_id(row))


@given(LOGS, st.integers(0, 12), st.booleans(), st.sampled_from([B, A]), st.data())
def test_what_becomes_of_an_expectation_is_told_by_the_log(
    kinds: list[tuple[str, str, int]], within: int, each: bool, expected: str, data: st.DataObject
) -> None:
    rule, log = Rule("test/r", expected, A, within, each), logged(kinds)
    reader, judged, read, now = Reader(rule), {}, 0, 0
    while read < len(log):
        size = data.draw(st.integers(1, len(log) - read))
        reader.read(log[read : read + size])
        read += size
        if data.draw(st.booleans()):
            now = max(now, data.draw(st.integers(0, 45)))
            reader.judge(now)
            judged[read] = now
    got = {
        row.position: Fate(row.state, row.came, row.triggers, row.early) for row in reader.rows.values() if row.position
    }
    assert got == fates(rule, log, judged)
    assert len(set(reader.announced)) == len(reader.announced), "a miss is announced once"
    for row in reader.rows.values():
        assert (row.missed_at is not None) == (missed_id(row) in reader.announced)


@given(LOGS, st.integers(0, 12), st.booleans())
def test_a_page_more_or_less_changes_nothing(kinds: list[tuple[str, str, int]], within: int, each: bool) -> None:
    rule, log = Rule("test/r", B, A, within, each), logged(kinds)
    whole, single = Reader(rule), Reader(rule)
    whole.read(log)
    for event in log:
        single.read([event])
    assert whole.rows == single.rows
