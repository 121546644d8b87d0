"""What a campaign is to do: how much of which trouble, for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from motet.testing.faults import FAILPOINTS, Failpoint

FAULTS: Final = ("kills", "points", "pauses", "overtaken", "returns", "locks", "disk", "fsync", "clock")
"""In order: SIGKILL; SIGKILL at a commit; a SIGSTOP past the lease; one in the middle of a commit; one that ends in
the last moment of the lease, when others want to bury it; a stranger's lock; a full disk; a failing fsync; a
wall clock that jumps."""

POSTGRES_FAULTS: Final = (
    "kills", "points", "pauses", "overtaken", "returns", "held", "crashes", "outages", "cuts", "replies", "silence",
    "slow", "disk", "clock", "rollout",
)  # fmt: skip
"""On a PostgreSQL, beside those that befall workers: one stopped while its batch is held up in the server; the server
stopped at once and started again; away for longer than a lease; connections cut in their transactions; replies to
COMMIT swallowed; half-open connections; a slow network; half of the workers replaced by those of the next schema."""

Store = Literal["sqlite", "postgres"]

EDGES: Final = frozenset(
    {
        "AppendOnce",
        "KeepExpected",
        "MissExpected",
        "KeepDelivery",
        "DropDelivery",
        "MoveCursor",
        "RegisterWait",
        "EndWait",
    }
)
"""Kinds of mutations that only the loose edges make."""

PARTS: Final = ("facts", "parcels", "killers", "editions", "pauses", "waits", "expectations", "nights")
"""Of the loose edges: events for reactions, some of them poison, some said twice or out of order; a reaction that holds
behind a dead letter; handlers that kill their process; reactions added, renamed and removed; reactions paused; runs
that wait for events; what is expected; and nights, in which nobody works while more is published."""


BURSTS: Final = "bursts"
"""Beside these, for planted bugs: many events at once, so that a reaction has much under way when its owner dies."""


def points(edges: frozenset[str]) -> tuple[Failpoint, ...]:
    """Those that a campaign is about: of the loose edges, if it has any."""
    return tuple(point for point in FAILPOINTS if (point.kind in EDGES) == bool(edges))


@dataclass(frozen=True)
class Plan:
    """How much of what.

    Args:
        seconds: how long faults rage, at least; they go on until all the least numbers are reached, at most four
            times as long.
        quiet: how many seconds may pass until all runs have ended, when the faults are over.
        others: the least number of each fault that has no number of its own.
        replies: how many replies to COMMIT are lost at least, where they can be.
        insist: whether each failpoint has to be met.
        faults: which kinds there are at all.
        hurry: faults come so many times as often.
        kinds: only these kinds of runs; all if there are none.
        edges: which of `PARTS` there are.
        points: the failpoints that workers are sent into.
        batch_rows: the most records in one commit of a worker; few make many commits, and more places to die between.
    """

    seed: int
    seconds: float = 110.0
    quiet: float = 120.0
    workers: int = 4
    runs: int = 2_000
    kills: int = 30
    pauses: int = 10
    others: int = 3
    insist: bool = True
    faults: frozenset[str] = frozenset(FAULTS)
    hurry: float = 1.0
    kinds: frozenset[str] = frozenset()
    edges: frozenset[str] = frozenset()
    points: tuple[Failpoint, ...] = points(frozenset())
    batch_rows: int = 1_000
    store: Store = "sqlite"
    replies: int = 10
