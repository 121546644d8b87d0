"""What is expected after which events: reading it, by keys, by time, and for who wants to see it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from motet.model.expected import Expected, ExpectedState
from motet.store.protocol import ExpectedFilter, ExpectedView

_FIELDS = ", ".join(Expected._fields)

_BY_KEYS = "WHERE expectation = ?1 AND key IN (SELECT value FROM json_each(?2))"
# Left alone, SQLite goes by the primary key, through all that was ever expected for a key.
FOR_KEYS: dict[ExpectedView, str] = {
    "all": f"SELECT {_FIELDS} FROM expected {_BY_KEYS}",
    "unsettled": f"SELECT {_FIELDS} FROM expected INDEXED BY expected_unsettled {_BY_KEYS} "
    "AND state IN ('early', 'open', 'missed')",
    "early": f"SELECT {_FIELDS} FROM expected {_BY_KEYS} AND position = 0",
}
OPEN = f"SELECT {_FIELDS} FROM expected WHERE expectation = ? AND state = 'open' ORDER BY armed_at LIMIT ?"
COUNTS = "SELECT expectation, state, count(*) FROM expected GROUP BY expectation, state"
# What is met or late grows with the years, and is in neither index.
NOT_COME = """
SELECT expectation, state, count(*) FROM expected INDEXED BY expected_open WHERE state = 'open' GROUP BY expectation
UNION ALL
SELECT expectation, state, count(*) FROM expected INDEXED BY expected_unsettled
WHERE state IN ('early', 'open', 'missed') AND state = 'missed' GROUP BY expectation
"""
_PAGE = "(armed_at, expectation, key, position)"


def for_keys(
    connection: sqlite3.Connection, expectation: str, keys: Sequence[str], view: ExpectedView
) -> list[Expected]:
    values = (expectation, json.dumps(list(keys)))
    return [Expected(*row) for row in connection.execute(FOR_KEYS[view], values)]


def open_ones(connection: sqlite3.Connection, expectation: str, limit: int) -> list[Expected]:
    return [Expected(*row) for row in connection.execute(OPEN, (expectation, limit))]


def expected(connection: sqlite3.Connection, filter: ExpectedFilter) -> list[Expected]:
    where = [f"state IN ({', '.join('?' * len(filter.states))})"]
    values: list[str | int] = [*filter.states]
    if set(filter.states) <= {"early", "open", "missed"}:
        where.append("state IN ('early', 'open', 'missed')")
    if filter.expectation is not None:
        where.append("expectation = ?")
        values.append(filter.expectation)
    if filter.conversation is not None:
        where.append("conversation = ?")
        values.append(filter.conversation)
    if filter.after is not None:
        where.append(f"{_PAGE} > (?, ?, ?, ?)")
        values += filter.after
    values.append(filter.limit)
    query = f"SELECT {_FIELDS} FROM expected WHERE {' AND '.join(where)} ORDER BY {_PAGE[1:-1]} LIMIT ?"
    return [Expected(*row) for row in connection.execute(query, values)]


def counts(connection: sqlite3.Connection) -> dict[str, dict[ExpectedState, int]]:
    return _counted(connection, COUNTS)


def not_come(connection: sqlite3.Connection) -> dict[str, dict[ExpectedState, int]]:
    return _counted(connection, NOT_COME)


def _counted(connection: sqlite3.Connection, query: str) -> dict[str, dict[ExpectedState, int]]:
    found: dict[str, dict[ExpectedState, int]] = {}
    for expectation, state, count in connection.execute(query):
        found.setdefault(expectation, {})[state] = count
    return found
