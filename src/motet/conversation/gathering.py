"""Everything that the store holds of one conversation, in a few reads."""

from __future__ import annotations

from typing import Final, get_args

from motet.choreography.expectations import read_note
from motet.conversation.tree import Records
from motet.conversation.twigs import RunRecords
from motet.model.clock import Micros
from motet.model.delivery import DeliveryState
from motet.model.expected import ExpectedState
from motet.model.run import Run
from motet.status import build_status
from motet.store.protocol import DeliveryFilter, ExpectedFilter, RunFilter, Store
from motet.store.retention import Retaining

MOST_RUNS: Final = 500
MOST_EVENTS: Final = 2_000


async def gather(store: Store, key: str, now: Micros) -> Records | None:
    """The records of the conversation of this name, or of the run of this id; None if there is neither.

    Raises StoreError.
    """
    records = await _conversation(store, key, now)
    if records is None:
        run = await store.run(key)
        if run is None and isinstance(store, Retaining):
            pruned = await store.tombstone(key)
            return await _conversation(store, pruned.conversation, now) if pruned is not None else None
        records = await _conversation(store, run.conversation, now) if run is not None else None
    return records


async def _conversation(store: Store, name: str, now: Micros) -> Records | None:
    runs = await store.runs(RunFilter(conversation=name, limit=MOST_RUNS + 1))
    events = await store.events_of(name, 0, MOST_EVENTS + 1)
    expected = await store.expected(
        ExpectedFilter(None, get_args(ExpectedState), conversation=name, limit=MOST_EVENTS + 1)
    )
    pruned = await store.tombstones(name, MOST_RUNS + 1) if isinstance(store, Retaining) else []
    if not (runs or events or expected or pruned):
        return None
    complete = (
        len(pruned) <= MOST_RUNS
        and len(runs) <= MOST_RUNS
        and len(events) <= MOST_EVENTS
        and len(expected) <= MOST_EVENTS
    )
    deliveries = await store.deliveries(
        DeliveryFilter(get_args(DeliveryState), conversation=name, limit=10 * MOST_EVENTS)
    )
    cursors = await store.cursors()
    notes = {row.name: read_note(row.definition) for row in cursors if row.kind == "expectation"}
    told = await _with_histories(store, runs[:MOST_RUNS], now)
    return Records(
        name, told, events[:MOST_EVENTS], deliveries, cursors, expected[:MOST_EVENTS], notes, complete,
        pruned[:MOST_RUNS],
    )  # fmt: skip


async def _with_histories(store: Store, runs: list[Run], now: Micros) -> list[RunRecords]:
    """Oldest first."""
    histories = await store.histories([(run.uid, run.generation) for run in runs])
    catalogs = {kind: await store.catalog(*kind) for kind in {(run.workflow, run.version) for run in runs}}
    return [
        RunRecords(run, build_status(run, histories[run.uid], catalogs[run.workflow, run.version], now))
        for run in reversed(runs)
    ]
