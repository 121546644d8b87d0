"""Faults on demand: a process that ends itself, as `kill -9` would, at a chosen commit of its own.

    MOTET_FAILPOINT="before RecordFact 2" python shop.py     # with arm(app.hooks) in shop.py

Of several, with commas between, the first that is reached is the end; the process says on stderr which that was.
A failpoint stands before and after each commit for each kind of mutation that it carries; the list is generated from
the kinds that there are. The product knows none of this: it only passes `Hooks.failpoint`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from motet.errors import ConfigError
from motet.runtime.hooks import Hooks
from motet.store.mutations import KIND_NAMES, KINDS

VARIABLE: Final = "MOTET_FAILPOINT"
EXIT_CODE: Final = 137
"""What a process that was killed by SIGKILL leaves."""
REACHED: Final = f"{VARIABLE}: ended "

When = Literal["before", "after"]
SIDES: Final[tuple[When, ...]] = ("before", "after")


class Failpoint(NamedTuple):
    """Where a process ends: around the `nth` commit that carries this kind of mutation."""

    when: When
    kind: str
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.when} {self.kind} {self.nth}"

    @classmethod
    def parse(cls, text: str) -> Failpoint:
        """From "before RecordFact 2"; the count may be missing. Raises ConfigError."""
        when, kind, count = (*text.split(), "1", "", "")[:3]
        for side in SIDES:
            if side == when and kind in KIND_NAMES.values() and count.isdigit() and int(count):
                return cls(side, kind, int(count))
        kinds = ", ".join(KIND_NAMES.values())
        raise ConfigError(
            f"{VARIABLE}={text!r}: write 'before KIND COUNT' or 'after KIND COUNT'; KIND is one of {kinds}"
        )


FAILPOINTS: Final = tuple(Failpoint(when, KIND_NAMES[kind]) for kind in KINDS for when in SIDES)
"""One before and one after each kind."""


def arm(hooks: Hooks, environment: Mapping[str, str] = os.environ) -> tuple[Failpoint, ...]:
    """End this process where MOTET_FAILPOINT says; without it, do nothing. Raises ConfigError."""
    text = environment.get(VARIABLE)
    if not text:
        return ()
    points = tuple(Failpoint.parse(part) for part in text.split(","))
    passed: Counter[Failpoint] = Counter()

    def reach(when: str, kinds: frozenset[str]) -> None:
        here = [point for point in points if when == point.when and point.kind in kinds]
        passed.update(here)
        if reached := [point for point in here if passed[point] == point.nth]:
            os.write(2, f"{REACHED}{', '.join(map(str, reached))}\n".encode())
            os._exit(EXIT_CODE)

    hooks.failpoint = reach
    return points


def reached_in(log: str) -> tuple[Failpoint, ...]:
    """Where the process ended last that has written this to stderr."""
    said = [line for line in log.splitlines() if line.startswith(REACHED)]
    return tuple(Failpoint.parse(part) for part in said[-1].removeprefix(REACHED).split(",")) if said else ()
