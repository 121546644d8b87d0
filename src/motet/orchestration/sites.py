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


class _Known:
    """What is known of one code object; `sites` by instruction, of code that is the user's."""

    __slots__ = ("code", "comprehension", "sites")

    def __init__(self, code: CodeType) -> None:
        self.code = code  # held, for it is known by its address
        self.sites: dict[int, str] = {}
        self.comprehension = code.co_name in _COMPREHENSIONS


_SKIPPED = _Known(_frame().f_code)
"""Code of ours, or of asyncio, between the user's."""
_END = _Known(_frame().f_code)
"""What has called the body, or runs one of its asyncio tasks."""

_known: dict[int, _Known] = {}
_held: list[CodeType] = []  # those that are skipped, or an end
_ways: dict[tuple[str, ...], str] = {}


def here() -> str | None:
    """The site of the user's code that has called a verb, which has called what calls this; None if none has."""
    frame: FrameType | None = _frame(3)
    known: _Known | None = _SKIPPED
    while frame is not None and (known := _known.get(id(frame.f_code))) is _SKIPPED:
        frame = frame.f_back
    if frame is None:
        return None
    # Mostly the body itself calls, at a place that is known, and this is all that it takes.
    if known is not None and (site := known.sites.get(frame.f_lasti)) is not None:
        outer = frame.f_back
        if outer is not None and _known.get(id(outer.f_code)) is _END:
            return site
    return _walk(frame)


def _walk(start: FrameType) -> str | None:
    frame: FrameType | None = start
    way: list[str] = []
    inside = False  # a comprehension, whose frame is followed by that of its function
    while frame is not None:
        known = _known.get(id(frame.f_code)) or _learn(frame)
        if known is _END:
            break
        if known is not _SKIPPED:
            if not inside:
                site = known.sites.get(frame.f_lasti)
                if site is None:
                    site = known.sites[frame.f_lasti] = _describe(frame)
                way.append(site)
            inside = known.comprehension
        frame = frame.f_back
    return _joined(way) if way else None


def _learn(frame: FrameType) -> _Known:
    if len(_known) >= _KEPT:
        _known.clear()
        _held.clear()
    code = frame.f_code
    module = str(frame.f_globals.get("__name__", ""))
    if f"{module}.{code.co_name}" in _ENDS:
        known = _END
    elif module.partition(".")[0] in _OURS and not module.startswith("motet._examples"):
        known = _SKIPPED
    else:
        known = _Known(code)
    if known.code is not code:
        _held.append(code)
    _known[id(code)] = known
    return known


def _joined(way: list[str]) -> str:
    """Outermost first; of a deep recursion the outer part."""
    if len(way) == 1:
        return way[0]
    key = tuple(way[-LONGEST_WAY:])
    joined = _ways.get(key)
    if joined is None:
        if len(_ways) >= _KEPT:
            _ways.clear()
        joined = _ways[key] = WAY.join(reversed(key))
    return joined


def _describe(frame: FrameType) -> str:
    code = frame.f_code
    name = code.co_name
    if name in _COMPREHENSIONS:
        name = code.co_qualname.removesuffix(f".<locals>.{name}").rpartition(".")[2]
    line, _, _, column = next(islice(code.co_positions(), frame.f_lasti // 2, None), (None, None, None, None))
    return site(name, line or frame.f_lineno, column)


def site(function: str, line: int, column: int | None) -> str:
    """As it is recorded. Python that runs without columns (`-X no_debug_ranges`) tells the line alone."""
    return f"{function}:{line}" if column is None else f"{function}:{line}:{column}"
