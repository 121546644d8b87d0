"""A branch of a workflow's body that only new runs take: `flow.changed("fraud-check")`.

Whoever reaches it live for the first time takes the new branch, and a marker of its own says so in the history. In
replay the marker decides, and without one what follows: if anything was recorded behind the drain that asks, that drain
has happened in the days of the old code, and the run keeps to the old branch. "Behind" is told by `applied`, not by the
position: what was on its way to the disk when the drain began says nothing about it. Of a run that only waits, or whose
step takes long, the snapshot in its row (`current`) says the same.

Invariants: one answer per name and generation, however often it is asked; the answer never changes, for history only
grows and the marker is one unit with all else that its drain asks for; a marker that no code asks for is ignored, so
the call is taken out again as soon as no run is left that began before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from motet.model.codec import plain
from motet.model.history import Recorded
from motet.orchestration.commands import Change

if TYPE_CHECKING:
    from motet.orchestration.machine import Machine


class Foreseen(NamedTuple):
    """What a machine has to know of its history before it is replayed.

    Args:
        horizon: up to which position drains are known to have happened, with all that they asked for; -1: none.
        changes: the markers that it holds.
    """

    horizon: int = -1
    changes: frozenset[str] = frozenset()


NOTHING = Foreseen()


def foresee(history: Iterable[Recorded], current: str | None) -> Foreseen:
    """Of a history, and the run's row."""
    horizon = -1
    if current is not None:
        horizon = max((row.get("applied", -1) for row in plain(current)), default=-1)
    changes: list[str] = []
    for row in history:
        horizon = max(horizon, row.applied)
        if row.kind == "changed":
            changes.append(row.op)
    return Foreseen(horizon, frozenset(changes))


def asked(machine: Machine, name: str) -> bool:
    """Whether the run takes the new branch. Raises HistoryTooLong."""
    decided = machine.changes.get(name)
    if decided is None:
        decided = machine.changes[name] = _decide(machine, f"changed:{name}")
    return decided


def _decide(machine: Machine, name: str) -> bool:
    recorded = f"{name}#1" in machine.foreseen.changes
    if not recorded and machine.position <= machine.foreseen.horizon:
        return False
    op = machine.create(name, "change")
    if recorded:
        op.settled = True
    else:
        machine.emit_record(Change(op))
    return True
