"""A batch's mutations in the order in which a store applies them, whatever the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from motet.model.event import EventRow
from motet.store.changes import CHANGES
from motet.store.mutations import KeepDelivery, KeepExpected, MoveCursor, Mutation

ByKind = dict[type, list[Any]]


def sorted_by_kind(units: Sequence[list[Mutation]]) -> ByKind:
    """The mutations of all units, by kind, in the order in which they were submitted."""
    by_kind: ByKind = {}
    for unit in units:
        for mutation in unit:
            kind = type(mutation)
            rows = by_kind.get(kind)
            if rows is None:
                by_kind[kind] = [mutation]
            else:
                rows.append(mutation)
    return by_kind


def rounds(kind: type, rows: list[Any]) -> list[list[Any]]:
    """The rows in groups that name each run once, to be applied one after the other as they were submitted."""
    if kind not in CHANGES or len(rows) == 1 or len({row[0] for row in rows}) == len(rows):
        return [rows]
    groups: list[list[Any]] = []
    seen: dict[str, int] = {}
    for row in rows:
        turn = seen[row[0]] = seen.get(row[0], -1) + 1
        if turn == len(groups):
            groups.append([])
        groups[turn].append(row)
    return groups


def latest(moves: list[MoveCursor]) -> list[MoveCursor]:
    """The last move of each cursor and epoch: a busy reader submits many for one batch, each further than the last."""
    return [*{move[:2]: move for move in moves}.values()]


def last_kept(kind: type, rows: list[Any]) -> list[Any]:
    """Of several records of one delivery, or of what one trigger has armed, the last, for each epoch."""
    key = {KeepExpected: 3, KeepDelivery: 2}.get(kind)
    return rows if key is None else [*{(row[:key], row.epoch): row for row in rows}.values()]


def never_backwards(events: list[EventRow], after: int) -> list[EventRow]:
    """Recorded time never runs backwards along the log, whatever the clocks do; `after` is the last event's."""
    rows: list[EventRow] = []
    for event in events:
        if event.recorded_at < after:
            event = event._replace(recorded_at=after)  # noqa: PLW2901 - the same event, a little later
        after = event.recorded_at
        rows.append(event)
    return rows
