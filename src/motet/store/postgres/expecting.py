"""What is expected after which events: reading it, by keys, by time, and for who wants to see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from motet.model.expected import Expected, ExpectedState
from motet.store.postgres.link import Link
from motet.store.protocol import ExpectedFilter, ExpectedView

_FIELDS = ", ".join(f"expected.{name}" for name in Expected._fields)
_UNSETTLED = "state IN ('early', 'open', 'missed')"

# Each key is looked up by itself: of a condition on many keys, the planner might read all of an expectation's rows.
_BY_KEY = f"""SELECT {_FIELDS} FROM unnest($2::text[]) AS v (key)
    JOIN motet.expected ON expectation = $1 AND expected.key = v.key"""
FOR_KEYS: dict[ExpectedView, str] = {
    "all": _BY_KEY,
    "unsettled": f"{_BY_KEY} WHERE {_UNSETTLED}",
    "early": f"{_BY_KEY} WHERE position = 0",
}
OPEN = f"SELECT {_FIELDS} FROM motet.expected WHERE expectation = $1 AND state = 'open' ORDER BY armed_at LIMIT $2"
COUNTS = "SELECT expectation, state, count(*) FROM motet.expected GROUP BY expectation, state"
# What is met or late grows with the years, and is in neither index.
NOT_COME = """SELECT expectation, 'open', count(*) FROM motet.expected WHERE state = 'open' GROUP BY expectation
    UNION ALL SELECT expectation, 'missed', count(*) FROM motet.expected WHERE state = 'missed' GROUP BY expectation"""
_PAGE = "(armed_at, expectation, key, position)"


async def for_keys(link: Link, expectation: str, keys: Sequence[str], view: ExpectedView) -> list[Expected]:
    return [Expected(*row) for row in await link.rows(FOR_KEYS[view], expectation, sorted(set(keys)))]


async def open_ones(link: Link, expectation: str, limit: int) -> list[Expected]:
    return [Expected(*row) for row in await link.rows(OPEN, expectation, limit)]


async def expected(link: Link, filter: ExpectedFilter) -> list[Expected]:
    values: list[Any] = [list(filter.states)]
    where = ["state = ANY ($1::text[])"]
    if set(filter.states) <= {"early", "open", "missed"}:
        where.append(_UNSETTLED)
    if filter.expectation is not None:
        values.append(filter.expectation)
        where.append(f"expectation = ${len(values)}")
    if filter.conversation is not None:
        values.append(filter.conversation)
        where.append(f"conversation = ${len(values)}")
    if filter.after is not None:
        marks = ", ".join(f"${len(values) + number}" for number in range(1, 5))
        where.append(f"{_PAGE} > ({marks})")
        values += filter.after
    query = (
        f"SELECT {_FIELDS} FROM motet.expected WHERE {' AND '.join(where)} ORDER BY {_PAGE[1:-1]} "
        f"LIMIT ${len(values) + 1}"
    )
    return [Expected(*row) for row in await link.rows(query, *values, filter.limit)]


async def counts(link: Link) -> dict[str, dict[ExpectedState, int]]:
    return await _counted(link, COUNTS)


async def not_come(link: Link) -> dict[str, dict[ExpectedState, int]]:
    return await _counted(link, NOT_COME)


async def _counted(link: Link, query: str) -> dict[str, dict[ExpectedState, int]]:
    found: dict[str, dict[ExpectedState, int]] = {}
    for expectation, state, count in await link.rows(query):
        found.setdefault(expectation, {})[state] = count
    return found
