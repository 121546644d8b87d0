"""What must hold when all faults are over: read from the ledger's file and from the database by plain SQL.

Each check yields what is broken, in words; nothing here asks the engine.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.chaos.asking import Away, Base
from tests.chaos.ledger import UNDOES, Line
from tests.chaos.saying import some
from tests.chaos.workload import PLACES


class Run(NamedTuple):
    """A row of the run table, as far as it matters here."""

    uid: str
    id: str
    workflow: str
    state: str
    generation: int
    error: str | None
    input: str | None


class Fact(NamedTuple):
    """A row of the history, as far as it matters here."""

    uid: str
    generation: int
    position: int
    op: str
    operation_kind: str
    kind: str
    at: int
    target: str | None


class Found(NamedTuple):
    """Everything that is known afterwards."""

    accepted: dict[str, str]  # id -> workflow
    lines: list[Line]
    runs: dict[str, Run]  # by id
    history: dict[str, list[Fact]]  # by uid, in order
    events: list[tuple[str, str, str, str]]  # id, type, subject, cause
    integrity: str


def find(base: Base, lines: list[Line], accepted: dict[str, str]) -> Found:
    """Read the database. Raises Away: it is not there."""
    runs = [Run(*row) for row in base.ask(f"SELECT {', '.join(Run._fields)} FROM run")]
    order = "ORDER BY uid, generation, position"
    facts = [Fact(*row) for row in base.ask(f"SELECT {', '.join(Fact._fields)} FROM history {order}")]
    events = base.ask("SELECT id, type, subject, causationid FROM event ORDER BY position")
    history: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        history[fact.uid].append(fact)
    return Found(accepted, lines, {run.id: run for run in runs}, history, events, base.integrity())


def blocked(base: Base) -> list[tuple[str, str, str]]:
    """Runs that need a person: id, what kind of incident, and why. None while the store is away."""
    try:
        return base.ask("SELECT id, parked, error FROM run WHERE state = 'blocked'")
    except Away:
        return []


def broken(found: Found) -> list[str]:
    """Every promise that was not kept."""
    checks = (
        _sound, _all_ended, _attempts_after_records, _records, _races, _effects, _stale_owners, _purchases, _others,
        _events, _ends_told, _compensations, _places, _early, _histories,
    )  # fmt: skip
    return [f"{check.__name__.strip('_')}: {words}" for check in checks for words in check(found)]


def _attempts(found: Found) -> list[Line]:
    return [line for line in found.lines if line["kind"] == "attempt"]


def _sound(found: Found) -> Iterator[str]:
    if found.integrity != "ok":
        yield f"the database is damaged: {found.integrity}"


def _all_ended(found: Found) -> Iterator[str]:
    """No accepted start is lost, and none is blocked."""
    yield from some(
        "starts were accepted and are not in the store", (id for id in found.accepted if id not in found.runs)
    )
    left = (run for run in found.runs.values() if run.state not in ("completed", "failed", "cancelled"))
    yield from some("runs have not ended", (f"{run.id} ({run.state}: {run.error})" for run in left))
    wrong = (run for run in found.runs.values() if run.state == "failed" and not _declared(run))
    yield from some("runs failed by something else than an answer", (f"{run.id}: {run.error}" for run in wrong))


def _declared(run: Run) -> bool:
    """Whether the run may have failed like this: by a refusal, or where a reply was lost for good."""
    error: dict[str, Any] = json.loads(run.error or "{}")
    lost_for_good = "always_lost" in (run.input or "")
    return error.get("type") == "Refused" or lost_for_good or run.workflow.endswith("/family")


def _attempts_after_records(found: Found) -> Iterator[str]:
    recorded: set[str] = set()
    again: list[str] = []
    for line in found.lines:
        if line["kind"] == "recorded":
            recorded.add(line["key"])
        elif line["kind"] == "attempt" and not line["stale"] and line["key"] in recorded:
            again.append(line["key"])
    yield from some("attempts came after the record of their step", again)


def _records(found: Found) -> Iterator[str]:
    """A step is recorded once, by its owner: nobody else is told that it was."""
    told: dict[str, list[int]] = defaultdict(list)
    for line in found.lines:
        if line["kind"] == "recorded":
            told[line["key"]].append(line["pid"])
    twice = (f"{key} by {pids}" for key, pids in told.items() if len(pids) > 1)
    yield from some("steps were recorded more than once", twice)


def _races(found: Found) -> Iterator[str]:
    """What was done after each leg's end fits the order that the run remembers at its own end."""
    did: dict[str, dict[str, None]] = defaultdict(dict)
    for line in _attempts(found):
        if line["whom"].startswith("race-") and line["answer"] != "stale":
            did[line["whom"]][line["did"]] = None
    wrong: list[str] = []
    for whom, done in did.items():
        orders = [what.removeprefix("end ") for what in done if what.startswith("end ")]
        numbered = sorted(what for what in done if " as number " in what)
        expected = sorted(f"{name} as number {n}" for name, n in zip("".join(orders), (1, 2, 3) * 9, strict=False))
        if orders and (len(orders) > 1 or numbered != expected):
            wrong.append(f"{whom} did {numbered}, and then said that it was {orders}")
    yield from some("races remember another order than they acted on", wrong)


