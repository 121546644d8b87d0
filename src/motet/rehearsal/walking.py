"""A run's history told while the code is taken through it: fact by fact what was recorded, and what the code did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from motet.errors import NotPossible
from motet.model.history import Recorded
from motet.orchestration.commands import Note
from motet.orchestration.machine import Machine
from motet.orchestration.replaying import replay
from motet.rehearsal.ahead import describe


class Moment(NamedTuple):
    """One fact and what the code did after it; the first one is the start, which is no fact."""

    row: Recorded | None
    did: list[str]


def walk(machine: Machine, history: Sequence[Recorded], current: str | None) -> Iterator[Moment]:
    """Each moment as soon as the code has passed it, so that a breakpoint in the body stands where the story stops.

    Raises:
        Divergence, WrongType: the code does something else.
    """
    for row, commands in replay(machine, history, current):
        did: list[str] = []
        for command in commands:
            text = f"note: {command.text}" if isinstance(command, Note) else describe(command)
            if text is not None:
                did.append(text)
        yield Moment(row, did)


def up_to(history: Sequence[Recorded], operation: str | None) -> Sequence[Recorded]:
    """The history with the operation's last record as its end. Raises NotPossible: it has none."""
    if operation is None:
        return history
    last = max(
        (index for index, row in enumerate(history) if operation in (row.op, row.op.rpartition("#")[0])), default=None
    )
    if last is None:
        known = ", ".join({row.op: None for row in history if row.op}) or "nothing"
        raise NotPossible(f"there is no record of '{operation}'; there is: {known}")
    return history[: last + 1]
