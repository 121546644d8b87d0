"""One statement per kind of mutation and group of rows, made from the records' own fields.

Rows are bound as one `VALUES` list, in chunks of powers of two so that few statements are ever prepared. Measured
beside a busy event loop: `executemany` gives up the interpreter lock once per row and waits for it again each time;
`json_each` needs one statement too, but three times the work per row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

from motet.model.run import TRANSITIONS
from motet.store import mutations as m

MAX_CHUNK = 256

_ALLOWED = ", ".join(f"'{before}>{after}'" for before, afters in TRANSITIONS.items() for after in sorted(afters))
_MAY = f"run.state || '>' || v.state IN ({_ALLOWED})"

_INSERTS: dict[type, str] = {m.StartRun: "run", m.RecordFact: "history", m.AppendEvent: "event", m.PutInbox: "inbox"}

_UPDATES: dict[type, str] = {
    m.RetireId: "id = v.id || '~' || v.uid WHERE run.uid = v.uid AND run.state IN ('failed', 'cancelled')",
    m.ShowProgress: "current = v.current, note = coalesce(v.note, run.note) WHERE run.uid = v.uid",
    m.EnterState: "state = v.state, error = v.error, parked = v.parked, fingerprint = v.fingerprint "
    f"WHERE run.uid = v.uid AND {_MAY}",
    m.BeginGeneration: "generation = v.generation, input = v.input, started_at = v.started_at, current = NULL "
    "WHERE run.uid = v.uid AND run.generation < v.generation",
    m.EndRun: "state = v.state, result = v.result, error = v.error, ended_at = v.ended_at, owner = NULL, "
    f"wake_at = NULL, current = NULL, parked = NULL WHERE run.uid = v.uid AND {_MAY}",
    m.ReleaseRun: "state = v.state, wake_at = v.wake_at, owner = NULL, current = v.current "
    f"WHERE run.uid = v.uid AND {_MAY}",
}


def _rows(kind: type, count: int) -> str:
    one = "(" + ", ".join("?" * len(_fields(kind))) + ")"
    return ", ".join([one] * count)


def _fields(kind: type) -> tuple[str, ...]:
    fields: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]
    return fields


@cache
def statement(kind: type, count: int) -> str:
    """The SQL that applies `count` mutations of one kind."""
    fields = ", ".join(_fields(kind))
    if kind in _INSERTS:
        return f"INSERT INTO {_INSERTS[kind]} ({fields}) VALUES {_rows(kind, count)} ON CONFLICT DO NOTHING"
    if kind is m.TakeInbox:
        return f"DELETE FROM inbox WHERE (uid, key) IN (VALUES {_rows(kind, count)})"
    change, _, where = _UPDATES[kind].partition(" WHERE ")
    return f"WITH v ({fields}) AS (VALUES {_rows(kind, count)}) UPDATE run SET {change} FROM v WHERE {where}"


def apply(connection: sqlite3.Connection, kind: type, rows: Sequence[tuple[Any, ...]]) -> int:
    """Apply mutations of one kind; returns how many rows were changed."""
    done = changed = 0
    while done < len(rows):
        size = min(MAX_CHUNK, 1 << ((len(rows) - done).bit_length() - 1))
        values = list(chain.from_iterable(rows[done : done + size]))
        changed += connection.execute(statement(kind, size), values).rowcount
        done += size
    return changed
