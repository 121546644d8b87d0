"""What must hold of the loose edges when all faults are over: from the ledger's file and the database by plain SQL.

What a reaction must have had is told from the log alone: every event of its types, from the beginning on, as all of
these begin there. Each check yields what is broken, in words; nothing here asks the engine.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.chaos.asking import Base
from tests.chaos.edges.client import Told
from tests.chaos.edges.workload import ANSWER_SECONDS, BEAT_SECONDS, NIGHT_SECONDS
from tests.chaos.ledger import Line
from tests.chaos.saying import some

SECOND = 1_000_000


class Logged(NamedTuple):
    """An event of the log, as far as it matters here."""

    position: int
    id: str
    source: str
    type: str
    subject: str | None
    time: int
    causationid: str | None
    recipient: str | None
    data: Any

    @property
    def trouble(self) -> str:
        return str(self.data.get("trouble", "")) if isinstance(self.data, dict) else ""


class Expected(NamedTuple):
    """A row of what is expected, as far as it matters here."""

    expectation: str
    key: str
    position: int
    state: str
    triggers: int
    missed_at: int | None


class Found(NamedTuple):
    """Everything that is known afterwards."""

    told: Told
    deliveries: list[Line]
    steps: list[Line]
    events: list[Logged]
    letters: list[tuple[str, int, str, str | None]]  # reaction, position, state, error
    booked: list[tuple[int, str]]  # position and key, in the order of writing
    expected: list[Expected]
    runs: dict[str, tuple[str, str, str, int, str | None]]  # by id: uid, workflow, state, since, result
    cursors: list[tuple[str, int]]


def find(base: Base, lines: list[Line], told: Told) -> Found:
    """Read the database. Raises Away: it is not there."""
    names = ", ".join(Logged._fields)
    events = [
        Logged(*row[:-1], json.loads(row[-1])) for row in base.ask(f"SELECT {names} FROM event ORDER BY position")
    ]
    runs = {row[0]: row[1:] for row in base.ask("SELECT id, uid, workflow, state, since, result FROM run")}
    return Found(
        told,
        [line for line in lines if line["kind"] == "delivery"],
        [line for line in lines if line["kind"] == "attempt" and not line["stale"]],
        events,
        base.ask("SELECT reaction, position, state, error FROM delivery"),
        base.ask("SELECT position, key FROM chaos_book ORDER BY id"),
        [Expected(*row) for row in base.ask(f"SELECT {', '.join(Expected._fields)} FROM expected")],
        runs,
        base.ask("SELECT name, position FROM cursor"),
    )


def broken(found: Found) -> list[str]:
    """Every promise that was not kept."""
    checks = (
        _once_on_the_way_in, _delivered, _in_order, _answered, _booked, _dead_letters, _removed, _started, _waits,
        _heard, _judged, _misses, _mornings, _mourned,
    )  # fmt: skip
    return [f"{check.__name__.strip('_')}: {words}" for check in checks for words in check(found)]


# --- on the way in ----------------------------------------------------------------------------------------------


def _once_on_the_way_in(found: Found) -> Iterator[str]:
    """What was published with an id is in the log once, however often it was said."""
    there = Counter(event.id for event in found.events)
    yield from some("events were published and are not in the log", (id for id in found.told.ids if not there[id]))
    yield from some("events are in the log more than once", (id for id, count in there.items() if count > 1))


# --- reactions --------------------------------------------------------------------------------------------------


def _of_types(*types: str) -> Callable[[Logged], bool]:
    return lambda event: event.type in types


def _observed(event: Logged) -> bool:
    return event.type == "race.ended" or event.type.startswith(("edge.", "purchase."))


WITNESSED: dict[str, Callable[[Logged], bool]] = {
    "observe": _observed,
    "newcomer": _of_types("edge.fact"),
    "ship": _of_types("edge.parcel"),
    "kamikaze": lambda event: event.type == "killer.event" and event.trouble != "kill",
    "page": _of_types("motet.delivery.parked", "motet.expectation.missed"),
    "till": _of_types("thing.sold"),  # on PostgreSQL alone is anything sold
}
"""Reactions of which the ledger knows each delivery, and for which events they are."""


def _parked(found: Found) -> set[tuple[str, int]]:
    """What has been a dead letter at some time, by reaction and position."""
    told = (event.data for event in found.events if event.type == "motet.delivery.parked")
    return {(data["reaction"], data["position"]) for data in told}


def _delivered(found: Found) -> Iterator[str]:
    """Every event has reached every reaction that it is for, unless nobody can take it."""
    there: dict[str, set[int]] = defaultdict(set)
    for line in found.deliveries:
        if line["answer"] == "ok":
            there[line["reaction"]].add(line["position"])
    for name, wanted in WITNESSED.items():
        if name == "newcomer" and not found.told.counts.get("editions"):
            continue
        missing = [
            event
            for event in found.events
            if wanted(event) and event.recipient is None and event.position not in there[f"chaos/{name}"]
        ]
        yield from some(
            f"events have not reached {name}",
            (f"{event.type} {event.subject} at {event.position}" for event in missing),
        )


def _in_order(found: Found) -> Iterator[str]:
    """Per key in the log's order: what comes for the first time comes after all before it, and within one owner's time
    nothing goes back. What was a dead letter comes when a person says so, but for a reaction that holds."""
    parked = {(reaction.replace("/watch", "/observe"), position) for reaction, position in _parked(found)}
    first: dict[tuple[str, str], int] = defaultdict(int)
    under: dict[tuple[str, str, int], int] = defaultdict(int)
    seen: set[tuple[str, int]] = set()
    wrong: list[str] = []
    for line in found.deliveries:
        name, about, position = line["reaction"], line["about"], line["position"]
        if line["stale"] or about is None or ((name, position) in parked and name != "chaos/ship"):
            continue
        told = f"{name} of {about}: {position} after"
        if (name, position) not in seen and position < first[name, about]:
            wrong.append(f"{told} {first[name, about]}")
        if position < under[name, about, line["token"]]:
            wrong.append(f"{told} {under[name, about, line['token']]} by the same owner")
        seen.add((name, position))
        first[name, about] = max(first[name, about], position)
        under[name, about, line["token"]] = position
    yield from some("deliveries were out of order", wrong)


def _answered(found: Found) -> Iterator[str]:
    """What a reaction publishes is there once for each event, and for a poison not at all."""
    publishes = {
        "chaos/bill": ("fact.billed", _of_types("purchase.completed", "edge.fact")),
        "chaos/book": ("fact.booked", _of_types("edge.fact", "race.ended")),
        "chaos/answer": ("question.answered", _of_types("question.asked")),
    }
    for reaction, (type, wanted) in publishes.items():
        came = Counter(event.causationid for event in found.events if (event.source, event.type) == (reaction, type))
        due = Counter(event.id for event in found.events if wanted(event) and event.trouble != "poison")
        yield from some(f"events were not answered by {reaction}", (f"{id}" for id in due - came))
        yield from some(f"events were answered more than once by {reaction}", (f"{id}" for id in came - due))


def _booked(found: Found) -> Iterator[str]:
    """What a handler writes through its delivery's transaction is there once, in order per key."""
    wanted = Counter(
        event.position
        for event in found.events
        if event.type in ("edge.fact", "race.ended") and event.trouble != "poison"
    )
    booked = Counter(position for position, _ in found.booked)
    yield from some("events were not booked", (f"{position}" for position in wanted - booked))
    yield from some("events were booked more than once, or never were", (f"{position}" for position in booked - wanted))
    parked = {position for reaction, position in _parked(found) if reaction == "chaos/book"}
    last: dict[str, int] = {}
    wrong: list[str] = []
    for position, key in found.booked:
        if position not in parked:
            if position < last.get(key, 0):
                wrong.append(f"{key}: {position} after {last[key]}")
            last[key] = position
    yield from some("events were booked out of order", wrong)


