"""What can come next in a run, from what it has done: the operations that its plan allows from where it stands.

A run stands in several places at once: in each part of a `parallel` that has begun, at the last operation of that part.
From each of them lead the plan's ways (`ways.py`). A parallel is over when each of its parts may be.

Invariant: what is predicted is all that the source allows, and more in doubt: the order in which parts go on is not
known, nor how many turns a loop takes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from motet.orchestration.plan.marks import Mark
from motet.orchestration.plan.nodes import walk
from motet.orchestration.plan.ways import Copy, Ways


class Option(NamedTuple):
    """Something that can come next.

    Args:
        node: of the plan; or END, or FAILURE: that the run fails.
        conditions: the source's conditions on the way there, outermost first.
        error: only if something fails.
    """

    node: int
    conditions: tuple[str, ...]
    error: bool


class _Reached(NamedTuple):
    options: dict[int, Option]
    ends: dict[int, bool]  # parts whose end was reached; whether only by an error's way


def options_after(ways: Ways, marks: Sequence[Mark]) -> list[Option]:
    """What can come next, sure things first. Marks without a node count for nothing."""
    found = _Standing(ways, marks).options()
    return sorted(found.values(), key=_order)


def standing_points(ways: Ways, marks: Sequence[Mark]) -> list[int]:
    """The points at which a run stands."""
    standing = _Standing(ways, marks)
    return [point for region in standing.regions() for point, _ in standing.points(region)]


class _Standing:
    """Where a run stands."""

    def __init__(self, ways: Ways, marks: Sequence[Mark]) -> None:
        self.ways = ways
        self.marks = [
            mark
            for mark in marks
            if mark.node is not None and mark.node in ways.copies and mark.did.kind != "compensation"
        ]
        self.last: dict[int | None, int] = {None: -1}  # by region, the last mark in it
        self.open: dict[int | None, list[int]] = {}
        self.recent = -1  # what has come to an end last
        for index, mark in enumerate(self.marks):
            region = self.region(index)
            if mark.did.outcome != "open":
                self.recent = index
            if self._is_cut_off(index):
                continue
            if mark.did.outcome == "open":
                self.open.setdefault(region, []).append(index)
                if self._is_outer_limit(mark):
                    continue
            self.last[region] = index

    def region(self, index: int) -> int | None:
        node = self.marks[index].node
        assert node is not None
        return self.ways.region[node]

    def _is_outer_limit(self, mark: Mark) -> bool:
        """A time limit inside of which the run stands already."""
        assert mark.node is not None
        node = self.ways.nodes[mark.node]
        within = {one.id for one in walk(node.body)}
        return node.kind == "timeout" and any(one.node in within for one in self.marks)

    def _is_cut_off(self, index: int) -> bool:
        """Whether its time limit has passed before it came to its end."""
        for before in self.marks[:index]:
            assert before.node is not None
            node = self.ways.nodes[before.node]
            if node.kind == "timeout" and before.did.outcome == "error":
                within = any(one.id == self.marks[index].node for one in walk(node.body))
                if within and not any(one.node == node.id and one.did.outcome == "open" for one in self.marks):
                    return True
        return False

    # --- where ------------------------------------------------------------------------------------------------

    def regions(self) -> list[int | None]:
        """Those in which something may go on: nothing has happened later in a region around it, or it is in flight."""
        found: list[int | None] = []
        for region, index in self.last.items():
            over = any(self.last.get(outer, -1) > index for outer in self._around(region))
            if not over or region in self.open or (self.recent >= 0 and self.region(self.recent) == region):
                found.append(region)
        return found + [region for region in self.open if region not in self.last]

    def _around(self, region: int | None) -> list[int | None]:
        found: list[int | None] = []
        while region is not None:
            region = self.ways.region[region]
            found.append(region)
        return found

    def points(self, region: int | None) -> list[tuple[int, bool]]:
        """Where it stands in this region: points, each with whether only an error leads there."""
        last = self.last.get(region, -1)
        found: list[tuple[int, bool]] = [(self.ways.start, False)] if region is None and last < 0 else []
        for index in dict.fromkeys((last, *self._recent_in(region), *self.open.get(region, ()))):
            if index < 0 or self.region(index) != region:
                continue
            mark = self.marks[index]
            assert mark.node is not None
            limit = index != last and self._is_outer_limit(mark) and mark.did.outcome == "open"
            only_failed = limit and mark.node not in self.ways.turning
            for copy in self.ways.copies[mark.node]:
                found += _points(copy, mark.did.outcome, only_failed=only_failed)
        return found

    def _recent_in(self, region: int | None) -> list[int]:
        """What has come to an end last, unless it goes on from there already: something begun later is in flight."""
        if self.recent < 0 or self.region(self.recent) != region:
            return []
        mark = self.marks[self.recent]
        assert mark.node is not None
        passed = self.ways.nodes[mark.node].kind == "timeout"  # what is in flight is what it has cut off
        busy = any(not self._is_outer_limit(self.marks[index]) for index in self.open.get(region, ()))
        return [] if busy and not passed else [self.recent]

    # --- what next --------------------------------------------------------------------------------------------

    def options(self) -> dict[int, Option]:
        found: dict[int, Option] = {}
        ends: dict[int, bool] = {}
        for region in self.regions():
            reached = _follow(self.ways, self.points(region))
            _add(found, (option for option in reached.options.values() if self._is_new(option, region)))
            _note(ends, reached.ends)
        passed: set[int] = set()
        while (parallel := self._over(ends, passed)) is not None:
            passed.add(parallel)
            parts = self.ways.parts_of[parallel]
            late = all(ends.get(part, True) for part in parts)
            beyond = _follow(self.ways, [(out, late) for _, out in self.ways.forks[parallel]])
            _add(found, beyond.options.values())
            _note(ends, beyond.ends)
        for parallel, parts in self.ways.parts_of.items():
            if self.ways.comes_again(parallel) and any(part in ends for part in parts):
                starts = [(copy.start, False) for part in parts for copy in self.ways.parts[part]]
                _add(found, _follow(self.ways, starts).options.values())
        return found

    def _over(self, ends: dict[int, bool], passed: set[int]) -> int | None:
        """A parallel of which all parts may be over."""
        for parallel, parts in self.ways.parts_of.items():
            background = self.ways.parts[parts[0]][0].background
            if parallel in passed or background or not any(part in ends for part in parts):
                continue
            if all(part in ends or self._needs_nothing(part) for part in parts):
                return parallel
        return None

    def _needs_nothing(self, part: int) -> bool:
        copies = self.ways.parts[part]
        if copies[0].many:
            return True
        return part not in self.last and part in _follow(self.ways, [(copy.start, False) for copy in copies]).ends

    def _is_new(self, option: Option, region: int | None) -> bool:
        """Not what a part that has begun since then has done already."""
        inner = self.ways.region[option.node] if option.node >= 0 else region
        if inner == region or inner is None or region not in self._around(inner):
            return True
        return self.ways.parts[inner][0].many or self.last.get(inner, -1) <= self.last.get(region, -1)


def _order(option: Option) -> tuple[bool, bool, int]:
    """Sure things first, then in the order of the source; the end and the failure behind them."""
    return option.error, option.node < 0, abs(option.node)


def _points(copy: Copy, outcome: str, *, only_failed: bool) -> list[tuple[int, bool]]:
    if only_failed or outcome == "error":
        return [(copy.failed, True)]
    return [(copy.after, False)] if outcome == "ok" else [(copy.after, False), (copy.failed, True)]


def _add(found: dict[int, Option], options: Iterable[Option]) -> None:
    """Keep the surest way to each."""
    for option in options:
        before = found.get(option.node)
        if before is None or (option.error, len(option.conditions)) < (before.error, len(before.conditions)):
            found[option.node] = option


def _note(found: dict[int, bool], ends: dict[int, bool]) -> None:
    for part, error in ends.items():
        found[part] = error and found.get(part, True)


def _follow(ways: Ways, starts: Sequence[tuple[int, bool]]) -> _Reached:
    """The operations that can be reached without another one in between, and the ends of parts."""
    options: dict[int, Option] = {}
    ends: dict[int, bool] = {}
    seen: set[tuple[int, bool]] = set()
    waiting: deque[tuple[int, bool, tuple[str, ...]]] = deque((point, error, ()) for point, error in starts)
    while waiting:
        point, error, conditions = waiting.popleft()
        if (point, error) in seen or (error and (point, False) in seen):
            continue
        seen.add((point, error))
        if point in ways.operations:
            _add(options, [Option(ways.operations[point], conditions, error)])
            continue
        if point in ways.ends:
            ends[ways.ends[point]] = error and ends.get(ways.ends[point], True)
        for edge in ways.edges[point]:
            further = (*conditions, edge.condition) if edge.condition else conditions
            if edge.error and not error:
                waiting.append((edge.to, True, further))
            else:
                waiting.appendleft((edge.to, error, further))
    return _Reached(options, ends)


def reachable(ways: Ways, starts: Iterable[int], *, errors: bool, without: Iterable[int] = ()) -> set[int]:
    """All operations that can still come from there, also behind others.

    Args:
        errors: also if something fails.
        without: points that are not passed.
    """
    by_entry = {copy.entry: copy for copies in ways.copies.values() for copy in copies}
    exits = {end: [ways.forks[part.parallel]] for end, name in ways.ends.items() for part in ways.parts[name][:1]}
    found: set[int] = set()
    waiting = list(starts)
    seen = {*waiting, *without}
    while waiting:
        point = waiting.pop()
        onward = [edge.to for edge in ways.edges[point] if errors or not edge.error]
        if point in ways.operations:
            found.add(ways.operations[point])
            if point in by_entry:
                copy = by_entry[point]
                onward += [copy.after, copy.failed] if errors else [copy.after]
        for forks in exits.get(point, ()):
            onward += [out for _, out in forks]
        for to in onward:
            if to not in seen:
                seen.add(to)
                waiting.append(to)
    return found


def successors(ways: Ways, node: int | None) -> list[Option]:
    """What may follow an operation when nothing else is going on; None: at the beginning. What comes behind a parallel
    follows on the last operation of each of its parts."""
    starts = [(ways.start, False)]
    if node is not None:
        starts = [point for copy in ways.copies[node] for point in _points(copy, "open", only_failed=False)]
    found: dict[int, Option] = {}
    passed: set[tuple[int, bool]] = set()
    waiting = starts
    while waiting:
        reached = _follow(ways, waiting)
        _add(found, reached.options.values())
        waiting = list[tuple[int, bool]]()
        for part, error in reached.ends.items():
            copy = ways.parts[part][0]
            if not copy.background and (part, error) not in passed:
                passed.add((part, error))
                waiting += [(out, error) for _, out in ways.forks[copy.parallel]]
    return sorted(found.values(), key=_order)
