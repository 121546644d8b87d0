"""A worker's house in memory: real drivers on a store, a clock, attempts and timers that the test controls.

What happens outside is decided once, by a seed: how long each attempt takes and how it ends. So it is the same
whether or not the process crashes in between, and whenever it crashes.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from motet import Settings
from motet.model.clock import SECOND, Micros
from motet.model.codec import plain
from motet.model.history import Recorded
from motet.model.run import ENDED, Run, may_become
from motet.orchestration.attempt import Attempt
from motet.orchestration.definitions import Callee
from motet.orchestration.outcome import Outcome, Raised, Returned, TimedOut
from motet.runtime.driver import Driver
from motet.runtime.hooks import Hooks
from motet.runtime.suspects import OneByOne
from motet.store import mutations as m
from motet.store.protocol import Receipt
from tests.property.programs import Declared, Round, app, run_program

START: Micros = 1_700_000_000 * SECOND


Batch = list[tuple[list[m.Mutation], Callable[[Receipt], None]]]


class Crash(Exception):
    """The process is gone."""


@dataclass(frozen=True)
class Plan:
    """What happens to a run from outside, and when the process crashes."""

    seed: int = 0
    trouble: int = 3
    """Of ten attempts, how many go wrong."""
    cancel_at: int | None = None
    compensate: bool = True
    deadline: int | None = None
    batched: tuple[bool, ...] = (False,)
    """For each tick in turn: whether all that happens in it is recorded in one batch."""
    release: tuple[bool, ...] = (False,)
    """For each tick in turn: whether runs that only wait leave memory."""
    crashes: frozenset[int] = frozenset()
    """At which of the moments when a crash may come it comes."""


@dataclass
class Store:
    """The tables, applied kind by kind as a real store does."""

    runs: dict[str, Run] = field(default_factory=dict)
    history: dict[tuple[str, int], list[Recorded]] = field(default_factory=dict)
    events: list[m.AppendEvent] = field(default_factory=list)
    inbox: dict[tuple[str, str], m.PutInbox] = field(default_factory=dict)

    def apply(self, units: Iterable[list[m.Mutation]]) -> Receipt:
        by_kind: dict[type, list[Any]] = {}
        for unit in units:
            for mutation in unit:
                by_kind.setdefault(type(mutation), []).append(mutation)
        lost: dict[str, Run] = {}
        for kind in m.KINDS:
            for mutation in by_kind.get(kind, ()):
                getattr(self, f"_{kind.__name__}")(mutation, lost)
        return Receipt(lost)

    def _Run(self, run: Run, lost: dict[str, Run]) -> None:  # noqa: N802 - named after the mutation
        winner = next((other for other in self.runs.values() if other.id == run.id), None)
        if winner is None:
            self.runs[run.uid] = run
        elif winner.uid != run.uid:
            lost[run.uid] = winner

    def _Recorded(self, row: Recorded, _: Any) -> None:  # noqa: N802
        rows = self.history.setdefault((row.uid, row.generation), [])
        assert row.position == len(rows) + 1, (row, rows)
        rows.append(row)

    def _EventRow(self, row: m.AppendEvent, _: Any) -> None:  # noqa: N802
        self.events.append(row)

    def _AppendOnce(self, row: m.AppendOnce, _: Any) -> None:  # noqa: N802
        if all(event.id != row.id for event in self.events):
            self.events.append(m.AppendEvent(*row))

    def _RegisterWait(self, row: m.RegisterWait, _: Any) -> None:  # noqa: N802
        raise AssertionError(f"no program waits for events: {row}")

    def _EndWait(self, row: m.EndWait, _: Any) -> None:  # noqa: N802
        raise AssertionError(f"no program waits for events: {row}")

    def _MoveCursor(self, row: m.MoveCursor, _: Any) -> None:  # noqa: N802
        raise AssertionError(f"no run moves a cursor: {row}")

    def _ShowProgress(self, row: m.ShowProgress, _: Any) -> None:  # noqa: N802
        self._change(row.uid, current=row.current, note=row.note or self.runs[row.uid].note)

    def _EnterState(self, row: m.EnterState, _: Any) -> None:  # noqa: N802
        self._change(row.uid, state=row.state, error=row.error, parked=row.parked)

    def _BeginGeneration(self, row: m.BeginGeneration, _: Any) -> None:  # noqa: N802
        assert row.generation == self.runs[row.uid].generation + 1
        assert self.runs[row.uid].state == "running"
        self._change(row.uid, generation=row.generation, input=row.input, started_at=row.started_at, current=None)

    def _EndRun(self, row: m.EndRun, _: Any) -> None:  # noqa: N802
        self._change(
            row.uid, state=row.state, result=row.result, error=row.error, ended_at=row.ended_at, owner=None,
            wake_at=None, current=None, parked=None,
        )  # fmt: skip

    def _ReleaseRun(self, row: m.ReleaseRun, _: Any) -> None:  # noqa: N802
        self._change(row.uid, state=row.state, wake_at=row.wake_at, owner=None, current=row.current)

    def _PutInbox(self, row: m.PutInbox, _: Any) -> None:  # noqa: N802
        assert row.uid in self.runs, "a message to a run that does not exist is never heard"
        self.inbox.setdefault((row.uid, row.key), row)

    def _TakeInbox(self, row: m.TakeInbox, _: Any) -> None:  # noqa: N802
        self.inbox.pop((row.uid, row.key), None)

    def _change(self, uid: str, **changes: Any) -> None:
        run = self.runs[uid]
        if "state" in changes:
            assert may_become(run.state, changes["state"]), (run.state, changes["state"])
        self.runs[uid] = run._replace(**changes)


class Happening:
    """Something in memory that is due: an attempt's end, or a timer's ring."""

    def __init__(self, tick: int, name: str, action: Callable[[], None]) -> None:
        self.tick = tick
        self.name = name
        self.action: Callable[[], None] | None = action
        self.due = START + tick * SECOND

    def cancel(self) -> None:
        self.action = None

    drop = cancel
    started_at = 0


def _name_of(ring: Callable[[], None]) -> str:
    """A name for what a timer calls that is the same after a crash."""
    if getattr(ring, "__name__", "") == "_deadline":
        return "deadline"
    around = inspect.getclosurevars(ring).nonlocals
    driver = around["driver"] if "driver" in around else around["self"]._driver
    backoff = "" if "driver" in around else "backoff "
    return f"{backoff}{driver.run.uid} {around['op'].op}"


class House:
    """What drivers have from their worker; and the process that can crash."""

    def __init__(self, plan: Plan, programs: list[Any]) -> None:
        self.plan = plan
        self.id = 1
        self.settings = Settings()
        self.hooks = Hooks()
        self.registry = app.registry
        self.clock = self.committer = self.attempts = self.timers = self
        self.suspects = OneByOne()
        self.draining = False
        self.tick = 0
        self.moments = 0
        self.store = Store()
        self.drivers: dict[str, Driver] = {}
        self.queue: Batch = []
        self.happenings: list[Happening] = []
        self.outside = Outside(plan)
        self.crashed = 0
        self.helped: dict[str, int] = {}
        self._start(programs)

    # --- what drivers call ----------------------------------------------------------------------------------------

    def now(self) -> Micros:
        return START + self.tick * SECOND

    def monotonic(self) -> float:
        return float(self.tick)

    def at(self, due: Micros, action: Callable[[], None]) -> Any:
        tick = max(-(-(due - START) // SECOND), self.tick)
        return self._expect(tick, _name_of(action), action)

    def start(
        self, callee: Callee, call: Any, attempt: Attempt, report: Callable[[Outcome, Micros], None], queue: str
    ) -> Any:
        began = self.now()
        tick, outcome = self.outside.begin(self, callee, call, attempt)

        name = f"{attempt.run} {attempt.operation}"
        return self._expect(max(tick, self.tick), name, lambda: report(outcome, began))

    def submit(
        self, mutations: list[m.Mutation], done: Callable[[Receipt], None], failed: Any = None, *, fenced: bool = True
    ) -> None:
        self.queue.append((mutations, done))

    def left(self, driver: Driver, ended: Run | None) -> None:
        if self.drivers.get(driver.run.uid) is driver:
            del self.drivers[driver.run.uid]

    def blocked(self, run: Run) -> None:
        """A person looks when nothing else happens any more."""

    def make_room(self, run: Run) -> bool:
        return True

    def adopt(self, run: Run, receipt: Receipt) -> None:
        if run.uid in self.drivers or run.owner is None or run.uid in receipt.lost:
            return
        driver = self.drivers[run.uid] = Driver(self, run)  # type: ignore[arg-type]
        driver.begin()

    # --- running --------------------------------------------------------------------------------------------------

    def run(self) -> Store:
        """Until every run has ended."""
        while True:
            assert self.tick < 5_000, "it does not end"
            try:
                self.settle()
                if all(run.state in ENDED for run in self.store.runs.values()):
                    break
                if not self.happen() and not self.next_tick():
                    self._person()
            except Crash:
                self.restart()
        for driver in list(self.drivers.values()):
            driver.drop()
        return self.store

    def _start(self, programs: list[Any]) -> None:
        deadline = None if self.plan.deadline is None else START + self.plan.deadline * SECOND
        run = Run(
            uid="0top", id="top", workflow=run_program.name, version=1, state="pending", generation=1, epoch=0,
            owner=None, input=msgspec.json.encode(Round(programs)).decode(), result=None, error=None, current=None,
            note=None, attributes=None, conversation="top", cause=None, parent=None, created_at=START,
            started_at=START, ended_at=None, deadline_at=deadline, wake_at=START, crashes=0, parked=None,
            python="3.11", fingerprint="",
        )  # fmt: skip
        self.store.runs[run.uid] = run

    def settle(self) -> None:
        """Commit, hear and claim until nothing of this is left to do."""
        while True:
            if self.queue:
                self.commit()
            elif not (self.hear() or self.claim()):
                return

    def commit(self) -> None:
        batch, self.queue = self.queue, []
        self._may_crash()
        if self.moments % 2 and self.moments + 1 in self.plan.crashes:
            batch = batch[: len(batch) // 2 + 1]  # the batch was full: the rest would have come with the next
        receipt = self.store.apply(unit for unit, _ in batch)
        self.outside.acknowledge(batch)
        self._may_crash()
        for _, done in batch:
            done(receipt)
            self._may_crash()

    def hear(self) -> bool:
        before = len(self.queue)
        for message in list(self.store.inbox.values()):
            if message.uid in self.drivers:
                self.drivers[message.uid].hear(message)
        return len(self.queue) > before

    def claim(self) -> bool:
        waiting = {uid for uid, _ in self.store.inbox}
        for run in sorted(self.store.runs.values()):
            due = run.wake_at is not None and run.wake_at <= self.now()
            if run.owner is None and run.state not in ENDED and (due or run.uid in waiting):
                assert run.parked in (None, "incident"), run.error
                state = "running" if run.state in ("pending", "waiting") else run.state
                claimed = run._replace(owner=self.id, epoch=run.epoch + 1, wake_at=None, state=state)
                self.store.runs[run.uid] = claimed
                driver = self.drivers[run.uid] = Driver(self, claimed)  # type: ignore[arg-type]
                messages = [message for message in self.store.inbox.values() if message.uid == run.uid]
                driver.resume(list(self.store.history.get((run.uid, run.generation), [])), messages)
                return True
        return False

    def happen(self) -> bool:
        """What is due in this tick: all of it before anything is committed, or one after the other."""
        due = [one for one in self.happenings if one.action is not None and one.tick <= self.tick]
        if not due:
            return False
        # A new owner looks at the deadline first, and begins at once what is due again.
        due.sort(key=lambda one: (one.name != "deadline", "backoff" not in one.name, self._order(one.name)))
        for one in due if self._drawn(self.plan.batched) and due[0].name != "deadline" else due[:1]:
            self._may_crash()
            action, one.action = one.action, None
            if action is not None:
                action()
        return True

    def next_tick(self) -> bool:
        self.happenings = [one for one in self.happenings if one.action is not None]
        if self._drawn(self.plan.release):
            for driver in list(self.drivers.values()):
                if driver.idle:
                    driver.release(driver.next_due())
            self.settle()
        ticks = [one.tick for one in self.happenings if one.action is not None]
        ticks += [-(-(run.wake_at - START) // SECOND) for run in self.store.runs.values() if run.wake_at is not None]
        cancel = self.plan.cancel_at
        if cancel is not None and self.tick < cancel and self.store.runs["0top"].state not in ENDED:
            ticks.append(cancel)
        if not ticks:
            return False
        self.tick = max(min(ticks), self.tick + 1)
        if self.tick == cancel and self.store.runs["0top"].state not in ENDED:
            self.put_cancel()
        return True

    def put_cancel(self) -> None:
        self.put("cancel", {"compensate": self.plan.compensate})

    def put(self, kind: str, payload: dict[str, Any], uid: str = "0top") -> None:
        """Somebody tells a run something."""
        text = msgspec.json.encode(payload).decode()
        key = f"{kind}:{payload.get('op')}:{self.tick}"
        self.store._PutInbox(m.PutInbox(uid, key, kind, text, self.now()), None)

    def _person(self) -> None:
        """Nothing happens any more: somebody looks at what is blocked, tries again once, then skips."""
        blocked = [run for run in sorted(self.store.runs.values()) if run.state == "blocked"]
        assert blocked, [(run.id, run.state) for run in self.store.runs.values()]
        self.tick += 1
        for run in blocked:
            incident = plain(run.error or "[]")[0]
            operation, count = incident["operation"], self.helped.get(run.id + incident["operation"], 0)
            assert operation, run.error
            self.helped[run.id + operation] = count + 1
            kind = "skip" if count or incident["kind"] == "run" or incident["unknown"] else "retry"
            self.put(kind, {"op": operation}, run.uid)

    # --- crashing -------------------------------------------------------------------------------------------------

    def _may_crash(self) -> None:
        self.moments += 1
        if self.moments in self.plan.crashes:
            raise Crash

    def restart(self) -> None:
        self.crashed += 1
        for driver in self.drivers.values():
            driver.drop()
        self.drivers.clear()
        self.queue.clear()
        self.happenings.clear()
        for uid, run in self.store.runs.items():
            if run.owner is not None:
                self.store.runs[uid] = run._replace(owner=None, wake_at=START)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _expect(self, tick: int, name: str, action: Callable[[], None]) -> Happening:
        happening = Happening(tick, name, action)
        self.happenings.append(happening)
        return happening

    def _order(self, name: str) -> tuple[int, str]:
        return zlib.crc32(f"{self.plan.seed} {self.tick} {name}".encode()), name

    def _drawn(self, choices: tuple[bool, ...]) -> bool:
        return choices[self.tick % len(choices)]


class Outside:
    """The world of effects: each attempt's duration and end are drawn once, by the operation and its number."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._drawn: dict[tuple[str, int, int], tuple[int, Outcome, bool]] = {}
        self.effects: list[tuple[str, str, bool]] = []
        """What was tried: the effect's key, what it undoes, whether it has happened."""
        self.acknowledged: set[str] = set()

    def begin(self, house: House, callee: Callee, call: Any, attempt: Attempt) -> tuple[int, Outcome]:
        assert attempt.key not in self.acknowledged, f"{attempt.key} runs again although it is recorded"
        driver = next(driver for driver in house.drivers.values() if driver.run.id == attempt.run)
        op = driver.machine.operations[attempt.operation]
        what = f"{attempt.run} undo {op.target.op}" if op.target is not None else f"{attempt.run} {attempt.key}"
        number = (what, attempt.number, house.helped.get(attempt.run + attempt.operation, 0))
        if number not in self._drawn:
            chance = zlib.crc32(f"{self._plan.seed} {number}".encode())
            outcome, happened = self._outcome(chance // 7, callee, number[2])
            self._drawn[number] = house.tick + 1 + chance % 5, outcome, happened
        tick, outcome, happened = self._drawn[number]
        target = driver.machine.key_of(op.target) if op.target is not None else ""
        self.effects.append((attempt.key, target, happened))
        return tick, outcome

    def acknowledge(self, batch: Batch) -> None:
        """Whatever has ended on disk must never be tried again."""
        for unit, _ in batch:
            for row in unit:
                if isinstance(row, Recorded) and row.kind in ("completed", "answered", "failed", "skipped"):
                    self.acknowledged.add(f"{row.uid}.{row.generation}.{row.op}")

    def _outcome(self, chance: int, callee: Callee, helped: int) -> tuple[Outcome, bool]:
        if chance % 10 >= self._plan.trouble or helped:
            return Returned(chance % 100), True
        kind = chance // 10 % 4
        if kind == 0 and callee.raises:
            return Raised(Declared("no")), False
        if kind == 1:
            return TimedOut(1.0), chance % 2 == 0
        return Raised(OSError("trouble")), chance % 3 == 0


def cut_off(store: Store) -> set[str]:
    """The attempts of which nobody knows how they ended, because nobody waited for them any more."""
    return {
        f"{uid}.{generation}.{row.op}"
        for (uid, generation), rows in store.history.items()
        for row in rows
        if row.kind == "failed" and row.payload and plain(row.payload)["type"] == "StepInterrupted"
    }


def story(store: Store) -> dict[str, Any]:
    """What anybody can see of it: how the runs ended, what they published, what they did and undid."""
    return {
        "runs": {
            run.id: (run.state, run.result, plain(run.error)["type"] if run.error else None, run.note)
            for run in store.runs.values()
        },
        "events": sorted((event.id.partition(".blocked.")[0], event.type, event.data) for event in store.events),
        "steps": [
            (key, row.op, row.kind, row.attempt, row.target)
            for key, rows in sorted(store.history.items())
            for row in rows
            if row.operation_kind in ("step", "compensation")
        ],
        "children": sorted(
            (key, row.op, row.kind)
            for key, rows in store.history.items()
            for row in rows
            if row.operation_kind in ("child", "pivot", "publish")
        ),
    }