def _dead_letters(found: Found) -> Iterator[str]:
    """Exactly what nobody can take is a dead letter, of each reaction that it is for; and each was told."""
    takes: dict[str, Callable[[Logged], bool]] = {
        "chaos/watch" if any(name == "chaos/watch" for name, _ in found.cursors) else "chaos/observe": _observed,
        "chaos/bill": _of_types("edge.fact"),
        "chaos/book": _of_types("edge.fact"),
        "chaos/newcomer": _of_types("edge.fact"),
        "chaos/short_lived": _of_types("edge.fact"),
        "chaos/kamikaze": _of_types("killer.event"),
    }
    names = {name for name, _ in found.cursors}
    wanted = {
        (reaction, event.position)
        for reaction, takes_it in takes.items()
        if reaction in names
        for event in found.events
        if takes_it(event) and event.trouble in ("poison", "kill")
    }
    there = {(reaction, position) for reaction, position, state, _ in found.letters if state in ("parked", "held")}
    why = {(reaction, position): error for reaction, position, _, error in found.letters}
    yield from some("dead letters are missing", (f"{letter}" for letter in sorted(wanted - there)))
    yield from some("dead letters should be none", (f"{one}: {why[one]}" for one in sorted(there - wanted)))
    told = {(reaction.replace("/observe", "/watch"), position) for reaction, position in _parked(found)}
    silent = [one for one in there if (one[0].replace("/observe", "/watch"), one[1]) not in told]
    yield from some("dead letters were never told", (f"{one}" for one in sorted(silent)))
    left = [one for one in found.letters if one[2] not in ("parked", "held")]
    yield from some("deliveries have not come to their end", (f"{one}" for one in left))


