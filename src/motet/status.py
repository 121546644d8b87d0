"""What step are we in, what failed, what would be undone, what comes next: a run's story from its records alone,
without its code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from motet.catalog import Ahead, Entry, read_entry
from motet.coming import Known, Next, ahead_of, coming, done_of, known_plan
from motet.model.clock import SECOND, Micros, as_datetime
from motet.model.codec import plain
from motet.model.event import LoggedEvent
from motet.model.failure import decode_failure
from motet.model.history import STEPS, Recorded
from motet.model.origin import read_origin
from motet.model.run import DEFAULT_QUEUE, ENDED, Run, RunState
from motet.model.tombstone import Tombstone
from motet.orchestration.plan.marks import Did
from motet.publishers import Publisher
from motet.reasons import InFlight, Waiting, WayOut, waits_of, ways_out


class RunSummary(msgspec.Struct, frozen=True):
    """One line of a list. Times are ISO 8601 in UTC."""

    id: str
    uid: str
    workflow: str
    version: int
    state: RunState
    conversation: str
    created_at: str
    ended_at: str | None
    error_type: str | None
    error: str | None
    note: str | None
    attributes: dict[str, Any]


class Done(msgspec.Struct, frozen=True):
    """An operation that has ended: `outcome` is completed, answered, failed, skipped, fired, published or pivoted. The
    result of a wait is its event: type, id, key, data."""

    operation: str
    kind: str
    name: str
    outcome: str
    attempts: int
    seconds: float | None
    at: str
    result: Any = None
    result_type: str | None = None
    error: str | None = None
    undoes: str | None = None
    note: str | None = None

    @property
    def taken(self) -> dict[str, Any] | None:
        """The event that a wait has taken."""
        return self.result if self.kind == "wait" and self.outcome == "completed" else None


class Current(msgspec.Struct, frozen=True):
    """An operation in flight, as its worker last wrote it down (at most a second or so ago). `events` and `key` are a
    wait's; `site` is where the source creates it."""

    operation: str
    kind: str
    name: str
    attempt: int | None = None
    attempts: int | None = None
    running: bool = False
    last_error: str | None = None
    failed_at: str | None = None
    next_attempt_at: str | None = None
    due_at: str | None = None
    run: str | None = None
    stuck: bool = False
    undoes: str | None = None
    started_at: str | None = None
    events: list[str] = []
    key: str | None = None
    site: str | None = None


class Undo(msgspec.Struct, frozen=True):
    """What would run if the run failed now; `unknown`: nobody knows whether the step happened."""

    compensation: str
    undoes: str
    unknown: bool
    callable: bool
    result: Any = None
    result_type: str | None = None


class Published(msgspec.Struct, frozen=True):
    """An event that the run has published."""

    id: str
    type: str
    key: str | None
    at: str


class Incident(msgspec.Struct, frozen=True):
    """What needs a person, and why."""

    operation: str
    kind: str
    reason: str
    undoes: str | None = None
    unknown: bool = False
    attempts: int = 0


class Stop(msgspec.Struct, frozen=True):
    """Why the run ends early: `kind` is cancel or deadline. What is in flight is awaited, then what was done is
    undone, unless a cancel said otherwise."""

    kind: str
    at: str
    reason: str | None = None
    compensate: bool = True


class RunStatus(msgspec.Struct, frozen=True):
    """A run's whole story. Times are ISO 8601 in UTC; `current` to `events` are in the order of time, `undo` in
    the order in which it would run. `next` is what can come next by the plan, `waits` why it does not go on, and until
    when; `ways_out` is what a person can do about a blocked one. `rerun_of` and `rerun_from`: whose history
    it keeps, before which operation. `stranded`: nobody drives it, and no registered worker has its version of the
    code. Of a run that was pruned (`pruned_at`) only its end is known."""

    id: str
    uid: str
    workflow: str
    version: int
    state: RunState
    generation: int
    conversation: str
    cause: str | None
    attributes: dict[str, Any]
    note: str | None
    created_at: str
    ended_at: str | None
    deadline_at: str | None
    wake_at: str | None
    seconds: float
    current: list[Current]
    done: list[Done]
    failed: list[Done]
    undo: list[Undo]
    events: list[Published]
    ahead: list[Ahead]
    incidents: list[Incident]
    result: Any
    error: str | None
    error_type: str | None
    crashes: int
    result_type: str | None = None
    stop: Stop | None = None
    queue: str = DEFAULT_QUEUE
    priority: int = 0
    pruned_at: str | None = None
    next: list[Next] = []
    waits: list[Waiting] = []
    ways_out: list[WayOut] = []
    rerun_of: str | None = None
    rerun_from: str | None = None
    stranded: bool = False


def iso(at: Micros | None) -> str | None:
    """A recorded time as ISO 8601 in UTC."""
    return as_datetime(at).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at is not None else None


