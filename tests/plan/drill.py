"""Drives a fixture workflow through a random execution, and compares each operation with what its plan has predicted.

The machine is the real one. What a seed decides is what attempts come to, which timer or event comes first, and whether
somebody cancels the run. A *position* is a moment at which something is about to be created, or the run to end.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from motet.model.event import LoggedEvent
from motet.model.history import Fact, Recorded
from motet.orchestration import awaiting
from motet.orchestration.commands import Abandon, Command, Finish, Stick
from motet.orchestration.definitions import Workflow
from motet.orchestration.operation import Operation
from motet.orchestration.outcome import Outcome, Raised, Returned
from motet.orchestration.plan.marks import Did, Places, place
from motet.orchestration.plan.next import options_after
from motet.orchestration.plan.nodes import Node, walk
from motet.orchestration.plan.reader import read_plan
from motet.orchestration.plan.ways import END, FAILURE, UNDO, Ways, ways_of
from tests.plan.fixtures.crew import app
from tests.unit.rig import Rig

MOST_FACTS = 60


@dataclass
class Tally:
    """What was counted: operations and those that are on the plan; positions, those predicted, those unknown."""

    operations: int = 0
    landed: int = 0
    positions: int = 0
    predicted: int = 0
    unknown: int = 0
    options: int = 0  # how many operations were predicted to come without anything failing, in all
    misses: list[str] = field(default_factory=list[str])

    def add(self, other: Tally) -> None:
        self.operations += other.operations
        self.landed += other.landed
        self.positions += other.positions
        self.predicted += other.predicted
        self.unknown += other.unknown
        self.options += other.options
        self.misses += other.misses


@dataclass
class Drawn:
    """A workflow's plan, made ready."""

    nodes: list[Node]
    ways: Ways
    places: Places
    by_id: dict[int, Node]


def drawn(workflow: Workflow[Any, Any]) -> Drawn:
    nodes = read_plan(workflow.function, app.registry.events)
    assert nodes is not None
    return Drawn(nodes, ways_of(nodes), Places(nodes), {node.id: node for node in walk(nodes)})


