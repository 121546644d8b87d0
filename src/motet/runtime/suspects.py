"""Runs that were in memory at three crashes: one of them may be what kills the process.

Their steps run one by one, each recorded before it starts. When the process dies again, the one that was recorded
is the killer and is parked; the others were only its neighbours and go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from motet.model.codec import plain
from motet.model.run import Run

CRASHES = 3
BODY = "the workflow's body"


def is_suspect(run: Run) -> bool:
    """Whether the run's steps must run one by one."""
    return run.crashes >= CRASHES


def killer(run: Run) -> str | None:
    """What was recorded as running when the process died once more; None if it was somebody else."""
    if run.crashes <= CRASHES or not run.current:
        return None
    try:
        rows: list[dict[str, Any]] = plain(run.current)
    except ValueError:  # what cannot be read accuses nobody
        return None
    return next((str(row["operation"] or BODY) for row in rows if row.get("suspect")), None)


class OneByOne:
    """The turn of suspects: at most one of them runs anything in this process."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._taken = False

    def ask(self, begin: Callable[[], None]) -> None:
        """Call `begin` when it is its turn; whoever begins must `leave`."""
        if self._taken:
            self._waiting.append(begin)
        else:
            self._taken = True
            begin()

    def leave(self) -> None:
        """The turn is over."""
        if self._waiting:
            self._waiting.popleft()()
        else:
            self._taken = False