def summary_of(run: Run) -> RunSummary:
    error_type, error = _error(run)
    return RunSummary(
        run.id, run.uid, run.workflow, run.version, run.state, run.conversation, iso(run.created_at) or "",
        iso(run.ended_at), error_type, error, run.note, plain(run.attributes) if run.attributes else {},
    )  # fmt: skip


def build_status(
    run: Run, history: Sequence[Recorded], catalog: str | None, now: Micros,
    publishers: Mapping[str, list[Publisher]] | None = None,
) -> RunStatus:  # fmt: skip
    """The story of a run, from its row, the history of its generation, and what its workers' code has said.

    Args:
        publishers: of the events that it waits for (`awaited_by`), who is known to publish them.
    """
    entry = read_entry(catalog)
    known = known_plan(catalog)
    origin = read_origin(run.origin)
    done = [_done(row, entry) for row in history if row.kind not in ("retrying", "stuck") and row.op]
    current = current_of(run, history, entry)
    error_type, error = _error(run)
    ended = run.state in ENDED
    undo = [] if ended else _undo(history, current, entry)
    incidents = incidents_of(run)
    stop = next((_stop(row) for row in history if row.kind in ("cancel", "deadline")), None)
    wake_at = iso(run.wake_at) if run.wake_at else None
    flying = [in_flight(item) for item in current]
    return RunStatus(
        id=run.id, uid=run.uid, workflow=run.workflow, version=run.version, state=run.state,
        generation=run.generation, conversation=run.conversation, cause=run.cause,
        attributes=plain(run.attributes) if run.attributes else {}, note=run.note,
        created_at=iso(run.created_at) or "", ended_at=iso(run.ended_at), deadline_at=iso(run.deadline_at),
        wake_at=wake_at,
        seconds=((run.ended_at or now) - run.created_at) / SECOND,
        current=current, done=[item for item in done if item.outcome not in ("answered", "failed")],
        failed=[item for item in done if item.outcome in ("answered", "failed")],
        undo=undo,
        events=[_published(run, row) for row in history if row.kind == "published"],
        ahead=[] if run.state in (*ENDED, "compensating") else ahead_of(entry, known, dids_of(history, current)),
        incidents=incidents,
        result=plain(run.result) if run.result is not None else None,
        error=error, error_type=error_type, crashes=run.crashes, result_type=entry.returns,
        stop=stop, queue=run.queue, priority=run.priority,
        next=[] if ended else _next(run, history, current, known, undo, stop),
        waits=[] if ended or run.state == "blocked" else waits_of(run, flying, wake_at, publishers or {}),
        ways_out=ways_out(run.id, [(one.operation, one.kind) for one in incidents]) if run.state == "blocked" else [],
        rerun_of=None if origin is None else origin.run, rerun_from=None if origin is None else origin.operation,
    )  # fmt: skip


def status_of_pruned(tombstone: Tombstone) -> RunStatus:
    """What is known of a run that was pruned."""
    run = tombstone.as_run()
    return msgspec.structs.replace(build_status(run, [], None, run.created_at), pruned_at=iso(tombstone.pruned_at))


def incidents_of(run: Run) -> list[Incident]:
    """Why a blocked run needs a person; empty for any other."""
    if run.state != "blocked" or run.error is None:
        return []
    return msgspec.convert(plain(run.error), list[Incident])


def _error(run: Run) -> tuple[str | None, str | None]:
    if run.error is None or run.state == "blocked":
        return None, None
    failure = decode_failure(run.error)
    return failure.type, failure.message


def _stop(row: Recorded) -> Stop:
    said: dict[str, Any] = plain(row.payload) if row.kind == "cancel" and row.payload is not None else {}
    return Stop(row.kind, iso(row.at) or "", said.get("reason"), said.get("compensate", True))


def _name(op: str) -> str:
    return op.rpartition("#")[0]


def _done(row: Recorded, entry: Entry) -> Done:
    failed = row.kind in ("answered", "failed")
    step = entry.steps.get(_name(row.op))
    return Done(
        operation=row.op, kind=row.operation_kind, name=_name(row.op), outcome=row.kind, attempts=row.attempt,
        seconds=(row.at - row.started_at) / SECOND if row.started_at is not None else None, at=iso(row.at) or "",
        result=_result(row),
        result_type=step.returns if step is not None and row.operation_kind in STEPS else None,
        error=str(decode_failure(row.payload)) if failed and row.payload is not None else None,
        undoes=row.target if row.operation_kind == "compensation" else None,
        note=plain(row.payload).get("note") if row.kind == "skipped" and row.payload is not None else None,
    )  # fmt: skip


