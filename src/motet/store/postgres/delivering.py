"""Deliveries that are not simply in order: reading them, and what a person does about them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from motet.model.clock import Micros
from motet.model.delivery import DEAD, DeliveryRow, DeliveryState
from motet.store.postgres.finding import of_types
from motet.store.postgres.following import LOCK
from motet.store.postgres.link import Link
from motet.store.protocol import DeliveryFilter

_FIELDS = ", ".join(f"delivery.{name}" for name in DeliveryRow._fields)
_DEAD = ", ".join(f"'{state}'" for state in DEAD)

# `OFFSET 0`: one reaction after the other, along its own part of the index.
FORGET_DONE = """DELETE FROM motet.delivery WHERE ctid = ANY (ARRAY (
    SELECT done.ctid FROM motet.cursor CROSS JOIN LATERAL (
        SELECT delivery.ctid FROM motet.delivery WHERE delivery.reaction = cursor.name AND delivery.state = 'done'
        AND delivery.position <= cursor.position OFFSET 0
    ) AS done WHERE cursor.name = ANY ($1::text[])))"""
BY_REACTION = f"""SELECT {_FIELDS} FROM motet.delivery WHERE reaction = $1 AND (state <> 'parked'
    OR position > (SELECT position FROM motet.cursor WHERE name = $1)) ORDER BY position"""
COUNTS = "SELECT reaction, state, count(*) FROM motet.delivery GROUP BY reaction, state"
TOUCH = "UPDATE motet.cursor SET touched = touched + 1 WHERE name = ANY ($1::text[])"
EDIT = f"""UPDATE motet.delivery SET data = $1 WHERE reaction = $2 AND position = $3 AND state IN ({_DEAD})"""
PAUSE = "UPDATE motet.cursor SET paused = $1 WHERE name = $2"
# An expectation would count its triggers twice.
REPLAY = """UPDATE motet.cursor SET position = $1, epoch = epoch + 1, owner = NULL, crashes = 0, moved_at = $2
    WHERE name = $3 AND kind = 'reaction'"""
REPLAY_ROWS = "DELETE FROM motet.delivery WHERE reaction = $1 AND position > $2"
FORGET = (
    "DELETE FROM motet.delivery WHERE reaction = $1",
    "DELETE FROM motet.expected WHERE expectation = $1",
    "DELETE FROM motet.cursor WHERE name = $1",
)


async def forget_done(link: Link, reactions: Iterable[str]) -> None:
    """What is done needs no row once the reaction's position has reached it; until then, an heir would do it again."""
    await link.do(FORGET_DONE, sorted(reactions))


async def under_way(link: Link, reaction: str) -> list[DeliveryRow]:
    return [DeliveryRow(*row) for row in await link.rows(BY_REACTION, reaction)]


async def counts(link: Link) -> dict[str, dict[DeliveryState, int]]:
    found: dict[str, dict[DeliveryState, int]] = {}
    for reaction, state, count in await link.rows(COUNTS):
        found.setdefault(reaction, {})[state] = count
    return found


async def listed(link: Link, filter: DeliveryFilter) -> list[DeliveryRow]:
    """In the order of reactions and positions."""
    where, values = _chosen(filter)
    query = f"SELECT {_FIELDS} {where} ORDER BY reaction, delivery.position LIMIT ${len(values) + 1}"
    return [DeliveryRow(*row) for row in await link.rows(query, *values, filter.limit)]


async def count(link: Link, filter: DeliveryFilter) -> int:
    where, values = _chosen(filter)
    return int(await link.value(f"SELECT count(*) {where}", *values))


def _chosen(filter: DeliveryFilter) -> tuple[str, list[Any]]:
    wanted = ["delivery.state = ANY ($1::text[])"]
    values: list[Any] = [list(filter.states)]

    def want(condition: str, *given: Any) -> None:
        for value in given:
            values.append(value)
            condition = condition.replace("?", f"${len(values)}", 1)
        wanted.append(condition)

    if filter.reaction is not None:
        want("reaction = ?", filter.reaction)
    if filter.position is not None:
        want("delivery.position = ?", filter.position)
    if filter.key is not None:
        want("delivery.key = ?", filter.key)
    join = ""
    if filter.type is not None or filter.conversation is not None:
        join = "JOIN motet.event ON event.position = delivery.position"
    if filter.type is not None:
        meant, patterns = of_types([filter.type], "event.type", len(values))
        wanted.append(meant)
        values += patterns
    if filter.conversation is not None:
        want("event.correlationid = ?", filter.conversation)
    if filter.after is not None:
        want("(reaction, delivery.position) > (?, ?)", *filter.after)
    return f"FROM motet.delivery {join} WHERE {' AND '.join(wanted)}", values


async def redrive(link: Link, filter: DeliveryFilter, now: Micros) -> int:
    """Dead letters are to be tried again at once, with all their attempts; returns how many."""
    return await _change(link, filter, "state = 'retrying', attempts = 0, crashes = 0, due = $3", now)


async def discard(link: Link, filter: DeliveryFilter) -> int:
    return await _change(link, filter, "state = 'done'")


async def edit(link: Link, reaction: str, position: int, data: str | None) -> bool:
    return bool(await link.do(EDIT, data, reaction, position))


async def _change(link: Link, filter: DeliveryFilter, change: str, *values: Any) -> int:
    where, chosen = _chosen(filter._replace(states=tuple(state for state in filter.states if state in DEAD)))
    keys = await link.rows(
        f"SELECT reaction, delivery.position {where} ORDER BY reaction, delivery.position "
        f"LIMIT ${len(chosen) + 1} FOR UPDATE OF delivery",
        *chosen, filter.limit,
    )  # fmt: skip
    if not keys:
        return 0
    reactions, positions = zip(*keys, strict=True)
    await link.do(
        f"""UPDATE motet.delivery SET {change} FROM unnest($1::text[], $2::bigint[]) AS v (reaction, position)
        WHERE delivery.reaction = v.reaction AND delivery.position = v.position""",
        reactions, positions, *values,
    )  # fmt: skip
    touched = sorted(set(reactions))
    await link.do(TOUCH, touched)
    await forget_done(link, touched)
    return len(keys)


async def pause(link: Link, reaction: str, paused: bool) -> bool:
    return bool(await link.do(PAUSE, paused, reaction))


async def replay(link: Link, reaction: str, position: int, now: Micros) -> bool:
    """Whoever owns it takes it anew; what it had left behind beyond the position is delivered anew."""
    await link.rows(LOCK, [reaction])
    if not await link.do(REPLAY, position, now, reaction):
        return False
    await link.do(REPLAY_ROWS, reaction, position)
    return True


async def forget(link: Link, reaction: str) -> bool:
    """The reaction or expectation is no more, with everything that it has left behind."""
    await link.rows(LOCK, [reaction])
    return bool([await link.do(statement, reaction) for statement in FORGET][-1])
