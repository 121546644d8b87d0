"""Deliveries that are not simply in order: reading them, and what a person does about them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from motet.model.clock import Micros
from motet.model.delivery import DEAD, DeliveryRow, DeliveryState
from motet.store.protocol import DeliveryFilter
from motet.store.sqlite.finding import of_types

_FIELDS = ", ".join(f"delivery.{name}" for name in DeliveryRow._fields)
_DEAD = ", ".join(f"'{state}'" for state in DEAD)

FORGET_DONE = """DELETE FROM delivery INDEXED BY delivery_done WHERE reaction = ?1 AND state = 'done'
    AND position <= (SELECT position FROM cursor WHERE name = ?1)"""
BY_REACTION = f"""SELECT {_FIELDS} FROM delivery WHERE reaction = ?1 AND (state <> 'parked'
    OR position > (SELECT position FROM cursor WHERE name = ?1)) ORDER BY position"""
COUNTS = "SELECT reaction, state, count(*) FROM delivery GROUP BY reaction, state"
TOUCH = "UPDATE cursor SET touched = touched + 1 WHERE name = ?"


def forget_done(connection: sqlite3.Connection, reactions: Iterable[str]) -> None:
    """What is done needs no row once the reaction's position has reached it; until then, an heir would do it again."""
    connection.executemany(FORGET_DONE, [(reaction,) for reaction in reactions])


def under_way(connection: sqlite3.Connection, reaction: str) -> list[DeliveryRow]:
    return [DeliveryRow(*row) for row in connection.execute(BY_REACTION, (reaction,))]


def counts(connection: sqlite3.Connection) -> dict[str, dict[DeliveryState, int]]:
    found: dict[str, dict[DeliveryState, int]] = {}
    for reaction, state, count in connection.execute(COUNTS):
        found.setdefault(reaction, {})[state] = count
    return found


def listed(connection: sqlite3.Connection, filter: DeliveryFilter) -> list[DeliveryRow]:
    """In the order of reactions and positions."""
    where, values = _chosen(filter)
    query = f"SELECT {_FIELDS} FROM delivery {where} ORDER BY reaction, delivery.position LIMIT ?"
    return [DeliveryRow(*row) for row in connection.execute(query, (*values, filter.limit))]


def count(connection: sqlite3.Connection, filter: DeliveryFilter) -> int:
    where, values = _chosen(filter)
    (found,) = connection.execute(f"SELECT count(*) FROM delivery {where}", values).fetchone()
    return int(found)


def _chosen(filter: DeliveryFilter) -> tuple[str, list[object]]:
    wanted: list[str] = [f"delivery.state IN ({', '.join('?' * len(filter.states))})"]
    values: list[object] = [*filter.states]
    join = ""
    if filter.reaction is not None:
        wanted.append("reaction = ?")
        values.append(filter.reaction)
    if filter.position is not None:
        wanted.append("delivery.position = ?")
        values.append(filter.position)
    if filter.key is not None:
        wanted.append("delivery.key = ?")
        values.append(filter.key)
    if filter.type is not None or filter.conversation is not None:
        join = "JOIN event ON event.position = delivery.position"
    if filter.type is not None:
        meant, patterns = of_types([filter.type], "event.type")
        wanted.append(meant)
        values += patterns
    if filter.conversation is not None:
        wanted.append("event.correlationid = ?")
        values.append(filter.conversation)
    if filter.after is not None:
        wanted.append("(reaction, delivery.position) > (?, ?)")
        values += filter.after
    return f"{join} WHERE {' AND '.join(wanted)}", values


def redrive(connection: sqlite3.Connection, filter: DeliveryFilter, now: Micros) -> int:
    """Dead letters are to be tried again at once, with all their attempts; returns how many."""
    again = "UPDATE delivery SET state = 'retrying', attempts = 0, crashes = 0, due = ?"
    return _change(connection, filter, again, [now])


def discard(connection: sqlite3.Connection, filter: DeliveryFilter) -> int:
    return _change(connection, filter, "UPDATE delivery SET state = 'done'", [])


def edit(connection: sqlite3.Connection, reaction: str, position: int, data: str | None) -> bool:
    changed = connection.execute(
        f"UPDATE delivery SET data = ? WHERE reaction = ? AND position = ? AND state IN ({_DEAD})",
        (data, reaction, position),
    )
    return bool(changed.rowcount)


def _change(connection: sqlite3.Connection, filter: DeliveryFilter, sql: str, values: list[object]) -> int:
    where, chosen = _chosen(filter._replace(states=tuple(state for state in filter.states if state in DEAD)))
    keys = connection.execute(
        f"SELECT reaction, delivery.position FROM delivery {where} ORDER BY reaction, delivery.position LIMIT ?",
        (*chosen, filter.limit),
    ).fetchall()
    connection.executemany(f"{sql} WHERE reaction = ? AND position = ?", [(*values, *key) for key in keys])
    reactions = {key[0] for key in keys}
    connection.executemany(TOUCH, [(reaction,) for reaction in reactions])
    forget_done(connection, reactions)
    return len(keys)


def pause(connection: sqlite3.Connection, reaction: str, paused: bool) -> bool:
    changed = connection.execute("UPDATE cursor SET paused = ? WHERE name = ?", (int(paused), reaction))
    return bool(changed.rowcount)


def replay(connection: sqlite3.Connection, reaction: str, position: int, now: Micros) -> bool:
    """Whoever owns it takes it anew; what it had left behind beyond the position is delivered anew."""
    changed = connection.execute(
        "UPDATE cursor SET position = ?, epoch = epoch + 1, owner = NULL, crashes = 0, moved_at = ? "
        "WHERE name = ? AND kind = 'reaction'",  # an expectation would count its triggers twice
        (position, now, reaction),
    )
    connection.execute("DELETE FROM delivery WHERE reaction = ? AND position > ?", (reaction, position))
    return bool(changed.rowcount)


def forget(connection: sqlite3.Connection, reaction: str) -> bool:
    """The reaction or expectation is no more, with everything that it has left behind."""
    changed = connection.execute("DELETE FROM cursor WHERE name = ?", (reaction,))
    connection.execute("DELETE FROM delivery WHERE reaction = ?", (reaction,))
    connection.execute("DELETE FROM expected WHERE expectation = ?", (reaction,))
    return bool(changed.rowcount)