def _effects(found: Found) -> Iterator[str]:
    """Each effect is made once for whom it is made, whatever keys the engine gives."""
    made: Counter[tuple[str, str]] = Counter()
    first_key: set[str] = set()
    for line in _attempts(found):
        if line["answer"] in ("stale", "refused", "down", "nothing") or line["key"] in first_key:
            continue
        first_key.add(line["key"])
        made[line["did"], line["whom"]] += 1
    yield from some(
        "effects were made more than once", (f"{did} for {whom}" for (did, whom), n in made.items() if n > 1)
    )
    used: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for line in _attempts(found):
        used[line["key"]].add((line["did"], line["whom"]))
    yield from some("keys were used for two things", (f"{key} {uses}" for key, uses in used.items() if len(uses) > 1))


def _stale_owners(found: Found) -> Iterator[str]:
    """One owner at a time: an epoch belongs to one process."""
    owners: dict[tuple[str, int], set[int]] = defaultdict(set)
    for line in _attempts(found):
        owners[line["key"].partition(".")[0], line["token"]].add(line["pid"])
    two = (f"{run} in epoch {epoch}: {pids}" for (run, epoch), pids in owners.items() if len(pids) > 1)
    yield from some("epochs had two owners", two)


def _standing(found: Found) -> Counter[tuple[str, str]]:
    """What was done and not undone, by what and for whom."""
    left: Counter[tuple[str, str]] = Counter()
    keys: set[str] = set()
    for line in _attempts(found):
        if line["answer"] in ("stale", "refused", "down", "nothing") or line["key"] in keys:
            continue
        keys.add(line["key"])
        undone = UNDOES.get(line["did"])
        left[undone or line["did"], line["whom"]] += -1 if undone else 1
    return left


def _purchases(found: Found) -> Iterator[str]:
    """Charged and enrolled if completed, else neither."""
    standing = _standing(found)
    wrong: list[str] = []
    for run in found.runs.values():
        if run.workflow not in ("chaos/purchase", "chaos/impatient"):
            continue
        whom = json.loads(run.input or "{}")["id"]
        has = (standing["pay", whom], standing["enroll", whom])
        if has != ((1, 1) if run.state == "completed" else (0, 0)):
            wrong.append(f"{run.id} is {run.state} with {has[0]} payments and {has[1]} seats")
    yield from some("purchases are half done", wrong)


def _others(found: Found) -> Iterator[str]:
    standing = _standing(found)
    wrong: list[str] = []
    for run in found.runs.values():
        whom = json.loads(run.input or "{}").get("id", "")
        if run.workflow == "chaos/family" and standing["pay", whom] != int(run.state == "completed"):
            wrong.append(f"family {run.id} is {run.state} with {standing['pay', whom]} payments")
        elif (
            run.workflow == "chaos/second_try"
            and "~" not in run.id
            and standing["pay", whom] != int(run.state == "completed")
        ):
            wrong.append(f"{run.id} is {run.state} and paid {standing['pay', whom]} times")
        elif run.workflow == "chaos/rounds" and run.state == "completed":
            paid = [standing["pay", f"{whom}/{left}"] for left in range(run.generation)]
            if set(paid) != {1}:
                wrong.append(f"{run.id} paid {paid} in its {run.generation} rounds")
    yield from some("runs have not done what they were to do", wrong)


