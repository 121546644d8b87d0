"""Which fields of which records are payloads, and the place that each is bound to when it is sealed.

Invariant: a payload's place is the same when it is written by a mutation, when it is read in a row, and when it is
exchanged in place. A run's `first_input` is what `input` was, copied by the database: so both have one place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from motet.model.delivery import DeliveryRow
from motet.model.event import EventRow, LoggedEvent
from motet.model.forgotten import FORGOTTEN
from motet.model.history import Recorded
from motet.model.run import Run
from motet.store import mutations as m
from motet.store.payloads import COLUMNS, PayloadRow, Table
from motet.store.retention import EndedRun
from motet.store.sealing import Sealer, broken, is_broken, is_sealed


class _Rule(NamedTuple):
    """How a kind of record is sealed: the place of the record, and of each of its payloads."""

    place: Callable[[Any], str]
    fields: tuple[tuple[str, str], ...]


def _of_run(record: Any) -> str:
    return f"run {record.uid}"


def _of_event(record: Any) -> str:
    return f"event {record.id}"


def _of_message(record: Any) -> str:
    return f"inbox {record.uid} {record.key}"


def _of_delivery(record: Any) -> str:
    return f"delivery {record.position}"


def _plain(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, "input" if name == "first_input" else name) for name in names)


RULES: Final[dict[type, _Rule]] = {
    Run: _Rule(_of_run, _plain("input", "first_input", "result", "error", "current", "note", "attributes")),
    EndedRun: _Rule(_of_run, _plain("input")),
    m.ShowProgress: _Rule(_of_run, _plain("current", "note")),
    m.EnterState: _Rule(_of_run, _plain("error")),
    m.BeginGeneration: _Rule(_of_run, _plain("input")),
    m.EndRun: _Rule(_of_run, _plain("result", "error")),
    m.ReleaseRun: _Rule(_of_run, _plain("current")),
    EventRow: _Rule(_of_event, _plain("data")),
    m.AppendOnce: _Rule(_of_event, _plain("data")),
    LoggedEvent: _Rule(_of_event, _plain("data")),
    m.PutInbox: _Rule(_of_message, _plain("payload")),
    m.KeepDelivery: _Rule(_of_delivery, _plain("error", "data")),
    DeliveryRow: _Rule(_of_delivery, _plain("error", "data")),
}
"""All kinds that hold payloads, but for facts, whose payload and digest are sealed as one."""

WITHOUT: Final[frozenset[type]] = frozenset(
    {m.RetireId, m.MoveCursor, m.KeepExpected, m.MissExpected, m.RegisterWait, m.EndWait, m.DropDelivery, m.TakeInbox}
)
"""Mutations that hold none: ids, keys, positions, times and counts."""


def seal(sealer: Sealer, record: Any) -> Any:
    """The record with its payloads sealed."""
    kind: Any = record.__class__
    if kind is Recorded:
        return _seal_fact(sealer, record)
    rule = RULES.get(kind)
    if rule is None:
        return record
    base = rule.place(record)
    changes = {
        name: sealer.seal(text, f"{base} {place}")
        for name, place in rule.fields
        if (text := getattr(record, name)) is not None
    }
    return record._replace(**changes) if changes else record


def open_up(sealer: Sealer, record: Any) -> Any:
    """The record with its payloads opened."""
    kind: Any = record.__class__
    if kind is Recorded:
        return _open_fact(sealer, record)
    if kind is m.PutInbox and record.kind == "event":
        return _open_awaited(sealer, record)
    rule = RULES[kind]
    changes = {
        name: sealer.open(text, f"{rule.place(record)} {place}")
        for name, place in rule.fields
        if is_sealed(text := getattr(record, name))
    }
    return record._replace(**changes) if changes else record


def place_of_edit(position: int) -> str:
    """Of the data that a person puts in the place of a dead letter's."""
    return f"delivery {position} data"


# --- facts: the digest of an operation's arguments could be tried out, so it is sealed along ---------------------


def place_of_fact(uid: object, generation: object, position: object) -> str:
    return f"history {uid} {generation} {position}"


