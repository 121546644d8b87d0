"""Who publishes which event, as code has said it of itself: workflows, their steps, and reactions.

Not here: what has been published (the log knows), and what a program publishes outside of all of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

import msgspec

from motet.catalog import Entry, line_of, read_entry
from motet.choreography.reactions import ReactionNote, read_note
from motet.model.history import STEPS
from motet.store.protocol import Store


class Publishes(NamedTuple):
    """That somebody publishes an event, by their name in records, and where that is written."""

    who: str
    event: str
    place: str | None
    kind: Literal["workflow", "step", "reaction"]


class Publisher(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who is known to publish an event: a workflow, a step or a reaction."""

    kind: Literal["workflow", "step", "reaction"]
    name: str
    place: str | None = None


def publishes_of(workflows: Mapping[str, Entry], reactions: Mapping[str, ReactionNote]) -> Iterator[Publishes]:
    """Who publishes which type, by what is declared, and where. What a step publishes stands for its workflow's."""
    for name, entry in workflows.items():
        for item in entry.ahead:
            if item.kind == "publish":
                for event in item.names:
                    yield Publishes(name, event, line_of(entry.place, item), "workflow")
            elif item.kind in STEPS:
                for step in item.names:
                    note = entry.steps.get(step)
                    for event in note.publishes if note is not None else ():
                        yield Publishes(name, event, note.place if note is not None else None, "step")
    for name, reaction in reactions.items():
        for event in reaction.publishes:
            yield Publishes(name, event, reaction.place, "reaction")


async def publishers_of(store: Store, events: Iterable[str]) -> dict[str, list[Publisher]]:
    """By event, who is known to publish it. Raises StoreError."""
    wanted = frozenset(events)
    entries = {name: read_entry(text) for name, text in (await store.catalogs()).items()}
    workflows = {name: entry for name, entry in entries.items() if entry.name in ("", name)}
    notes = {row.name: read_note(row.definition) for row in await store.cursors() if row.kind == "reaction"}
    found: dict[str, list[Publisher]] = {event: [] for event in wanted}
    for who, event, place, kind in publishes_of(workflows, notes):
        one = Publisher(kind, who, place)
        if event in wanted and one not in found[event]:
            found[event].append(one)
    return found