def _events(found: Found) -> Iterator[str]:
    """An event for each completed purchase and race, and for nobody else; none twice. Of the loose edges' own events
    `edges/checks.py` knows."""
    twice = (id for id, count in Counter(id for id, *_ in found.events).items() if count > 1)
    yield from some("events are in the log twice", twice)
    told = Counter(
        (name, subject) for _, name, subject, _ in found.events if name in ("purchase.completed", "race.ended")
    )
    expected = Counter(
        (
            {"chaos/purchase": "purchase.completed", "chaos/race": "race.ended"}[run.workflow],
            json.loads(run.input or "{}")["id"],
        )
        for run in found.runs.values()
        if run.state == "completed" and run.workflow in ("chaos/purchase", "chaos/race")
    )
    yield from some("events are missing", (f"{what}" for what in expected - told))
    yield from some("events tell of what did not happen", (f"{what}" for what in told - expected))


def _ends_told(found: Found) -> Iterator[str]:
    """The engine's own events tell of each end, once, and of nobody's who has not ended so."""
    told = Counter(
        (name, uid) for _, name, _, uid in found.events if name.startswith("motet.run.") and name != "motet.run.blocked"
    )
    ended = (run for run in found.runs.values() if run.state in ("completed", "failed", "cancelled"))
    ends = Counter((f"motet.run.{run.state}", run.uid) for run in ended)
    yield from some("ends are not told", (f"{what}" for what in ends - told))
    yield from some("ends are told that did not happen", (f"{what}" for what in told - ends))


def _compensations(found: Found) -> Iterator[str]:
    """Exactly the reverse of what was done, and only after all of it had settled."""
    wrong: list[str] = []
    early: list[str] = []
    for run in found.runs.values():
        facts = [fact for fact in found.history[run.uid] if fact.generation == run.generation]
        undone = [fact for fact in facts if fact.operation_kind == "compensation" and fact.kind == "completed"]
        if run.state == "completed" or run.workflow.endswith(("race", "nap", "careful", "again", "rounds")):
            if undone and run.state == "completed":
                wrong.append(f"{run.id} completed and undid {[fact.target for fact in undone]}")
            continue
        done = [fact for fact in facts if fact.operation_kind == "step" and fact.kind in ("completed", "failed")]
        if [fact.target for fact in undone] != [fact.op for fact in reversed(done)]:
            wrong.append(f"{run.id} did {[fact.op for fact in done]} and undid {[fact.target for fact in undone]}")
        first = min((fact.position for fact in undone), default=None)
        if first is not None and any(fact.position > first for fact in done):
            early.append(run.id)
    yield from some("runs were not undone in reverse", wrong)
    yield from some("runs were undone before all had settled", early)


def _places(found: Found) -> Iterator[str]:
    """Of the limited queue so many at a time: whose worker has died or was stopped gives its place back.

    Who was cancelled never leaves, and does not count.
    """
    whole = {run.id for run in found.runs.values() if run.state == "completed"}
    inside: dict[str, int] = {}
    most = 0
    for line in found.lines:
        if line["kind"] == "mark" and line["what"] in ("dead", "paused"):
            inside = {run: pid for run, pid in inside.items() if pid != line["pid"]}
        elif line["kind"] == "attempt" and not line["stale"] and line["did"] == "enter" and line["run"] in whole:
            inside[line["run"]] = line["pid"]
            most = max(most, len(inside))
        elif line["kind"] == "attempt" and not line["stale"] and line["did"] == "leave":
            inside.pop(line["run"], None)
    if most > PLACES:
        yield f"{most} runs of the limited queue were driven at a time, {PLACES} may be"


def _early(found: Found) -> Iterator[str]:
    """Nobody gets up early, as long as no clock had been moved."""
    lay_down: dict[str, float] = {}
    early: list[str] = []
    for line in found.lines:
        if line["kind"] == "mark" and line["what"] == "clock":
            break
        if line["kind"] != "attempt" or line["stale"]:
            continue
        if line["did"] == "lie down":
            lay_down.setdefault(line["run"], line["at"])
        elif line["did"] == "get up" and line["run"] in found.runs:
            seconds = json.loads(found.runs[line["run"]].input or "{}")["seconds"]
            slept = line["at"] - lay_down[line["run"]]
            if slept < seconds:
                early.append(f"{line['run']} slept {slept:.3f} of {seconds:.3f} s")
    yield from some("sleepers were woken early", early)


def _histories(found: Found) -> Iterator[str]:
    """Positions without gaps."""
    gaps: list[str] = []
    for uid, facts in found.history.items():
        positions: dict[int, list[int]] = defaultdict(list)
        for fact in facts:
            positions[fact.generation].append(fact.position)
        gaps += [f"{uid}.{generation}" for generation, had in positions.items() if had != list(range(1, len(had) + 1))]
    yield from some("histories have gaps", gaps)
