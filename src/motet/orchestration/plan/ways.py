"""What may follow what: a plan's tree as points with edges between them, some of which are operations.

    entry ──operation──> after          it went well
              └────────> failed ──> handlers, `finally`, the run's failure

Points between operations are joined by edges that cost nothing; each says under which condition it is taken, and
whether it is an error's way. A `finally` is copied for each way through it. A part of a `parallel` begins at the
fork and ends at a point of its own, for whether the parallel is over depends on the other parts.

Not here: which operations a run has done (`places.py`), and what follows for it (`next.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

from motet.orchestration.plan.errors import ANYTHING, IN_GROUP, PLAIN, Error, caught, errors_of
from motet.orchestration.plan.nodes import OPERATIONS, Node, paths, walk

END = -1
FAILURE = -2
UNDO = -3


class Edge(NamedTuple):
    to: int
    condition: str | None = None
    error: bool = False


class Copy(NamedTuple):
    """One occurrence of an operation among the points."""

    entry: int
    after: int
    failed: int


class Part(NamedTuple):
    """A part of a parallel: where it begins and ends, and the parallel's own fork and exit."""

    parallel: int
    start: int
    end: int
    many: bool
    background: bool


Throw = Callable[[int, Sequence[Error], bool], None]
"""From a point, with one of these errors; `True`: something fails there; `False`: the source raises it itself."""
Leave = Callable[[], int]


@dataclass(frozen=True)
class _Context:
    """Where one gets from here by leaving."""

    throw: Throw
    returned: Leave
    broken: Leave | None = None
    continued: Leave | None = None


@dataclass
class Ways:
    """The points of a plan.

    Args:
        edges: by point.
        operations: by their entry, the node. END, FAILURE and UNDO (of a scope) are points of their own.
        copies: by node, its occurrences.
        parts: by the node of the part.
        forks: by the node of a parallel: its fork and its exit.
        region: by node, the innermost part that it is in; None for the body itself.
        parts_of: by parallel, its parts.
        turning: nodes that are in a loop, or in a function that calls itself.
    """

    nodes: dict[int, Node]
    edges: list[list[Edge]] = field(default_factory=list[list[Edge]])
    operations: dict[int, int] = field(default_factory=dict[int, int])
    copies: dict[int, list[Copy]] = field(default_factory=dict[int, list[Copy]])
    parts: dict[int, list[Part]] = field(default_factory=dict[int, list[Part]])
    forks: dict[int, list[tuple[int, int]]] = field(default_factory=dict[int, list[tuple[int, int]]])
    ends: dict[int, int] = field(default_factory=dict[int, int])
    region: dict[int, int | None] = field(default_factory=dict[int, int | None])
    parts_of: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    turning: set[int] = field(default_factory=set[int])
    start: int = 0
    end: int = 0
    failure: int = 0
    undo: int = 0

    def point(self) -> int:
        self.edges.append([])
        return len(self.edges) - 1

    def join(self, before: int, after: int, condition: str | None = None, *, error: bool = False) -> None:
        self.edges[before].append(Edge(after, condition, error))

    def comes_again(self, parallel: int) -> bool:
        """Whether it may begin anew with nothing in between."""
        return any(fork in _for_nothing(self, out) for fork, out in self.forks[parallel])


def ways_of(nodes: Sequence[Node], *, wary: bool = True) -> Ways:
    """The points of this plan; `wary`: also by what may happen at any moment, which is that
    it is cancelled, or that plain code raises something."""
    ways = Ways({node.id: node for node in walk(nodes)})
    for node, above in paths(nodes):
        holders = list(pairwise(above))
        inner = [part.id for parallel, part in holders if parallel.kind == "parallel"]
        ways.region[node.id] = inner[-1] if inner else None
        if node.kind == "parallel":
            ways.parts_of[node.id] = [part.id for part in node.body]
        if any(one.kind == "loop" or any(inner.again for inner in walk(one.body)) for one in above):
            ways.turning.add(node.id)
    _Builder(ways, nodes, wary=wary).build()
    return ways


