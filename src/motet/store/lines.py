"""Whose turn it is: from the queues one run each, in a queue by priority, then by what has waited longest.

A *line* is what waits in one queue for one version of a workflow at one priority. How a store finds the heads of lines
is its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from motet.model.clock import Micros
from motet.model.run import Version


class Line(NamedTuple):
    """What waits in one queue for one version of a workflow at one priority; `head` is when its first run is due."""

    queue: str
    workflow: str
    version: int
    priority: int
    head: Micros

    @property
    def wants(self) -> Version:
        """What a worker must have to drive these runs."""
        return Version(self.workflow, self.version)


class Candidate(NamedTuple):
    """A run that may be taken; the smaller goes first."""

    rank: int  # the priority, negated
    since: Micros
    uid: str


def due_lines(
    lines: Iterable[Line], known: Collection[Version], now: Micros, closed: set[str]
) -> dict[str, list[Line]]:
    """By queue, the highest priority first."""
    found: defaultdict[str, list[Line]] = defaultdict(list)
    for line in sorted(lines, key=lambda line: (-line.priority, line.head)):
        if line.head <= now and line.wants in known and line.queue not in closed:
            found[line.queue].append(line)
    return found


def in_turn(candidates: Mapping[str, set[Candidate]], places: Mapping[str, int], limit: int) -> list[str]:
    """The uids to take: one of each queue, then one more of each, until the limit or the places are used up.

    The queue that has waited longest begins, so that none starves if there are more queues than may be taken runs.
    """
    lines = {queue: iter(sorted(found)[: places.get(queue, limit)]) for queue, found in candidates.items() if found}
    order = sorted(lines, key=lambda queue: (min(candidate.since for candidate in candidates[queue]), queue))
    chosen: dict[str, None] = {}
    while order and len(chosen) < limit:
        for queue in list(order):
            candidate = next(lines[queue], None)
            if candidate is None:
                order.remove(queue)
            elif len(chosen) < limit:
                chosen[candidate.uid] = None
    return list(chosen)
