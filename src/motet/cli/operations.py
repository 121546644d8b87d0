"""What a run has done, does, and has ahead: one line per operation, in columns.

ok  done        >>  in flight, or about to be tried again      ..  ahead
!!  failed      <<  a compensation that has undone a step      --  skipped by a person
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from motet.catalog import Ahead
from motet.cli.layout import clean, hanging, pad, shorten
from motet.cli.spans import ago, due, micros_of, moment, span, whole
from motet.cli.terminal import state_text
from motet.cli.values import rendered
from motet.cli.view import View, bare, called, said
from motet.model.clock import SECOND
from motet.status import Current, Done, RunStatus, Undo

MARKER_STYLES = {"ok": "green", ">>": "cyan", "..": "dim", "!!": "bold red", "<<": "yellow", "--": "magenta"}
GAP = "   "
LEAST_DETAIL = 28
"""Below so many columns, what there is to say of an operation goes under its name."""
LEAST_VALUE = 9
"""Below so many columns, a result is not begun."""


@dataclass(slots=True)
class Line:
    """One operation: `timing` is its columns of attempts and time; `value` is shortened, `detail` wrapped."""

    marker: str
    name: str
    timing: tuple[str, str] = ("", "")
    value: str = ""
    detail: str = ""


def operation_lines(status: RunStatus, view: View) -> list[Text]:
    """All operations, in the order of time; below them what is ahead."""
    return _laid_out(_operations(status, view), view.width)


def changes(status: RunStatus, view: View) -> list[tuple[str, Text]]:
    """What has happened so far, one line each, with a key by which to know it again; for logs."""
    found = [(f"state {status.state} {status.generation}", state_text(status.state))]
    recorded = [(f"{item.operation} {item.at}", _recorded(item)) for item in _in_order(status)]
    current = [
        (
            f"{item.operation} {item.attempt} {item.running} {item.stuck} {item.failed_at}",
            _current(item, view, item.stuck),
        )
        for item in status.current
    ]
    for key, line in (*recorded, *current):
        parts = (line.name, *line.timing, line.detail or shorten(line.value, view.width))
        text = GAP.join(part.strip() for part in parts if part)
        found.append(
            (f"{status.generation} {key}", Text.assemble((line.marker, MARKER_STYLES[line.marker]), "  ", text))
        )
    if status.note is not None:
        found.append((f"note {status.note}", Text(f"note  {clean(status.note)}")))
    return found


def _operations(status: RunStatus, view: View) -> list[Line]:
    lines = [_recorded(item) for item in _in_order(status)]
    stuck = {incident.operation for incident in status.incidents}
    lines += [_current(item, view, item.stuck or item.operation in stuck) for item in _told(status.current)]
    if status.state == "compensating":
        begun = {item.undoes for item in status.current}
        lines += [_to_undo(item) for item in status.undo if item.undoes not in begun]
    if status.state in ("pending", "running", "waiting") and status.stop is None:
        lines += [_ahead(item) for item in status.ahead]
        lines.append(Line("..", "done"))
    return lines


def _told(current: Sequence[Current]) -> list[Current]:
    """Without the timers of waits, which are said with the waits themselves."""
    waits = {item.site for item in current if item.kind == "wait" and item.site is not None}
    return [item for item in current if item.kind != "timer" or item.site not in waits]


def _in_order(status: RunStatus) -> list[Done]:
    return list(heapq.merge(status.done, status.failed, key=lambda item: item.at))


def _recorded(item: Done) -> Line:
    took = span(item.seconds) if item.seconds is not None else ""
    timing = (_attempts(item.attempts), took)
    name = called(item.kind, item.name)
    if item.kind == "pivot":
        return Line("ok", name, detail="the point of no return: what was done before stays")
    if item.outcome == "skipped":
        why = f": {clean(item.note)}" if item.note else ""
        return Line("--", name, timing, detail=f"skipped by a person{why}")
    if item.outcome == "answered":
        return Line("!!", name, timing, detail=said(item.error))
    if item.outcome == "failed":
        outcome = "it was rolled back" if item.kind == "transaction" else "its outcome is unknown"
        return Line("!!", name, timing, detail=f"{said(item.error)}; {outcome}")
    if item.kind == "compensation":
        return Line("<<", name, timing, detail=f"undid {bare(item.undoes)}" if item.undoes else "")
    if item.taken is not None:
        value = f"{clean(item.taken['type'])}  {rendered(item.taken['data'], None)}"
        return Line("ok", name, timing, value=value.rstrip())
    return Line("ok", name, timing, value=rendered(item.result, item.result_type))


def _current(item: Current, view: View, stuck: bool) -> Line:
    marker = "!!" if stuck else ">>"
    name = called(item.kind, item.name)
    undoes = f"undoes {bare(item.undoes)}: " if item.undoes is not None else ""
    if item.kind == "timer":
        return Line(marker, name, detail=f"ends {moment(item.due_at, view.now)}" if item.due_at else "")
    if item.kind == "wait" and not stuck:
        return Line(marker, name, detail=f"gives up {moment(item.due_at, view.now)}" if item.due_at else "")
    if item.kind == "run":
        return Line(marker, name, detail="the workflow failed past its point of no return, and needs a person")
    if item.kind == "child" and not stuck:
        return Line(marker, name, detail=f"waits for run {clean(item.run)}" if item.run else "")
    return Line(marker, name, detail=undoes + _trying(item, view, stuck))


def _trying(item: Current, view: View, stuck: bool) -> str:
    attempt = f"attempt {item.attempt}" + (f" of {item.attempts}" if item.attempts else "") if item.attempt else ""
    error = said(item.last_error)
    when = f" {ago(item.failed_at, view.now)}" if item.failed_at else ""
    if stuck:
        return f"needs a person; {f'{attempt} failed{when}' if attempt else 'it was not tried'}"
    if item.running:
        since = f" for {whole((view.now - micros_of(item.started_at)) / SECOND)}" if item.started_at else ""
        before = f"; the one before failed{when}: {error}" if item.last_error else ""
        return f"{attempt or 'an attempt'} runs{since}{before}"
    if item.last_error is None:
        return f"{attempt} is about to begin" if attempt else ""
    then = f"; next attempt {due(item.next_attempt_at, view.now)}" if item.next_attempt_at else ""
    return f"{attempt or 'the last attempt'} failed{when}: {error}{then}"


def _to_undo(item: Undo) -> Line:
    unknown = " (outcome unknown)" if item.unknown else ""
    return Line("..", item.compensation, detail=f"undoes {bare(item.undoes)}{unknown}")


def _ahead(item: Ahead) -> Line:
    verb = "sleep" if item.kind == "sleep" else called(item.kind, item.name)
    if item.kind in ("sleep", "restart"):
        verb = f"{item.kind} {clean(item.name)}".rstrip()
    if item.kind == "unknown":
        verb = f"cannot be known: {clean(item.name)}"
    remarks = [word for word, holds in (("perhaps", item.branch), ("repeated", item.looped)) if holds]
    return Line("..", f"{verb} ({', '.join(remarks)})" if remarks else verb)


def _laid_out(lines: Sequence[Line], width: int) -> list[Text]:
    names = max((cell_len(line.name) for line in lines if _says_more(line)), default=0)
    counts = max((len(line.timing[0]) for line in lines), default=0)
    times = max((len(line.timing[1]) for line in lines), default=0)
    column = 6 + names + len(GAP)
    beside = width - column >= LEAST_DETAIL
    found: list[Text] = []
    for line in lines:
        style = "dim" if line.marker == ".." else ""
        sign = Text.assemble("  ", (line.marker, MARKER_STYLES[line.marker]), "  ")
        first = Text.assemble(sign, (line.name, style))
        if not _says_more(line):
            found += hanging(sign, Text(line.name, style=style), width)
            continue
        if beside:
            first.append(" " * (column - cell_len(first.plain)))
        else:
            found += hanging(sign, Text(line.name, style=style), width)
            first = Text(" " * 6)
        timing = GAP.join((pad(line.timing[0], counts), pad(line.timing[1], times, right=True)))
        for part in _in_columns(line, timing, width - cell_len(first.plain)):
            found += hanging(first, Text(part, style=style), width)
            first = Text(" " * cell_len(first.plain))
    return found


def _in_columns(line: Line, timing: str, room: int) -> list[str]:
    """What is said beside the name: attempts and time, then the result or what happened, below them if it is long."""
    if not any(line.timing):
        return [line.detail or shorten(line.value, room)]
    left = room - cell_len(timing) - len(GAP)
    if cell_len(line.detail) > left:
        return [timing, line.detail]
    value = shorten(line.value, left) if left >= LEAST_VALUE else ""
    return [GAP.join((timing, line.detail or value)).rstrip()]


def _says_more(line: Line) -> bool:
    return bool(any(line.timing) or line.value or line.detail)


def _attempts(count: int) -> str:
    return "" if not count else "1 attempt" if count == 1 else f"{count} attempts"