def _removed(found: Found) -> Iterator[str]:
    """What was removed has had all up to where it came, but for what was given up with it; nothing of it is left."""
    until = found.told.forgotten_at
    if until is None:
        return
    had = {line["position"] for line in found.deliveries if line["reaction"] == "chaos/short_lived"}
    due = {event.position for event in found.events if event.type == "edge.fact" and event.position <= until}
    missing = sorted(due - had - found.told.given_up)
    yield from some("events have not reached short_lived before it was removed", map(str, missing))
    left = [row for row in found.letters if row[0] == "chaos/short_lived"]
    left_cursor = any(name == "chaos/short_lived" for name, _ in found.cursors)
    if left or left_cursor:
        yield f"short_lived was forgotten, and has left {len(left)} rows{' and its position' if left_cursor else ''}"


def _started(found: Found) -> Iterator[str]:
    """An event starts one run, which does its work once: the ledger's own check sees to that."""
    orders = [event for event in found.events if event.type == "edge.order"]
    ids = {f"by-{event.id.removeprefix(event.source + ' ')}" for event in orders}
    there = {id for id, run in found.runs.items() if run[1] == "chaos/fulfil"}
    yield from some("orders have started no run", sorted(ids - there))
    yield from some("runs were started by no order", sorted(there - ids))
    done = Counter(line["whom"] for line in found.steps if line["did"] == "fulfil")
    yield from some(
        "orders were not fulfilled", (event.data["whom"] for event in orders if not done[event.data["whom"]])
    )


# --- waits ------------------------------------------------------------------------------------------------------


def _waits(found: Found) -> Iterator[str]:
    """Each answer is taken once, in order; and each waiter has got what was for it."""
    wrong: list[str] = []
    for id, (_, workflow, state, _, result) in found.runs.items():
        if state != "completed":
            continue  # it is named among those that have not ended
        got = json.loads(result or "null")
        if workflow == "chaos/asker" and got != [0, 1, 2]:
            wrong.append(f"{id} got the answers {got}")
        if workflow == "chaos/patient" and got != int(id.rpartition("-")[2]):
            wrong.append(f"{id} got {got}")
    yield from some("waits took something else than what came for them", wrong)


def _heard(found: Found) -> Iterator[str]:
    """Of several that are waited for, the earliest that was not consumed, over a restart."""
    heard: dict[str, dict[str, int]] = defaultdict(dict)
    for line in found.steps:
        when, word, position = (*line["did"].split(), "", "")[:3]
        if word == "heard":
            heard[line["whom"]].setdefault(when, int(position))
    sent: dict[str | None, list[int]] = defaultdict(list)
    for event in found.events:
        if event.type in ("note.sent", "note.sung"):
            sent[event.subject].append(event.position)
    wrong: list[str] = []
    for id, (_, workflow, state, since, _) in found.runs.items():
        if workflow == "chaos/listener" and state == "completed":
            order = [heard[id].get(f"{left}.{number}") for left in (1, 0) for number in (0, 1)]
            due = [position for position in sent[id] if position > since]
            if order != due:
                wrong.append(f"{id} heard {order}, and {due} was there")
    yield from some("notes were heard twice, out of order, or not at all", wrong)


