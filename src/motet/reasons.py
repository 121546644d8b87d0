"""Why a run does not go on: what it waits for, until when, and who could end that; of a blocked one, the ways out."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from motet.model.codec import plain
from motet.model.history import STEPS
from motet.model.run import DEFAULT_QUEUE, Run
from motet.publishers import Publisher

WaitKind = Literal["time", "limit", "retry", "event", "run", "place", "worker", "person"]


class InFlight(msgspec.Struct, frozen=True):
    """What there is to say of an operation that has not come to its end. Times are ISO 8601 in UTC."""

    operation: str
    kind: str
    name: str
    running: bool
    stuck: bool
    due_at: str | None
    next_attempt_at: str | None
    run: str | None
    events: list[str]
    key: str | None


class Waiting(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that a run waits for.

    Args:
        kind: `time`: a sleep; `limit`: a time limit, by which it gives up; `retry`: the next attempt; `event`; `run`: a
            child; `place`: one in its queue; `worker`; `person`.
        why: in words.
        until: when it ends by itself, in ISO 8601 and UTC; None if it does not.
        events, key: of which it waits for the first that comes.
        publishers: who is known to publish them: workflows, their steps, reactions; by event.
        run: the child's id.
    """

    kind: WaitKind
    why: str
    operation: str | None = None
    until: str | None = None
    events: list[str] = []
    key: str | None = None
    publishers: dict[str, list[Publisher]] = {}
    run: str | None = None


class WayOut(msgspec.Struct, frozen=True):
    """What a person can do about a blocked run: a command, and its effect."""

    command: str
    effect: str


def awaited_by(run: Run) -> list[str]:
    """The events that a run waits for, as its worker last wrote it down."""
    rows: list[dict[str, Any]] = plain(run.current or "[]")
    return [event for row in rows for event in row.get("types") or ()]


def waits_of(
    run: Run, current: Sequence[InFlight], wake_at: str | None, publishers: Mapping[str, list[Publisher]]
) -> list[Waiting]:
    """What a run waits for that is neither ended nor blocked."""
    if run.state == "pending":
        if run.queue != DEFAULT_QUEUE:
            return [Waiting("place", f"for a place in queue {run.queue}, and a worker that knows {run.workflow}")]
        return [Waiting("worker", f"for a worker that knows {run.workflow}")]
    found = [waiting for item in current if (waiting := _waiting(item, publishers)) is not None]
    if not current and run.state == "waiting" and wake_at is not None:
        found.append(Waiting("time", "it goes on by itself", until=wake_at))
    return found


def _waiting(item: InFlight, publishers: Mapping[str, list[Publisher]]) -> Waiting | None:
    if item.stuck:
        return Waiting("person", f"{item.name} needs a person", item.operation)
    if item.kind == "timer":
        if item.name == "sleep":
            return Waiting("time", "it sleeps", item.operation, item.due_at)
        return Waiting("limit", "by then it gives up what it waits for", item.operation, item.due_at)
    if item.kind == "wait":
        about = f" about {item.key!r}" if item.key is not None else ""
        known = {event: publishers.get(event, []) for event in item.events}
        why = f"for {' or '.join(item.events)}{about}"
        return Waiting("event", why, item.operation, item.due_at, item.events, item.key, known)
    if item.kind == "child":
        return Waiting("run", f"for run {item.run}" if item.run else "for a child", item.operation, run=item.run)
    if item.next_attempt_at is not None and not item.running:
        return Waiting("retry", f"for the next attempt of {item.name}", item.operation, item.next_attempt_at)
    return None


def ways_out(run: str, incidents: Iterable[tuple[str, str]], store: str | None = None) -> list[WayOut]:
    """What a person can do about a blocked run.

    Args:
        incidents: operation (empty: the run itself) and kind.
        store: the `--store` that the commands need too.
    """
    id = shlex.quote(run)
    where = f" --store {shlex.quote(store)}" if store is not None else ""
    stuck = [(operation, kind) for operation, kind in incidents if operation]
    if not stuck:
        return [WayOut(f"motet retry {id}{where}", "go on, once the code or what stopped it has been put right")]
    ways: list[WayOut] = []
    for operation, kind in stuck:
        called = operation.removesuffix("#1")
        by_hand = f"go on without {called}, once you have done by hand what it would have"
        effect = {
            **dict.fromkeys(STEPS, f"give {called} up: the workflow gets StepFailed"),
            "run": "let the run end as failed",
        }
        only = f" --operation {shlex.quote(operation)}" if len(stuck) > 1 else ""
        if kind != "run":
            ways.append(WayOut(f"motet retry {id}{only}{where}", f"try {called} again"))
        ways.append(WayOut(f'motet skip {id}{only}{where} --note "..."', effect.get(kind, by_hand)))
    return ways