def _result(row: Recorded) -> Any:
    """Of a wait the event that it has taken: what of its record is for people."""
    if row.kind != "completed" or row.payload is None:
        return None
    if row.operation_kind != "wait":
        return plain(row.payload)
    taken = msgspec.json.decode(row.payload, type=LoggedEvent)
    return {"type": taken.type, "id": taken.given_id, "key": taken.subject, "data": plain(taken.data)}


def current_of(run: Run, history: Sequence[Recorded], entry: Entry) -> list[Current]:
    """What the worker wrote down, less what has ended since, with newer failures of attempts."""
    rows: dict[str, dict[str, Any]] = {row["operation"]: row for row in plain(run.current or "[]")}
    last: dict[str, Recorded] = {row.op: row for row in history if row.op}
    for op, row in last.items():
        if row.kind in ("retrying", "stuck"):
            known = rows.setdefault(op, {"operation": op, "kind": row.operation_kind, "name": _name(op)})
            known["error"] = str(decode_failure(row.payload)) if row.payload is not None else None
            known["failed_at"] = row.at
            known["next_attempt_at"] = row.due
            known["undoes"] = row.target
            known["site"] = row.site
            if not known.get("running") or (known.get("started_at") or 0) < row.at:
                known["attempt"], known["running"] = row.attempt, False
            if "attempts" not in known and known["name"] in entry.steps:
                known["attempts"] = entry.steps[known["name"]].attempts
            known["stuck"] = row.kind == "stuck" and run.state == "blocked"
        else:
            rows.pop(op, None)
    if run.state in ENDED:
        return []
    return [
        Current(
            operation=row["operation"], kind=row["kind"], name=row["name"], attempt=row.get("attempt"),
            attempts=row.get("attempts"), running=bool(row.get("running")), last_error=row.get("error"),
            failed_at=iso(row.get("failed_at")), next_attempt_at=iso(row.get("next_attempt_at")),
            due_at=iso(row.get("due_at")), run=row.get("run"), stuck=bool(row.get("stuck")),
            undoes=row.get("undoes"), started_at=iso(row.get("started_at")) if row.get("running") else None,
            events=row.get("types") or [], key=row.get("key"), site=row.get("site"),
        )
        for row in rows.values()
    ]  # fmt: skip


def _undo(history: Sequence[Recorded], current: Sequence[Current], entry: Entry) -> list[Undo]:
    """Last first: steps in flight (nobody knows), then what is recorded and not undone yet."""
    undone = {
        row.target for row in history if row.operation_kind == "compensation" and row.kind in ("completed", "skipped")
    }
    stack: list[Undo] = []
    for row in history:
        if row.kind == "pivoted":
            stack.clear()
        step = entry.steps.get(_name(row.op))
        if row.operation_kind not in STEPS or row.op in undone or step is None or step.compensation is None:
            continue
        if row.kind == "completed" or (row.kind == "failed" and row.operation_kind == "step"):
            known = row.kind == "completed"
            result = plain(row.payload) if known and row.payload is not None else None
            stack.append(Undo(step.compensation, row.op, not known, known or step.admits_none, result, step.returns))
    pivoted = any(row.kind == "pivoted" for row in history)
    for item in current:
        step = entry.steps.get(item.name)
        if item.kind == "step" and step is not None and step.compensation is not None and not pivoted:
            stack.append(Undo(step.compensation, item.operation, True, step.admits_none))
    return stack[::-1]


def _published(run: Run, row: Recorded) -> Published:
    return Published(f"{run.uid}.{run.generation}.{row.op}", _name(row.op), row.target, iso(row.at) or "")


# --- the plan ------------------------------------------------------------------------------------------------------


def dids_of(history: Sequence[Recorded], current: Sequence[Current]) -> list[Did]:
    """What the run has done, in the order in which that has ended, then what is in flight."""
    return done_of(history) + [
        Did(item.operation, item.kind, item.name, item.site, "open", item.undoes)
        for item in current
        if item.operation and item.kind != "run"
    ]


def _next(
    run: Run, history: Sequence[Recorded], current: Sequence[Current], known: Known | None, undo: Sequence[Undo],
    stop: Stop | None,
) -> list[Next]:  # fmt: skip
    """What can come next. Once a run is being undone, that is all that is left; of one whose code has changed, or has
    no plan, nobody knows."""
    begun = {item.undoes for item in current if item.kind == "compensation"}
    left = [Next("undo", item.compensation) for item in undo if item.undoes not in begun]
    if run.state == "compensating" or (stop is not None and run.state != "blocked"):
        return left[:1] if left and (stop is None or stop.compensate) else [Next("failure", "")]
    if known is None or any(not item.operation for item in incidents_of(run)):
        return []
    return coming(known, dids_of(history, current), left)


def in_flight(item: Current) -> InFlight:
    return InFlight(
        item.operation, item.kind, item.name, item.running, item.stuck, item.due_at, item.next_attempt_at, item.run,
        item.events, item.key,
    )  # fmt: skip
