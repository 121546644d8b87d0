"""Where in a workflow's source an operation is created: `run_purchase:42:31`.

Function, line, and the column at which the call ends, which tells two calls on one line apart. An operation that a
function called by the body creates has the whole way to it, outermost first: `run_purchase:42:31>reserve:17:44`. In a
task of its own (what `gather` is given) the way begins with the task's function, for nobody knows who made it.

Invariants: frames are only looked at, never kept; what a code object's instruction stands for is worked out once. A
comprehension belongs to the function in which it is written, as it does from Python 3.12 on.

Not here: what stands at a site. That is the plan's (`plan/`), which reads the same from the source.
"""

from __future__ import annotations

import sys
from itertools import islice
from types import CodeType, FrameType

WAY = ">"
LONGEST_WAY = 16
_KEPT = 10_000
_COMPREHENSIONS = frozenset(("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"))
_ENDS = frozenset(f"motet.orchestration.{name}" for name in ("body.call", "loop._run", "loop._end"))
_OURS = ("motet", "asyncio", "contextlib")

_frame = sys._getframe  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


class _Code:
    """What is known of one code object; `sites` by instruction."""

    __slots__ = ("code", "comprehension", "sites", "skipped", "stops")

    def __init__(self, code: CodeType, module: str) -> None:
        self.code = code  # held, for it is known by its address
        self.sites: dict[int, str] = {}
        package = module.partition(".")[0]
        self.skipped = package in _OURS and not module.startswith("motet._examples")
        self.stops = f"{module}.{code.co_name}" in _ENDS
        self.comprehension = code.co_name in _COMPREHENSIONS


_known: dict[int, _Code] = {}
_ways: dict[tuple[str, ...], str] = {}


def here() -> str | None:
    """The site of whoever has called the function that calls this; None if no code of the user's did."""
    frame: FrameType | None = _frame(2)
    innermost: str | None = None
    way: list[str] | None = None
    inside = False  # a comprehension, whose frame is followed by that of its function
    while frame is not None:
        code = frame.f_code
        known = _known.get(id(code))
        if known is None:
            known = _learn(code, frame)
        if known.skipped:
            if known.stops:
                break
        elif inside:
            inside = known.comprehension
        else:
            site = known.sites.get(frame.f_lasti)
            if site is None:
                site = known.sites[frame.f_lasti] = _describe(code, frame)
            inside = known.comprehension
            if innermost is None:
                innermost = site
            elif way is None:
                way = [innermost, site]
            else:
                way.append(site)
        frame = frame.f_back
    return innermost if way is None else _joined(way)


def _learn(code: CodeType, frame: FrameType) -> _Code:
    if len(_known) >= _KEPT:
        _known.clear()
    known = _known[id(code)] = _Code(code, str(frame.f_globals.get("__name__", "")))
    return known


def _joined(way: list[str]) -> str:
    """Outermost first; of a deep recursion the outer part."""
    key = tuple(way[-LONGEST_WAY:])
    joined = _ways.get(key)
    if joined is None:
        if len(_ways) >= _KEPT:
            _ways.clear()
        joined = _ways[key] = WAY.join(reversed(key))
    return joined


def _describe(code: CodeType, frame: FrameType) -> str:
    name = code.co_name
    if name in _COMPREHENSIONS:
        name = code.co_qualname.removesuffix(f".<locals>.{name}").rpartition(".")[2]
    line, _, _, column = next(islice(code.co_positions(), frame.f_lasti // 2, None), (None, None, None, None))
    return site(name, line or frame.f_lineno, column)


def site(function: str, line: int, column: int | None) -> str:
    """As it is recorded. Python that runs without columns (`-X no_debug_ranges`) tells the line alone."""
    return f"{function}:{line}" if column is None else f"{function}:{line}:{column}"
