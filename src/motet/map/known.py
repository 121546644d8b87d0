"""What there is to draw the map from: what code says of itself, in the store or in a module, and what the log holds."""

from __future__ import annotations

from typing import NamedTuple

from motet.app import App
from motet.catalog import Entry, catalog_of, note_publishes, read_entry
from motet.choreography import expectations, reactions
from motet.choreography.expectations import ExpectationNote
from motet.choreography.reactions import ReactionNote
from motet.store.protocol import Store, Traffic

NOTHING_SEEN = Traffic([], [], [])


class Known(NamedTuple):
    """By their names in records: what is declared; and what has been seen.

    Args:
        events: the types that are declared as classes, as far as a module was read.
    """

    workflows: dict[str, Entry]
    reactions: dict[str, ReactionNote]
    expectations: dict[str, ExpectationNote]
    events: frozenset[str] = frozenset()
    seen: Traffic = NOTHING_SEEN


async def from_store(store: Store, last: int) -> Known:
    """What workers' code has said, and the log's last so many events. Raises StoreError."""
    entries = {name: read_entry(text) for name, text in (await store.catalogs()).items()}
    cursors = await store.cursors()
    return Known(
        {name: entry for name, entry in entries.items() if entry.name in ("", name)},
        {row.name: reactions.read_note(row.definition) for row in cursors if row.kind == "reaction"},
        {row.name: expectations.read_note(row.definition) for row in cursors if row.kind == "expectation"},
        seen=await store.traffic(last),
    )


def from_app(app: App) -> Known:
    """What a module declares. Raises DefinitionError: it cannot work."""
    app.registry.prepare()
    types = app.registry.events
    note_publishes(app.reactions, app.registry)
    entries = (read_entry(text) for text in catalog_of(app.registry).values())
    return Known(
        {entry.name: entry for entry in entries},
        {one.name: reactions.read_note(one.subscription(types).definition) for one in app.reactions},
        {one.name: expectations.read_note(one.subscription(one.rule(types)).definition) for one in app.expectations},
        frozenset(types.by_name),
    )


def together(store: Known, module: Known) -> Known:
    """Both; where both know the same, the module's code holds."""
    return Known(
        store.workflows | module.workflows, store.reactions | module.reactions,
        store.expectations | module.expectations, store.events | module.events, store.seen,
    )  # fmt: skip
