"""Payloads exchanged in place. Old versions of the rows stay in the tables' pages until a vacuum has cleared them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from motet.model.clock import Micros
from motet.model.forgotten import FORGOTTEN
from motet.store.payloads import ABOUT, COLUMNS, KEYS, Key, PayloadChange, PayloadRow, Table
from motet.store.postgres.link import Link

# How a conversation leads to a table's rows.
_OF: dict[Table, str] = {
    "run": "motet.run WHERE run.conversation = $1",
    "history": "motet.run JOIN motet.history ON history.uid = run.uid WHERE run.conversation = $1",
    "event": "motet.event WHERE event.correlationid = $1",
    "inbox": "motet.run JOIN motet.inbox ON inbox.uid = run.uid WHERE run.conversation = $1",
    "delivery": "motet.event CROSS JOIN motet.cursor JOIN motet.delivery ON delivery.reaction = cursor.name "
    "AND delivery.position = event.position WHERE event.correlationid = $1",
}
FOUND = "SELECT type, subject, recipient, position FROM motet.event WHERE position = ANY ($1::bigint[])"
UNFIND = """DELETE FROM motet.event_key USING unnest($1::text[], $2::text[], $3::bigint[]) AS v (type, key, position)
    WHERE event_key.type = v.type AND event_key.key = v.key AND event_key.position = v.position"""
DIGESTS = "UPDATE motet.tombstone SET digest = NULL WHERE conversation = $1 AND digest IS NOT NULL"
SEALING = "SELECT key, proof FROM motet.sealing ORDER BY since, key"
NOTE_KEY = "INSERT INTO motet.sealing (key, proof, since) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
DROP_KEYS = "DELETE FROM motet.sealing WHERE key = ANY ($1::text[])"


def query(table: Table, *, of_conversation: bool, first: bool) -> str:
    """The statement that reads a page."""
    keys = ", ".join(f"{table}.{name}" for name in KEYS[table])
    columns = ", ".join(f"{table}.{name}" for name in (*KEYS[table], *ABOUT[table], *COLUMNS[table]))
    where = _OF[table] if of_conversation else f"motet.{table} WHERE true"
    number = 2 if of_conversation else 1
    behind = ""
    if not first:
        marks = ", ".join(f"${number + index}" for index in range(len(KEYS[table])))
        behind, number = f" AND ({keys}) > ({marks})", number + len(KEYS[table])
    return f"SELECT {columns} FROM {where}{behind} ORDER BY {keys} LIMIT ${number}"


async def page(link: Link, table: Table, conversation: str | None, after: Key | None, limit: int) -> list[PayloadRow]:
    sql = query(table, of_conversation=conversation is not None, first=after is None)
    values: list[Any] = [*([] if conversation is None else [conversation]), *(after or ()), limit]
    keys = len(KEYS[table])
    columns = keys + len(ABOUT[table])
    return [
        PayloadRow(tuple(row[:keys]), tuple(row[keys:columns]), tuple(row[columns:]))
        for row in await link.rows(sql, *values)
    ]  # fmt: skip


async def replace(link: Link, table: Table, changes: Sequence[PayloadChange]) -> int:
    names, keys = COLUMNS[table], KEYS[table]
    given = ", ".join(f"{name} = ${number}" for number, name in enumerate(names, 1))
    at = " AND ".join(f"{name} = ${number}" for number, name in enumerate(keys, len(names) + 1))
    before = " AND ".join(
        f"{name} IS NOT DISTINCT FROM ${number}" for number, name in enumerate(names, len(names) + len(keys) + 1)
    )
    done = 0
    # Whoever locks several rows does so in one order.
    for change in sorted(changes, key=lambda change: change.key):
        values = (*change.after, *change.key, *change.before)
        done += await link.do(f"UPDATE motet.{table} SET {given} WHERE {at} AND {before}", *values)
    if table == "event":
        await _unfind(link, [int(change.key[0]) for change in changes if change.after == (FORGOTTEN,)])
    return done


async def _unfind(link: Link, positions: list[int]) -> None:
    """No wait finds them by their keys any more."""
    rows = await link.rows(FOUND, positions) if positions else []
    keys = [(row[0], key, row[3]) for row in rows for key in {row[1], row[2]} if key is not None]
    if keys:
        await link.do(UNFIND, *zip(*keys, strict=True))


async def forget_digests(link: Link, conversation: str) -> int:
    return await link.do(DIGESTS, conversation)


async def sealing(link: Link) -> dict[str, str]:
    return {row[0]: row[1] for row in await link.rows(SEALING)}


async def note_key(link: Link, name: str, proof: str, now: Micros) -> None:
    await link.do(NOTE_KEY, name, proof, now)


async def drop_keys(link: Link, names: Sequence[str]) -> None:
    await link.do(DROP_KEYS, list(names))