class Drill:
    """One random execution."""

    def __init__(self, workflow: Workflow[Any, Any], plan: Drawn, seed: int) -> None:
        self.chance = random.Random(f"{workflow.name} {seed}")
        self.plan = plan
        self.title = f"{workflow.name} seed {seed}"
        self.rig = Rig(app, workflow, self.chance.choice(["a", "b", "ab", "abc"]), uid=f"uid-{seed}")
        self.tally = Tally()
        self.seen = 0
        self.events = 0
        self.options = set[int]()
        self.arrow = self.chance.random() * 0.35  # how much goes wrong in this run

    def run(self) -> Tally:
        self.look(self.rig.do(self.rig.machine.start()))
        for _ in range(MOST_FACTS):
            if self.rig.machine.finished or not self.step():
                break
        self.rig.machine.close()
        return self.tally

    # --- driving ----------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Let one thing happen. False: nothing can."""
        machine = self.rig.machine
        flying = [op for op in machine.operations.values() if op.begun and not op.settled and not op.stuck]
        timers = [op for op in flying if op.kind == "timer"]
        others = [op for op in flying if op.kind != "timer"]
        able = [*others, *sorted(timers, key=lambda op: op.due)[:1]]
        if not able:
            return False
        if self.chance.random() < 0.01 and machine.stop is None:
            self.look(self.rig.stop("cancel"))
            return True
        self.look(self.happen(self.chance.choice(able)))
        return True

    def happen(self, op: Operation) -> list[Command]:
        if op.kind == "timer":
            return self.rig.fire(op.op)
        if op.kind == "wait":
            return self.come(op)
        if op.kind == "child":
            if self.chance.random() < self.arrow:
                error = msgspec.json.encode({"type": "Wrong", "message": "of the child"}).decode()
                return self.rig.tell(Fact(op.op, "child", "failed", self.rig.now, error))
            return self.rig.tell(Fact(op.op, "child", "completed", self.rig.now, self.value(op), digest=op.digest))
        return self.rig.outcome(op.op, self.outcome(op))

    def value(self, op: Operation) -> str:
        return f'"{op.child_id}"' if op.detached else str(self.chance.randint(0, 9))

    def outcome(self, op: Operation) -> Outcome:
        assert op.callee is not None
        if op.kind == "step" and self.chance.random() < self.arrow:
            kinds: Sequence[type[BaseException]] = [*op.callee.raises, OSError]
            return Raised(self.chance.choice(kinds)("of the drill"))
        if op.name == "count":
            return Returned([letter for letter in "abcd" if self.chance.random() < 0.5])
        return Returned(self.chance.randint(0, 9))

    def come(self, op: Operation) -> list[Command]:
        self.events += 1
        want = awaiting.wanted(op)
        kind, now = self.chance.choice(want.types), self.rig.now
        data = '{"order":"a"}'
        row = LoggedEvent(self.events, f"e{self.events}", "test", kind, want.key, now, now, "talk", None, data)
        payload = msgspec.json.encode(row).decode()
        return self.rig.tell(Fact(op.op, "wait", "completed", now, payload, digest=op.digest))

    # --- comparing --------------------------------------------------------------------------------------------

    def look(self, commands: list[Command]) -> None:
        """One drain is over: what it created was what could come next, one after the other."""
        machine = self.rig.machine
        names = list(machine.operations)
        fresh = names[self.seen :]
        old, self.seen = set(names[: self.seen]), len(names)
        before = self.dids(old)
        self.options = set[int]()  # of one drain, whose operations come together: nobody sees it half done
        for name in fresh:
            op = machine.operations[name]
            self.compare(op, before)
            if op.kind != "run":
                before.append(_did(op, "ok" if op.kind in ("publish", "pivot") else "open"))
        for command in commands:
            if isinstance(command, Finish):
                self.expect({END if command.state == "completed" else FAILURE}, before, f"the end: {command.state}")
        self.care(commands)

    def care(self, commands: list[Command]) -> None:
        """What an owner does with the rest of what a drain asks for."""
        for command in commands:
            if isinstance(command, Abandon) and command.op.kind == "step" and not command.op.settled:
                if self.chance.random() < 0.5:
                    self.look(self.rig.cut_off(command.op.op))
            elif isinstance(command, Stick):
                self.look(self.rig.stick(command))

    def dids(self, names: set[str]) -> list[Did]:
        """What a status can know: the rows in their order, then what is in flight."""
        last: dict[str, Recorded] = {}
        for row in self.rig.rows:
            if row.op in names and row.kind not in ("retrying", "stuck"):
                last.pop(row.op, None)
                last[row.op] = row
        found = [_done(row) for row in last.values()]
        return found + [
            _did(op, "open")
            for name, op in self.rig.machine.operations.items()
            if name in names and name not in last and not op.settled and op.begun
        ]

    def compare(self, op: Operation, before: list[Did]) -> None:
        if op.kind == "run":
            return
        did = _did(op, "open")
        if op.kind == "compensation":
            self.expect({UNDO, FAILURE}, before, f"{op.op} undoes")
            return
        self.tally.operations += 1
        nodes = {node.id for node in self.plan.places.candidates(did)}
        if any(self.plan.by_id[node].kind == "unknown" for node in nodes):
            nodes = set()
        if nodes:
            self.tally.landed += 1
        else:
            self.tally.misses.append(f"{self.title}: {op.op} at {op.site} is nowhere")
        self.expect(nodes, before, op.op)

    def expect(self, nodes: set[int], before: list[Did], what: str) -> None:
        options = options_after(self.plan.ways, place(self.plan.places, before))
        self.tally.options += len([one for one in options if not one.error])
        self.options |= {option.node for option in options}
        if self.rig.machine.stop is not None:
            self.options.add(FAILURE)  # as its status says, once it is told to stop
        found = self.options
        self.tally.positions += 1
        if any(node >= 0 and not self.certain(node) for node in found):
            self.tally.unknown += 1
        elif found & nodes:
            self.tally.predicted += 1
        else:
            names = [self.called(node) for node in found]
            self.tally.misses.append(f"{self.title}: {what} after {[did.op for did in before]}, predicted {names}")

    def certain(self, node: int) -> bool:
        """Whether the plan says what this is."""
        one = self.plan.by_id[node]
        return one.kind != "unknown" and (one.name is not None or bool(one.choices))

    def called(self, node: int) -> str:
        return self.plan.by_id[node].title if node >= 0 else {END: "end", FAILURE: "failure", UNDO: "undo"}[node]


def _did(op: Operation, outcome: Any) -> Did:
    return Did(op.op, op.kind, op.name, op.site, outcome, op.target.op if op.target is not None else None)


def _done(row: Recorded) -> Did:
    fired = row.kind == "fired" and not row.op.startswith("sleep#")
    outcome: Any = "error" if row.kind in ("answered", "failed", "skipped") or fired else "ok"
    return Did(row.op, row.operation_kind, row.op.rpartition("#")[0], row.site, outcome, row.target)
