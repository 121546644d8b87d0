"""Events of the log by what they are about: by conversation through its index, by the rest along the log."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from motet.model.clock import Micros
from motet.model.event import ENGINE, LoggedEvent
from motet.store.postgres.link import Link
from motet.store.protocol import EventFilter

_FIELDS = ", ".join(LoggedEvent._fields)
_OWN = f"{ENGINE}."
_EVERYTHING = (1 << 63) - 1

RECORDED_BEHIND = """SELECT v.position, (SELECT recorded_at FROM motet.event WHERE event.position > v.position
    ORDER BY event.position LIMIT 1) FROM unnest($1::bigint[]) AS v (position)"""


async def found(link: Link, filter: EventFilter) -> list[LoggedEvent]:
    """In the log's order; without `after` the last ones."""
    sql, values = query(filter)
    return sorted(LoggedEvent(*row) for row in await link.rows(sql, *values))


def query(filter: EventFilter) -> tuple[str, list[Any]]:
    """The statement, and what is bound to it."""
    where, values = _chosen(filter)
    order = "DESC" if filter.after is None else "ASC"
    sql = f"SELECT {_FIELDS} FROM motet.event WHERE {where} ORDER BY position {order} LIMIT ${len(values) + 1}"
    return sql, [*values, filter.limit]


async def count(link: Link, filter: EventFilter) -> int:
    where, values = _chosen(filter)
    return int(await link.value(f"SELECT count(*) FROM motet.event WHERE {where}", *values))


def _chosen(filter: EventFilter) -> tuple[str, list[Any]]:
    wanted = ["position > $1", "position <= $2"]
    chosen: list[Any] = [filter.after or 0, _EVERYTHING if filter.until is None else filter.until]
    if filter.types:
        meant, patterns = of_types(filter.types, "type", len(chosen))
        wanted.append(meant)
        chosen += patterns
    for column, value in (("correlationid", filter.conversation), ("subject", filter.key), ("source", filter.source)):
        if value is not None:
            chosen.append(value)
            wanted.append(f"{column} = ${len(chosen)}")
    if not filter.addressed:
        wanted.append("recipient IS NULL")
    return " AND ".join(wanted), chosen


def of_types(patterns: Sequence[str], column: str, bound: int) -> tuple[str, list[str]]:
    """The condition that a type is one of these names, or fits one of these patterns, as reactions understand them.

    Args:
        bound: how many values come before those of the condition.
    """
    conditions: list[str] = []
    for number, pattern in enumerate(patterns, bound + 1):
        if "*" not in pattern:
            conditions.append(f"{column} = ${number}")
        elif pattern.startswith(_OWN):
            conditions.append(f"{column} LIKE ${number}")
        else:
            conditions.append(f"({column} LIKE ${number} AND NOT starts_with({column}, '{_OWN}'))")
    return f"({' OR '.join(conditions)})", [_like(pattern) if "*" in pattern else pattern for pattern in patterns]


def _like(pattern: str) -> str:
    return re.sub(r"[\\%_]", r"\\\g<0>", pattern).replace("*", "%")


async def recorded_behind(link: Link, positions: Sequence[int]) -> dict[int, Micros]:
    rows = await link.rows(RECORDED_BEHIND, sorted(set(positions)))
    return {position: at for position, at in rows if at is not None}
