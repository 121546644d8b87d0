"""A new run that keeps the history of another one before some operation.

What is recorded before the operation's first record is kept: it is a history as a crash at that moment would have left
it, so every replay can go on from there. Results are in it, so compensations of kept steps still work; keys of
everything that follows are the new run's own.

Invariant: no step is undone twice. A step may be kept only while nobody has undone it and nobody else, who shares it,
still could: the run that it comes from has ended, and so have all other reruns that keep it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from motet.errors import NotPossible
from motet.model.clock import Micros
from motet.model.forgotten import is_forgotten
from motet.model.history import STEPS, Recorded
from motet.model.identity import new_uid
from motet.model.origin import Kept, Origin, read_origin, write_origin
from motet.model.run import ENDED, Run

_NEVER = sys.maxsize
_FROM = (*STEPS, "child", "wait", "timer")


class Relative(NamedTuple):
    """A run that may share steps with the one that is rerun: itself, what it was made of, and other reruns."""

    run: Run
    history: Sequence[Recorded]


def first_of(run: Run, history: Sequence[Recorded], step: str) -> Recorded:
    """The operation's first record. Raises NotPossible: there is none, or several operations are called so."""
    names = [*{row.op: None for row in history if row.operation_kind in _FROM}]
    found = [name for name in names if step in (name, name.rpartition("#")[0])]
    if not found:
        known = ", ".join(names) or "nothing"
        raise NotPossible(f"run '{run.id}' has no record of '{step}' (generation {run.generation}); there is: {known}")
    if len(found) > 1:
        raise NotPossible(f"run '{run.id}' has several of '{step}'; choose one: {', '.join(found)}")
    return next(row for row in history if row.op == found[0])


def kept_before(run: Run, history: Sequence[Recorded], first: Recorded) -> list[Recorded]:
    """What a rerun keeps. Raises NotPossible: the run was stopped by then, or is forgotten."""
    kept = [row for row in history if row.position < first.position]
    if any(is_forgotten(text) for text in (run.input, *(row.payload for row in kept))):
        raise NotPossible(f"what run '{run.id}' was given and has done was forgotten; there is nothing to keep")
    stop = next((row for row in kept if row.kind in ("cancel", "deadline")), None)
    if stop is not None:
        raise NotPossible(
            f"run '{run.id}' was stopped (position {stop.position}: {stop.kind}) before {first.op}; what is kept would "
            "stop the new run too; choose an earlier step, or start anew"
        )
    return kept


def refuse_undone(run: Run, kept: Sequence[Recorded], relatives: Sequence[Relative]) -> None:
    """Raises NotPossible: what would be kept was undone, or may still be undone by somebody else."""
    until = kept[-1].position if kept else 0
    for relative in relatives:
        shared = min(until, _shared(run, relative.run))
        steps = {row.op for row in kept if row.operation_kind in STEPS and row.position <= shared}
        if not steps:
            continue
        if relative.run.state not in ENDED:
            same = "it" if relative.run.uid == run.uid else f"run '{relative.run.id}', which keeps the same steps,"
            raise NotPossible(
                f"run '{run.id}' cannot be rerun: {same} has not ended ({relative.run.state}) and may still undo what "
                f"was done; wait for its end, or: motet cancel {relative.run.id} --no-compensate"
            )
        undone = next((row for row in relative.history if row.position > shared and row.target in steps), None)
        if undone is not None:
            earliest = min(row.position for row in kept if row.op == undone.target)
            raise NotPossible(
                f"{undone.target}, which a rerun of '{run.id}' would keep, was undone by run '{relative.run.id}' "
                f"({undone.op}, {undone.kind}); rerun from a step before position {earliest + 1}, from "
                f"{undone.target} at the latest, or start anew"
            )


def _shared(one: Run, other: Run) -> int:
    """Up to which position two runs have the same history, of the same effects."""
    mine, theirs = _parts(one), _parts(other)
    return max((min(position, theirs[part]) for part, position in mine.items() if part in theirs), default=0)


def _parts(run: Run) -> dict[tuple[str, int], int]:
    """Of whose histories it consists, and up to where it agrees with each; wholly with its own."""
    origin = read_origin(run.origin)
    parts = {(kept.uid, kept.generation): kept.position for kept in origin.kept} if origin is not None else {}
    return {**parts, (run.uid, run.generation): _NEVER}


def family_of(run: Run, others: Sequence[Run]) -> list[Run]:
    """Those that may share steps with it, of the runs of its conversation; itself first."""
    mine = {uid for uid, _ in _parts(run)}
    return [run, *(other for other in others if other.uid != run.uid and mine & {uid for uid, _ in _parts(other)})]


def draft(
    source: Run, kept: Sequence[Recorded], first: Recorded, id: str, input: str | None, now: Micros,
    written_by: Mapping[str, str],
) -> tuple[Run, list[Recorded]]:  # fmt: skip
    """The new run, which nobody owns yet, and its history.

    Args:
        written_by: fingerprint and Python minor of the program that makes it.
    """
    until = kept[-1].position if kept else 0
    origin = read_origin(source.origin)
    earlier = [part for part in (origin.kept if origin is not None else ()) if part.position < until]
    parts = (*earlier, _part(source, origin, until))
    run = Run(
        uid=new_uid(now), id=id, workflow=source.workflow, version=source.version, state="pending", generation=1,
        epoch=0, owner=None, input=input, result=None, error=None, current=None, note=None,
        attributes=source.attributes, conversation=source.conversation, cause=source.uid, parent=None, created_at=now,
        started_at=now, ended_at=None,
        deadline_at=None if source.deadline_at is None else now + source.deadline_at - source.created_at, wake_at=now,
        crashes=0, parked=None, python=written_by["python"], fingerprint=written_by["fingerprint"], queue=source.queue,
        priority=source.priority, consumed=source.consumed, traceparent=source.traceparent,
        origin=write_origin(Origin(source.uid, source.id, first.op, parts)),
    )  # fmt: skip
    return run, [row._replace(uid=run.uid, generation=1) for row in kept]


def _part(source: Run, origin: Origin | None, until: int) -> Kept:
    """The last part: the source's own, unless all that is kept was kept by it already."""
    for part in origin.kept if origin is not None else ():
        if until <= part.position:
            return Kept(part.uid, part.generation, until)
    return Kept(source.uid, source.generation, until)
