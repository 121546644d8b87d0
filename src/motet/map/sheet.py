"""The map itself. Made from what is known; reads no store and runs no code of anybody's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from motet.catalog import line_of
from motet.choreography.patterns import Patterns
from motet.map.known import Known
from motet.map.policies import Policy
from motet.model.event import ENGINE
from motet.publishers import publishes_of


class Publisher(msgspec.Struct, frozen=True):
    """Who publishes an event: a workflow, a step, a reaction, an app.

    Args:
        declared: its source says so.
        seen: how many of them are in the part of the log that was looked at.
    """

    name: str
    declared: bool
    seen: int
    place: str | None = None


class Type(msgspec.Struct, frozen=True):
    """An event's type: who publishes it, and who does something with it: reactions, workflows that wait for it,
    expectations that it triggers or answers."""

    name: str
    publishers: list[Publisher]
    reactions: list[str]
    waits: list[str]
    triggers: list[str]
    answers: list[str]


class Seen(msgspec.Struct, frozen=True):
    """So many times, an event of the type `cause` has caused an event of the type `effect`, published by `by`; or has
    started a run of the workflow `effect`."""

    cause: str
    effect: str
    by: str | None
    count: int


class Finding(msgspec.Struct, frozen=True):
    """Something that may be meant so, or may be a mistake."""

    kind: Literal["nobody-reacts", "nobody-publishes", "cycle", "core-waits-for-edge", "could-be-a-reaction"]
    subject: str
    text: str
    place: str | None = None


class Sheet(msgspec.Struct, frozen=True):
    """The whole map."""

    events: list[Type]
    reactions: dict[str, tuple[str, ...]]
    workflows: dict[str, str | None]
    policies: list[Policy]
    seen: list[Seen]
    findings: list[Finding]


def types_of(known: Known) -> list[Type]:
    """Every type of event that is known of, by name; of the engine's own, those that something is done with."""
    publishers = _publishers(known)
    names = {*publishers, *known.events}
    for note in known.expectations.values():
        names |= {note.expected, note.after}
    for reaction in known.reactions.values():
        names |= {event for event in reaction.events if "*" not in event}
    names |= {name for _, name, _ in waits_of(known)}
    found = [_type(name, publishers.get(name, {}), known) for name in sorted(names)]
    return [one for one in found if not is_engine(one.name) or _is_used(one)]


def _is_used(one: Type) -> bool:
    return bool(one.reactions or one.waits or one.triggers or one.answers)


def is_engine(name: str) -> bool:
    """Whether the engine itself publishes it."""
    return name.startswith(f"{ENGINE}.")


def _type(name: str, publishers: dict[str, Publisher], known: Known) -> Type:
    return Type(
        name,
        [publishers[one] for one in sorted(publishers)],
        [one for one, note in sorted(known.reactions.items()) if Patterns(note.events).match(name)],
        sorted({workflow for workflow, waited, _ in waits_of(known) if waited == name}),
        [one for one, note in sorted(known.expectations.items()) if note.after == name],
        [one for one, note in sorted(known.expectations.items()) if note.expected == name],
    )


def waits_of(known: Known) -> Iterator[tuple[str, str, str | None]]:
    """Which workflow waits for which type, and where."""
    for name, entry in known.workflows.items():
        for item in entry.ahead:
            if item.kind == "wait":
                for event in item.name.split("|"):
                    yield name, event, line_of(entry.place, item)


def _publishers(known: Known) -> dict[str, dict[str, Publisher]]:
    """By type and name. What a step publishes is seen under its app's name, and so stands for itself."""
    found: dict[str, dict[str, Publisher]] = {}
    for who, event, place, _ in publishes_of(known.workflows, known.reactions):
        found.setdefault(event, {}).setdefault(who, Publisher(who, True, 0, place))
    for event, source, count in known.seen.published:
        of_type = found.setdefault(event, {})
        before = of_type.get(source, Publisher(source, False, 0))
        of_type[source] = msgspec.structs.replace(before, seen=count)
    return found
