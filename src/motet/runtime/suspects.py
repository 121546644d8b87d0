"""Runs that were in memory at three crashes: one of them may be what kills the process.

Their steps run one by one, each recorded as *accused* before it starts. When the process dies again, the one that was
accused is the killer and is parked; the others were only its neighbours and go on.

    waiting ──> accused ──> its attempt has ended ──────────────────────> over
                   └──────> it takes long, and another waits ──(goes on)──┘

A step may take an hour, or wait for another suspect to do its part. So whoever has had the turn for `TURN_SECONDS`
gives it up as soon as another waits: it is accused no more, and goes on.

A body may kill as well. Bodies are quick, so a few are accused together, in one commit: if the process dies meanwhile,
nobody is parked, and each of them is accused alone the next time.

Invariants: what takes an accusation off is written before the next one, and a step starts when its own is durable, so
at most one step of a process is accused at any time. The count of crashes accuses nobody: it only decides who has to
wait for a turn. It begins anew when the last attempt that the suspect had at work or in the line has ended: none of
them has killed the process, and what begins later was not there when it died, so its first death finds nobody guilty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from motet.model.codec import plain
from motet.model.run import Run
from motet.runtime.turns import Turns
from motet.store.mutations import Mutation, ShowProgress

CRASHES = 3
TURN_SECONDS = 5.0
BODY = "the workflow's body"
SUSPECT_BODIES = 10
FREE_BODIES = 20
RUNS = ""
LOOK_SECONDS = 0.005
LOOKS = 40


def is_suspect(run: Run) -> bool:
    """Whether the run's steps must run one by one."""
    return run.crashes >= CRASHES


def accuse(row: dict[str, Any], run: Run) -> None:
    """Mark what is about to run, with how often the run's process has died up to now."""
    row["suspect"] = run.crashes


def groups(runs: Sequence[Run]) -> Iterator[list[Run]]:
    """In which groups the bodies of these runs are to run: those of suspects in small ones, or alone."""
    by_size: dict[int, list[Run]] = {FREE_BODIES: [], SUSPECT_BODIES: [], 1: []}
    for run in runs:
        by_size[_most_beside(run)].append(run)
    for size, some in by_size.items():
        yield from (some[start : start + size] for start in range(0, len(some), size))


def accuse_bodies(group: Sequence[Run]) -> list[Mutation]:
    """What to write before the bodies of a group run; nothing if none of them is to be suspected."""
    return [_accuse_body(run, len(group)) for run in group if is_suspect(run) and killer(run) is None]


def killer(run: Run) -> str | None:
    """What was accused when the process died once more; None if it was somebody else, or one of several bodies."""
    row = _accusation(run)
    return str(row["operation"] or BODY) if row is not None and row.get("among", 1) == 1 else None


def _accuse_body(run: Run, among: int) -> ShowProgress:
    row: dict[str, Any] = {"operation": "", "kind": "run", "name": BODY, "among": among}
    accuse(row, run)
    return ShowProgress(run.uid, msgspec.json.encode([row]).decode(), None)


def _accusation(run: Run) -> dict[str, Any] | None:
    """What of the run was accused when its process died; None if nothing was, or it has not died since."""
    try:
        rows: list[dict[str, Any]] = plain(run.current or "[]")
    except ValueError:  # what cannot be read accuses nobody
        return None
    return next((row for row in rows if run.crashes > row.get("suspect", run.crashes)), None)


def _most_beside(run: Run) -> int:
    """In how large a group its body may run."""
    if not is_suspect(run) or killer(run) is not None:
        return FREE_BODIES
    return SUSPECT_BODIES if _accusation(run) is None else 1


class Turn:
    """One step's turn among the suspects of its process.

    Args:
        begin: called when it comes; returns False if nobody wants it any more.
        give_up: called when it has lasted for long and another waits: it has to `leave`, at once.
        of: the reaction that it is a delivery of; runs are all together.
    """

    __slots__ = ("_line", "begin", "give_up", "long", "of")

    def __init__(
        self, line: OneByOne, begin: Callable[[], bool], give_up: Callable[[], None], of: str = RUNS
    ) -> None:  # fmt: skip
        self._line = line
        self.of = of
        self.begin = begin
        self.give_up = give_up
        self.long = False

    def time_out(self) -> None:
        """It has lasted for long enough, should another wait."""
        self.long = True
        self._line.move()


class OneByOne:
    """The line of suspects: at most one of them has the turn in this process. Runs and each reaction are served in
    turn, so that hundreds of suspects of one kind do not hold up the first of another until the process dies again."""

    def __init__(self) -> None:
        self._waiting: Turns[Turn] = Turns()
        self._turn: Turn | None = None
        self._held = False

    def ask(self, turn: Turn) -> None:
        """Have `turn.begin` called when it comes, perhaps at once; whoever asks must `leave`."""
        self._waiting.put(turn.of, turn)
        self.move()

    def leave(self, turn: Turn) -> None:
        """The turn is over, or nobody wants it any more."""
        if turn is self._turn:
            self._turn = None
            self.move()
        else:
            self._waiting.remove(turn.of, turn)

    def hold(self) -> None:
        """Let no turn begin until `go_on`: bodies of suspects run, and one that kills should be accused alone."""
        self._held = True

    def go_on(self) -> None:
        self._held = False
        self.move()

    async def let_one(self) -> None:
        """Between two groups of bodies: one of those who wait has its turn, and its end is awaited for a moment. Else
        a worker that takes over hundreds of suspects, and dies while it does, would never have come to a turn."""
        await asyncio.sleep(0)
        if not self._held:
            return
        self.go_on()
        self.hold()
        for _ in range(LOOKS):
            if self._turn is None:
                return
            await asyncio.sleep(LOOK_SECONDS)  # tidy: between two looks

    def move(self) -> None:
        """See whose turn it is."""
        if self._turn is not None and self._turn.long and self._waiting:
            self._turn.give_up()
        while self._turn is None and not self._held:
            turn = self._turn = self._waiting.take()
            if turn is None:
                return
            if not turn.begin() and self._turn is turn:
                self._turn = None