# --- expectations -----------------------------------------------------------------------------------------------


def _fates(found: Found) -> dict[tuple[str, str, int], str]:
    """What must have become of each trigger, told from the log and the events' own times alone."""
    rules = (
        ("chaos/answered", "case.asked", "case.answered", ANSWER_SECONDS),
        ("chaos/dawn", "night.began", "night.ended", NIGHT_SECONDS),
        ("chaos/pulse", "beat.sent", "beat.seen", BEAT_SECONDS),
    )
    fates: dict[tuple[str, str, int], str] = {}
    for name, after, expected, within in rules:
        came = {str(event.subject): event.time for event in found.events if event.type == expected}  # one for each key
        for event in found.events:
            if event.type == after:
                at = came.get(str(event.subject))
                fate = "missed" if at is None or at < event.time else "met"
                if at is not None and at > event.time + within * SECOND:
                    fate = "late"
                fates[name, str(event.subject), event.position] = fate
    return fates


def _judged(found: Found) -> Iterator[str]:
    """Met, late and missed are told by the events' own times, whenever somebody looked."""
    fates = _fates(found)
    there = {(row.expectation, row.key, row.position): row.state for row in found.expected if row.position}
    wrong = [f"{row} is {there.get(row)}, not {fate}" for row, fate in fates.items() if there.get(row) != fate]
    yield from some("expectations were judged wrong", wrong)
    yield from some("expectations have no trigger", (f"{row}" for row in there if row not in fates))
    by_key = {key: state for (name, key, _), state in there.items() if name == "chaos/answered"}
    cases = found.told.cases.items()
    yield from some(
        "cases have come to another end",
        (f"{key} is {by_key.get(key)}, not {fate}" for key, fate in cases if by_key.get(key) != fate),
    )


def _misses(found: Found) -> Iterator[str]:
    """A miss is announced once, and its remedy is started once; nobody else's is."""
    told = Counter(event.id for event in found.events if event.type == "motet.expectation.missed")
    due = Counter(f"missed:{row.expectation}:{row.position}" for row in found.expected if row.missed_at is not None)
    yield from some("misses were not announced", (f"{id}" for id in due - told))
    yield from some("misses were announced that are none, or twice", (f"{id}" for id in told - due))
    silent = [row.key for row in found.expected if row.state == "missed" and row.missed_at is None]
    yield from some("what was missed was never announced", silent)
    remedies = {id for id, run in found.runs.items() if run[1] == "chaos/remedy"}
    wanted = {
        f"{row.expectation.removeprefix('chaos/')}:{row.key}"
        for row in found.expected
        if row.missed_at is not None and row.expectation != "chaos/pulse"
    }
    yield from some("misses have started no remedy", sorted(wanted - remedies))
    yield from some("remedies were started without a miss", sorted(remedies - wanted))


def _mornings(found: Found) -> Iterator[str]:
    """What came in time while nobody worked is not missed in the morning: the log is read first."""
    missed = {row.key for row in found.expected if row.expectation == "chaos/dawn" and row.missed_at is not None}
    yield from some("were missed although they had come in the night", sorted(missed & found.told.in_the_night))


def _mourned(found: Found) -> Iterator[str]:
    """A function as the remedy: a reaction to the misses of its expectation, and to no others."""
    misses = [event for event in found.events if event.type == "motet.expectation.missed"]
    due = Counter(event.id for event in misses if event.data["expectation"] == "chaos/pulse")
    mourned = Counter(event.causationid for event in found.events if event.type == "beat.mourned")
    yield from some("misses were not mourned", (f"{id}" for id in due - mourned))
    yield from some("misses were mourned more than once, or are none", (f"{id}" for id in mourned - due))
