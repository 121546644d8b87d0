"""Waiting for an event: the run takes the earliest one that it has not consumed yet, however early it came.

What was consumed is decided here, fact by fact, and so the same in replay: a wait that was given up consumes nothing,
and its event stays there for the next one.

Invariant: events of one type and key are consumed in the log's order, so the last position stands for all before it.
Only what was published to this run about something else is found by two keys: when it is consumed by one of them, those
before it by the other may still be wanted, so there it is remembered by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from motet.errors import Divergence
from motet.model.clock import SECOND
from motet.model.event import Event, LoggedEvent
from motet.model.history import Fact
from motet.orchestration.commands import StartWait, StopWait
from motet.orchestration.operation import Operation
from motet.orchestration.timing import due_at

if TYPE_CHECKING:
    from motet.orchestration.machine import Machine


class Wanted(msgspec.Struct, frozen=True):
    """What an operation waits for: the first event of any of these types, about this key."""

    types: tuple[str, ...]
    key: str


_wanted = msgspec.json.Decoder(Wanted)
_row = msgspec.json.Decoder(LoggedEvent)

Consumed = dict[str, dict[str, list[int]]]
"""By type and key: the position up to which the run has consumed all, then those beyond it that it has consumed too."""


def create(machine: Machine, types: Sequence[str], key: str) -> Operation:
    """A wait with its place in the history; it begins when it is awaited. Raises HistoryTooLong."""
    arguments = msgspec.json.encode(Wanted(tuple(types), key)).decode()
    return machine.create("|".join(types), "wait", arguments)


def wanted(op: Operation) -> Wanted:
    """What it waits for."""
    assert op.arguments is not None
    return _wanted.decode(op.arguments)


def begin(machine: Machine, op: Operation, timeout: float | None) -> None:
    """It is awaited, for so many seconds. The run may end without it."""
    op.begun = True
    op.since = machine.now
    if timeout is not None:
        op.due = due_at(machine.now / SECOND + timeout)
    op.future = machine.loop.create_future()
    machine.emit(StartWait(op))


def place_timer(machine: Machine, op: Operation, timeout: float | None) -> None:
    """The timer that has just been started for it belongs where the source creates the wait, whoever awaits it."""
    timer = next(reversed(machine.operations.values()))
    if timeout is not None and timeout > 0 and timer.kind == "timer":
        timer.site = op.site


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
    assert fact.payload is not None
    row = _row.decode(fact.payload)
    want = wanted(op)
    if fact.digest != op.digest:
        raise Divergence(
            f"{op.describe()} was recorded with event {row.type} about {row.subject!r}, when the code waited for "
            f"something else; now it waits for {' or '.join(want.types)} about {want.key!r}"
        )
    if is_consumed(machine, op, row):
        raise Divergence(f"{op.describe()} was recorded with event {row.id}, which the code has consumed before")
    _consume(machine.consumed, row, want.key)
    op.result, op.outcome = fact.payload, fact.kind
    op.settled = True
    if op.future is not None and not op.future.done():
        op.future.set_result(event_of(machine, row))


def consumed(machine: Machine, type: str, key: str) -> list[int]:
    """The position up to which events of this type and key are consumed, then single ones beyond it."""
    return machine.consumed.get(type, {}).get(key) or [0]


def is_consumed(machine: Machine, op: Operation, row: LoggedEvent) -> bool:
    """Whether the run has consumed this event, for which the operation waits, before."""
    up_to, *beyond = consumed(machine, row.type, wanted(op).key)
    return row.position <= up_to or row.position in beyond


def event_of(machine: Machine, row: LoggedEvent) -> Event[Any]:
    """As the body gets it. Raises WrongType: its data does not have the declared shape."""
    return Event(row, machine.registry.events.read(row))


def keys_of(row: LoggedEvent) -> tuple[str, ...]:
    """By which keys an event can be waited for: its own, and the id of the run that it is for."""
    return tuple({key: None for key in (row.subject, row.recipient) if key is not None})


def _consume(consumed: Consumed, row: LoggedEvent, key: str) -> None:
    of_type = consumed.setdefault(row.type, {})
    _, *beyond = of_type.get(key, [0])
    of_type[key] = [row.position, *(position for position in beyond if position > row.position)]
    for other in keys_of(row):
        if other != key:
            of_type.setdefault(other, [0]).append(row.position)
