"""What a rehearsal finds: where the code and a run's history part, both sides in words."""

from __future__ import annotations

from typing import Literal

import msgspec

from motet.model.run import RunState

DifferenceKind = Literal["version", "divergence", "type", "arguments", "at-work", "ends", "error"]
"""version: the code has not the run's. divergence: it does something else than what is recorded. type: a recorded
payload does not have its type any more. arguments: an operation is called with others than were recorded. at-work: what
the run has in flight the code does not ask for. ends: the code ends where the run goes on. error: it cannot go on."""


class Difference(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of them.

    Args:
        position: the history's, where there is one.
        operation: as `create_enrollment#1`.
        recorded: what the records say.
        code: what the code does instead.
        fatal: whether the run could not go on with this code, or not as it should.
        site: where the operation was created, by the code that recorded it.
    """

    kind: DifferenceKind
    recorded: str
    code: str
    position: int | None = None
    operation: str | None = None
    fatal: bool = True
    site: str | None = None


class Rehearsal(msgspec.Struct, frozen=True):
    """How one run fares with the code.

    Args:
        facts: how many were replayed.
        next: what comes next, in words, if nothing is in the way.
    """

    id: str
    workflow: str
    version: int
    state: RunState
    facts: int
    differences: list[Difference]
    next: list[str]

    @property
    def fits(self) -> bool:
        """Whether the run can go on as it should."""
        return not any(difference.fatal for difference in self.differences)