class _Builder:
    def __init__(self, ways: Ways, nodes: Sequence[Node], *, wary: bool) -> None:
        self.ways = ways
        self.wary = wary
        self.nodes = nodes
        self.calls: list[tuple[str | None, int, int]] = []

    def build(self) -> None:
        ways = self.ways
        ways.start, ways.end, ways.failure, ways.undo = ways.point(), ways.point(), ways.point(), ways.point()
        ways.operations[ways.end] = END
        ways.operations[ways.failure] = FAILURE
        ways.operations[ways.undo] = UNDO
        context = _Context(_ending(ways, ways.failure), lambda: ways.end)
        self.calls.append((None, ways.start, ways.end))
        ways.join(self.sequence(self.nodes, ways.start, context), ways.end)

    def sequence(self, nodes: Sequence[Node], at: int, context: _Context) -> int:
        for node in nodes:
            at = _BUILD[node.kind](self, node, at, context)
        return at

    # --- operations -------------------------------------------------------------------------------------------

    def operation(self, node: Node, at: int, context: _Context) -> int:
        ways = self.ways
        entry, after, failed = ways.point(), ways.point(), ways.point()
        ways.join(at, entry)
        ways.operations[entry] = node.id
        ways.copies.setdefault(node.id, []).append(Copy(entry, after, failed))
        context.throw(failed, errors_of(node, wary=self.wary), True)
        if self.wary:
            context.throw(after, [PLAIN], True)
        if node.kind == "restart":
            return ways.point()  # from where nothing leads on
        if node.kind != "timeout":
            return after
        ways.join(at, after)  # one that is over in time leaves no record
        if node.collects:
            ways.join(failed, after)
        return self.sequence(node.body, after, context)

    def unknown(self, node: Node, at: int, context: _Context) -> int:
        """It may do nothing, or any number of things."""
        after = self.operation(node, at, context)
        self.ways.join(at, after)
        self.ways.join(after, self.ways.copies[node.id][-1].entry)
        context.throw(after, [ANYTHING], True)
        return after

    # --- leaving ----------------------------------------------------------------------------------------------

    def leave(self, node: Node, at: int, context: _Context) -> int:
        if node.kind == "raise":
            context.throw(at, [tuple(error) for error in node.errors] or [ANYTHING], False)
        else:
            out = {"return": context.returned, "break": context.broken, "continue": context.continued}[node.kind]
            if out is not None:
                self.ways.join(at, out())
        return self.ways.point()

    # --- structure --------------------------------------------------------------------------------------------

    def branch(self, node: Node, at: int, context: _Context) -> int:
        out = self.ways.point()
        for arm in node.body:
            inner = self.ways.point()
            self.ways.join(at, inner, arm.text)
            self.ways.join(self.sequence(arm.body, inner, context), out)
        if node.open:
            self.ways.join(at, out)
        return out

    def loop(self, node: Node, at: int, context: _Context) -> int:
        head, out, inner = self.ways.point(), self.ways.point(), self.ways.point()
        self.ways.join(at, head)
        self.ways.join(head, inner, node.text)
        within = _Context(context.throw, context.returned, lambda: out, lambda: head)
        self.ways.join(self.sequence(node.body, inner, within), head)
        if node.open:
            self.ways.join(head, out)
        return out

    def call(self, node: Node, at: int, context: _Context) -> int:
        ways = self.ways
        if node.again:
            _, start, end = next((one for one in reversed(self.calls) if one[0] == node.name), self.calls[0])
            out = ways.point()
            ways.join(at, start)
            ways.join(end, out)
            return out
        start, out = ways.point(), ways.point()
        ways.join(at, start)
        self.calls.append((node.name, start, out))
        ways.join(self.sequence(node.body, start, _Context(context.throw, lambda: out)), out)
        self.calls.pop()
        return out

    def scope(self, node: Node, at: int, context: _Context) -> int:
        """What an error leaves is undone before the error goes on."""

        def throw(point: int, errors: Sequence[Error], fails: bool) -> None:
            self.ways.join(point, self.ways.undo, error=fails)
            context.throw(point, errors, fails)

        return self.sequence(node.body, at, replace(context, throw=throw))

    def parallel(self, node: Node, at: int, context: _Context) -> int:
        ways = self.ways
        fork, out = ways.point(), ways.point()
        ways.join(at, fork)
        ways.forks.setdefault(node.id, []).append((fork, out))
        within = context
        if node.text == "TaskGroup":
            within = replace(context, throw=_grouped(context))
        empty = True
        for part in node.body:
            start, end = ways.point(), ways.point()
            ways.join(fork, start)
            if node.collects:
                within = replace(context, throw=_ending(ways, end))
            ways.join(self.sequence(part.body, start, within), end)
            ways.parts.setdefault(part.id, []).append(Part(node.id, start, end, part.many, node.background))
            ways.ends[end] = part.id
            empty = empty and (part.many or end in _for_nothing(ways, start))
        if empty or node.background:
            ways.join(fork, out)
        return out

    def attempt(self, node: Node, at: int, context: _Context) -> int:
        """A `try`."""
        ways = self.ways
        by_kind: dict[str, list[Node]] = {}
        for part in node.body:
            by_kind.setdefault(part.kind, []).append(part)
        out = ways.point()
        outside, done = context, out
        if "finally" in by_kind:
            outside, done = self._finally(by_kind["finally"][0], out, context)
        handlers = [(handler, ways.point()) for handler in by_kind.get("handler", ())]
        tried = by_kind["part"][0]
        own = frozenset(name for one in walk(tried.body) for error in errors_of(one) for name in error)

        def throw(point: int, errors: Sequence[Error], fails: bool) -> None:
            for error in errors:
                for handler, entry in handlers:
                    how = caught(handler, error, own)
                    if how != "no":
                        ways.join(point, entry, handler.text, error=fails)
                    if how == "surely":
                        break
                else:
                    outside.throw(point, [error], fails)

        inside = _Context(throw, outside.returned, outside.broken, outside.continued)
        begun = ways.point()
        ways.join(at, begun)
        if self.wary:
            throw(begun, [PLAIN], True)
        end = self.sequence(tried.body, begun, inside)
        for other in by_kind.get("else", ()):
            end = self.sequence(other.body, end, outside)
        ways.join(end, done)
        for handler, entry in handlers:
            if self.wary:
                outside.throw(entry, [PLAIN], True)
            ways.join(self.sequence(handler.body, entry, outside), done)
        return out

    def _finally(self, node: Node, out: int, context: _Context) -> tuple[_Context, int]:
        """The way out through the `finally`, and what leads through it otherwise: one copy for each."""
        ways = self.ways
        copies: dict[str, int] = {}

        def through(name: str, leads: Callable[[int], None]) -> int:
            if name not in copies:
                copies[name] = ways.point()
                leads(self.sequence(node.body, copies[name], context))
            return copies[name]

        def leaving(name: str, leave: Leave | None) -> Leave | None:
            return None if leave is None else lambda: through(name, lambda end: ways.join(end, leave()))

        def throw(point: int, errors: Sequence[Error], fails: bool) -> None:
            name = "failed" if fails else "raised"
            through_it = through(name, lambda end: context.throw(end, [ANYTHING], fails))
            ways.join(point, through_it, "finally", error=fails)

        returned = leaving("return", context.returned)
        assert returned is not None
        outside = _Context(throw, returned, leaving("break", context.broken), leaving("continue", context.continued))
        return outside, through("end", lambda end: ways.join(end, out))


def _grouped(context: _Context) -> Throw:
    """What leaves a task group is a group of errors."""
    return lambda at, errors, fails: context.throw(at, [*errors, IN_GROUP], fails)


def _ending(ways: Ways, end: int) -> Throw:
    """An error leads there, and nowhere else."""
    return lambda at, errors, fails: ways.join(at, end, error=fails) if errors else None


def _for_nothing(ways: Ways, start: int) -> set[int]:
    """All points that can be reached without an operation, and without an error."""
    found = {start}
    waiting = [start]
    while waiting:
        for edge in ways.edges[waiting.pop()]:
            if not edge.error and edge.to not in found and edge.to not in ways.operations:
                found.add(edge.to)
                waiting.append(edge.to)
    return found


_BUILD: dict[str, Callable[[_Builder, Node, int, _Context], int]] = {
    **dict.fromkeys(OPERATIONS, _Builder.operation),
    **dict.fromkeys(("return", "raise", "break", "continue"), _Builder.leave),
    "unknown": _Builder.unknown,
    "branch": _Builder.branch,
    "loop": _Builder.loop,
    "call": _Builder.call,
    "scope": _Builder.scope,
    "parallel": _Builder.parallel,
    "try": _Builder.attempt,
}