def join_fact(payload: str | None, digest: int | None) -> str | None:
    """A fact's payload and digest as one text; None: it has neither."""
    if payload is None and digest is None:
        return None
    return f"{'' if digest is None else digest}|{'' if payload is None else '=' + payload}"


def part_fact(text: str) -> tuple[str | None, int | None]:
    """The payload and the digest."""
    digest, _, rest = text.partition("|")
    return (rest[1:] if rest else None), (int(digest) if digest else None)


def _seal_fact(sealer: Sealer, fact: Recorded) -> Recorded:
    text = join_fact(fact.payload, fact.digest)
    if text is None or sealer.keys.current is None:
        return fact
    place = place_of_fact(fact.uid, fact.generation, fact.position)
    return fact._replace(payload=sealer.seal(text, place), digest=None)


def _open_fact(sealer: Sealer, fact: Recorded) -> Recorded:
    if not is_sealed(fact.payload):
        return fact
    payload, digest = _opened_fact(sealer, fact.payload, place_of_fact(fact.uid, fact.generation, fact.position))
    return fact._replace(payload=payload, digest=digest)


def _opened_fact(sealer: Sealer, text: str | None, place: str) -> tuple[str | None, int | None]:
    opened = sealer.open(text, place) or ""
    return (opened, None) if is_broken(opened) else part_fact(opened)


_awaited = msgspec.json.Decoder(m.AwaitedEvent)
_logged = msgspec.json.Decoder(LoggedEvent)


def _open_awaited(sealer: Sealer, message: m.PutInbox) -> m.PutInbox:
    """The store itself has written it, with the event's data as the log holds it."""
    return message._replace(payload=_awaited_with(open_up, sealer, message.payload))


def _awaited_with(change: Callable[[Sealer, Any], Any], sealer: Sealer, payload: str | int | None) -> str:
    if payload == FORGOTTEN:
        return FORGOTTEN
    try:
        told = _awaited.decode(payload if isinstance(payload, str) else "")
        row = change(sealer, _logged.decode(told.row))
    except msgspec.DecodeError as error:
        return broken(f"it is no event that a run has waited for: {error}")
    return msgspec.json.encode(m.AwaitedEvent(told.op, msgspec.Raw(msgspec.json.encode(row)))).decode()


# --- payloads in place ------------------------------------------------------------------------------------------


def open_row(sealer: Sealer, table: Table, row: PayloadRow) -> PayloadRow:
    """A row as it is stored, opened."""
    if table == "history":
        payload, digest = row.values
        if isinstance(payload, str) and is_sealed(payload):
            payload, digest = _opened_fact(sealer, payload, place_of_fact(*row.key))
        return row._replace(values=(payload, digest))
    if table == "inbox" and row.about == ("event",):
        return row._replace(values=(_awaited_with(open_up, sealer, row.values[0]),))
    return row._replace(values=tuple(_each(sealer.open, table, row)))


def seal_row(sealer: Sealer, table: Table, row: PayloadRow) -> PayloadRow:
    """The other way round, with the current key."""
    if table == "history":
        payload, digest = row.values
        assert not isinstance(payload, int) and not isinstance(digest, str)
        text = join_fact(payload, digest)
        if text is None or sealer.keys.current is None:
            return row
        return row._replace(values=(sealer.seal(text, place_of_fact(*row.key)), None))
    if table == "inbox" and row.about == ("event",):
        return row._replace(values=(_awaited_with(seal, sealer, row.values[0]),))
    return row._replace(values=tuple(_each(sealer.seal, table, row)))


def _each(change: Callable[[str | None, str], str | None], table: Table, row: PayloadRow) -> list[str | None]:
    base = {
        "run": f"run {row.key[0]}",
        "event": f"event {row.about[0]}",
        "inbox": f"inbox {row.key[0]} {row.key[-1]}",
        "delivery": f"delivery {row.key[-1]}",
    }[table]
    found: list[str | None] = []
    for (_, place), value in zip(_plain(*COLUMNS[table]), row.values, strict=True):
        assert not isinstance(value, int)
        found.append(change(value, f"{base} {place}"))
    return found
