"""A machine taken through its history: the one way in which facts that were recorded before are applied again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from motet.model.history import RECORDED_ONLY, Recorded
from motet.orchestration.changing import foresee
from motet.orchestration.commands import Command
from motet.orchestration.machine import Machine


def replay(
    machine: Machine, history: Sequence[Recorded], current: str | None = None
) -> Iterator[tuple[Recorded | None, list[Command]]]:
    """Start the machine, then apply each fact; yields what it has applied (first None: the start) and was asked for.

    Args:
        current: what the run's row says is in flight.

    Raises:
        Divergence: the code does not do what the history says.
        WrongType: the input or a result does not have the code's type any more.
    """
    machine.foreseen = foresee(history, current)
    yield None, machine.start()
    for recorded in history:
        if recorded.kind not in RECORDED_ONLY:
            machine.check_published(recorded.applied)
        yield recorded, machine.apply(recorded.position, recorded.fact)
