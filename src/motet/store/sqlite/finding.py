"""Events of the log by what they are about: by conversation through its index, by the rest along the log."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from motet.model.clock import Micros
from motet.model.event import ENGINE, LoggedEvent
from motet.store.protocol import EventFilter

_FIELDS = ", ".join(LoggedEvent._fields)
_OWN = f"{ENGINE}."
_EVERYTHING = (1 << 63) - 1

RECORDED_BEHIND = """SELECT value, (SELECT recorded_at FROM event WHERE position > value ORDER BY position LIMIT 1)
    FROM json_each(?)"""


def found(connection: sqlite3.Connection, filter: EventFilter) -> list[LoggedEvent]:
    """In the log's order; without `after` the last ones."""
    sql, values = query(filter)
    return sorted(LoggedEvent(*row) for row in connection.execute(sql, values))


def query(filter: EventFilter) -> tuple[str, list[object]]:
    """The statement, and what is bound to it."""
    where, values = _chosen(filter)
    order = "DESC" if filter.after is None else "ASC"
    return f"SELECT {_FIELDS} FROM event WHERE {where} ORDER BY position {order} LIMIT ?", [*values, filter.limit]


def count(connection: sqlite3.Connection, filter: EventFilter) -> int:
    where, values = _chosen(filter)
    (number,) = connection.execute(f"SELECT count(*) FROM event WHERE {where}", values).fetchone()
    return int(number)


def _chosen(filter: EventFilter) -> tuple[str, list[object]]:
    until = _EVERYTHING if filter.until is None else filter.until
    wanted, values = ["position > ?", "position <= ?"], [filter.after or 0, until]
    chosen: list[object] = [*values]
    if filter.types:
        meant, patterns = of_types(filter.types)
        wanted.append(meant)
        chosen += patterns
    for column, value in (("correlationid", filter.conversation), ("subject", filter.key), ("source", filter.source)):
        if value is not None:
            wanted.append(f"{column} = ?")
            chosen.append(value)
    if not filter.addressed:
        wanted.append("recipient IS NULL")
    return " AND ".join(wanted), chosen


def of_types(patterns: Sequence[str], column: str = "type") -> tuple[str, list[str]]:
    """The condition that a type is one of these names, or fits one of these patterns, as reactions understand them."""
    conditions: list[str] = []
    for pattern in patterns:
        if "*" not in pattern:
            conditions.append(f"{column} = ?")
        elif pattern.startswith(_OWN):
            conditions.append(f"{column} GLOB ?")
        else:
            conditions.append(f"({column} GLOB ? AND substr({column}, 1, {len(_OWN)}) <> '{_OWN}')")
    return f"({' OR '.join(conditions)})", [_glob(pattern) if "*" in pattern else pattern for pattern in patterns]


def _glob(pattern: str) -> str:
    """In SQLite's patterns `?` and `[` mean something too."""
    return "".join(f"[{character}]" if character in "?[" else character for character in pattern)


def recorded_behind(connection: sqlite3.Connection, positions: Sequence[int]) -> dict[int, Micros]:
    rows = connection.execute(RECORDED_BEHIND, (json.dumps(sorted(set(positions))),))
    return {position: at for position, at in rows if at is not None}
