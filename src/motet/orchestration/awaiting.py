"""Waiting for an event: the run takes the earliest one that it has not consumed yet, however early it came.

What was consumed is decided here, fact by fact, and so the same in replay: a wait that was given up consumes nothing,
and its event stays there for the next one. Events of one type and key are consumed in the log's order, so for each of
them the last position tells all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from motet.errors import Divergence
from motet.model.event import Event, LoggedEvent
from motet.model.history import Fact
from motet.orchestration.commands import StartWait, StopWait
from motet.orchestration.operation import Operation

if TYPE_CHECKING:
    from motet.orchestration.machine import Machine


class Wanted(msgspec.Struct, frozen=True):
    """What an operation waits for: the first event of any of these types, about this key."""

    types: tuple[str, ...]
    key: str


_wanted = msgspec.json.Decoder(Wanted)
_row = msgspec.json.Decoder(LoggedEvent)

Consumed = dict[str, dict[str, int]]
"""By type and key, the position of the last event that the run has consumed."""


def create(machine: Machine, types: Sequence[str], key: str) -> Operation:
    """A wait with its place in the history; it begins when it is awaited. Raises HistoryTooLong."""
    arguments = msgspec.json.encode(Wanted(tuple(types), key)).decode()
    return machine.create("|".join(types), "wait", arguments)


def wanted(op: Operation) -> Wanted:
    """What it waits for."""
    assert op.arguments is not None
    return _wanted.decode(op.arguments)


def begin(machine: Machine, op: Operation) -> None:
    """It is awaited. The run may end without it."""
    op.begun = True
    op.future = machine.loop.create_future()
    machine.emit(StartWait(op))


def stop(machine: Machine, op: Operation) -> None:
    """Nobody waits for it any more: whatever has come for it stays there for the next wait."""
    if op.settled or machine.loop.dead:
        return
    op.settled = op.abandoned = True
    if not machine.take_back(op):  # else of this very drain: it has never started
        machine.emit(StopWait(op))


def stop_all(machine: Machine) -> None:
    """Forget those that nobody waits for: the body is over."""
    for op in machine.operations.values():
        if op.kind == "wait" and op.begun and not op.settled:
            stop(machine, op)


def came(machine: Machine, op: Operation, fact: Fact) -> None:
    """An event has come for it. Raises Divergence: the code waits for something else."""
    if fact.digest != op.digest:
        raise Divergence(f"{op.describe()} was recorded when the code waited for something else, or about another key")
    assert fact.payload is not None
    row = _row.decode(fact.payload)
    if not _consume(machine.consumed, row):
        machine.emit(StartWait(op))  # another wait of this run was faster: look for the next one
        return
    op.result, op.outcome = fact.payload, fact.kind
    op.settled = True
    if op.future is not None and not op.future.done():
        op.future.set_result(event_of(machine, row))


def floor(machine: Machine, type: str, key: str) -> int:  # noqa: A002 - the event's
    """The position behind which events of this type and key are not consumed yet."""
    return machine.consumed.get(type, {}).get(key, 0)


def event_of(machine: Machine, row: LoggedEvent) -> Event[Any]:
    """As the body gets it. Raises WrongType: its data does not have the declared shape."""
    return Event(row, machine.registry.events.read(row))


def keys_of(row: LoggedEvent) -> tuple[str, ...]:
    """By which keys an event can be waited for: its own, and the id of the run that it is for."""
    return tuple({key: None for key in (row.subject, row.recipient) if key is not None})


def _consume(consumed: Consumed, row: LoggedEvent) -> bool:
    """Returns whether it was still there."""
    of_type = consumed.setdefault(row.type, {})
    keys = keys_of(row)
    if any(of_type.get(key, 0) >= row.position for key in keys):
        return False
    for key in keys:
        of_type[key] = row.position
    return True
