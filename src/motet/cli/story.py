"""A run's status as lines: what it has done, what it does, what is ahead, and what would be undone.

    ok  done        >>  in flight, or about to be tried again      ..  ahead
    !!  failed      <<  a compensation that has undone a step      --  skipped by a person

Made from the `RunStatus` alone, so that what is shown is what `--json` gives. It reads no store and no clock.
"""

from __future__ import annotations

import heapq
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from motet.catalog import Ahead
from motet.cli.layout import clean, flowing, hanging, pad, shorten
from motet.cli.spans import ago, due, micros_of, moment, span, whole
from motet.cli.terminal import state_text
from motet.cli.values import argument, rendered
from motet.model.clock import SECOND, Micros
from motet.model.run import ENDED
from motet.status import Current, Done, Incident, RunStatus, Undo

MARKER_STYLES = {"ok": "green", ">>": "cyan", "..": "dim", "!!": "bold red", "<<": "yellow", "--": "magenta"}
GAP = "   "
LEAST_DETAIL = 28
"""Below so many columns, what there is to say of an operation goes under its name."""

LONGEST_ERROR = 400


@dataclass(frozen=True, slots=True)
class View:
    """From where it is looked at.

    Args:
        now: the time, for `2 s ago`.
        width: columns.
        store: the `--store` that the shown commands need too; None if they find it by themselves.
        driven: whether any worker runs; None if nobody has looked.
    """

    now: Micros
    width: int
    store: str | None = None
    driven: bool | None = None


@dataclass(slots=True)
class Line:
    """One operation: `timing` is its columns of attempts and time; `value` is shortened, `detail` wrapped."""

    marker: str
    name: str
    timing: tuple[str, str] = ("", "")
    value: str = ""
    detail: str = ""


def story(status: RunStatus, view: View) -> list[Text]:
    """The run's story."""
    lines = flowing(_header(status), view.width)
    lines += _remarks(status, view)
    lines += _laid_out(_operations(status, view), view.width)
    if status.state in ENDED:
        lines += _ending(status, view)
    elif status.state == "blocked":
        lines += _incidents(status, view)
    else:
        lines += _prospect(status, view)
    return lines


def changes(status: RunStatus, view: View) -> list[tuple[str, Text]]:
    """What has happened so far, one line each, with a key by which to know it again; for logs."""
    found = [(f"state {status.state} {status.generation}", state_text(status.state))]
    recorded = [(f"{item.operation} {item.at}", _recorded(item)) for item in _in_order(status)]
    current = [
        (f"{item.operation} {item.attempt} {item.running} {item.stuck} {item.failed_at}", _current(item, view))
        for item in status.current
    ]
    for key, line in (*recorded, *current):
        said = [*(part for part in line.timing if part), line.detail or shorten(line.value, view.width)]
        text = GAP.join((line.name, *(part for part in said if part)))
        found.append(
            (f"{status.generation} {key}", Text.assemble((line.marker, MARKER_STYLES[line.marker]), "  ", text))
        )
    if status.note is not None:
        found.append((f"note {status.note}", Text(f"note  {clean(status.note)}")))
    return found


# --- above the operations ------------------------------------------------------------------------------------


def _header(status: RunStatus) -> list[Text]:
    word = "after" if status.state in ENDED else "for"
    parts = [
        Text(clean(status.id), style="bold"),
        Text(f"{clean(short(status.workflow))} v{status.version}"),
        state_text(status.state),
        Text(f"{word} {span(status.seconds) if status.state in ENDED else whole(status.seconds)}"),
        Text(f"conversation {clean(status.conversation)}"),
    ]
    if status.generation > 1:
        parts.append(Text(f"generation {status.generation}"))
    return parts


def _remarks(status: RunStatus, view: View) -> list[Text]:
    remarks: list[tuple[str, str]] = []
    if status.note is not None:
        remarks.append(("Note:", f"{clean(status.note)}"))
    if status.attributes:
        pairs = [
            f"{name}={value if isinstance(value, str) else repr(value)}" for name, value in status.attributes.items()
        ]
        remarks.append(("Attributes:", f"{clean(', '.join(pairs))}"))
    if status.deadline_at is not None and status.state not in (*ENDED, "blocked"):
        left = micros_of(status.deadline_at) - view.now
        if left * 4 < micros_of(status.deadline_at) - micros_of(status.created_at):
            remarks.append(("Deadline:", f"{moment(status.deadline_at, view.now)}"))
    if status.crashes and status.state not in ENDED:
        times = "once" if status.crashes == 1 else f"{status.crashes} times"
        remarks.append(("Crashes:", f"its worker has died {times}"))
    return [line for label, text in remarks for line in _labelled(label, text, view.width)]


# --- the operations ------------------------------------------------------------------------------------------


def _operations(status: RunStatus, view: View) -> list[Line]:
    lines = [_recorded(item) for item in _in_order(status)]
    lines += [_current(item, view) for item in status.current]
    if status.state == "compensating":
        begun = {item.undoes for item in status.current}
        lines += [_to_undo(item) for item in status.undo if item.undoes not in begun]
    if status.state in ("pending", "running", "waiting"):
        lines += [_ahead(item) for item in status.ahead]
        lines.append(Line("..", "done"))
    return lines


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
        return Line("!!", name, timing, detail=_error(item.error))
    if item.outcome == "failed":
        return Line("!!", name, timing, detail=f"{_error(item.error)}; its outcome is unknown")
    if item.kind == "compensation":
        return Line("<<", name, timing, detail=f"undid {bare(item.undoes)}" if item.undoes else "")
    return Line("ok", name, timing, value=rendered(item.result, item.result_type))


def _current(item: Current, view: View) -> Line:
    marker = "!!" if item.stuck else ">>"
    name = called(item.kind, item.name)
    undoes = f"undoes {bare(item.undoes)}: " if item.undoes is not None else ""
    if item.kind == "timer":
        return Line(marker, name, detail=f"ends {moment(item.due_at, view.now)}" if item.due_at else "")
    if item.kind == "child" and not item.stuck:
        return Line(marker, name, detail=f"waits for run {clean(item.run)}" if item.run else "")
    return Line(marker, name, detail=undoes + _trying(item, view))


def _trying(item: Current, view: View) -> str:
    attempt = f"attempt {item.attempt}" + (f" of {item.attempts}" if item.attempts else "") if item.attempt else ""
    error = _error(item.last_error)
    when = f" {ago(item.failed_at, view.now)}" if item.failed_at else ""
    if item.stuck:
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
    remarks = [word for word, holds in (("perhaps", item.branch), ("repeated", item.looped)) if holds]
    return Line("..", verb, detail=", ".join(remarks))


def _laid_out(lines: Sequence[Line], width: int) -> list[Text]:
    names = max((cell_len(line.name) for line in lines if _says_more(line)), default=0)
    counts = max((len(line.timing[0]) for line in lines), default=0)
    times = max((len(line.timing[1]) for line in lines), default=0)
    column = 6 + names + len(GAP)
    beside = width - column >= LEAST_DETAIL
    found: list[Text] = []
    for line in lines:
        style = "dim" if line.marker == ".." else ""
        first = Text.assemble("  ", (line.marker, MARKER_STYLES[line.marker]), "  ", (line.name, style))
        if not _says_more(line):
            found.append(first)
            continue
        timing = GAP.join((pad(line.timing[0], counts), pad(line.timing[1], times, right=True)))
        said = timing + GAP if any(line.timing) else ""
        room = (width - column if beside else width - 6) - cell_len(said)
        body = Text((said + (line.detail or shorten(line.value, max(room, 12)))).rstrip(), style=style)
        hang = Text.assemble(first, " " * (column - cell_len(first.plain)))
        if beside:
            found += hanging(hang, body, width)
        else:
            found += [first, *hanging(Text(" " * 6), body, width)]
    return found


def _says_more(line: Line) -> bool:
    return bool(any(line.timing) or line.value or line.detail)


# --- below the operations ------------------------------------------------------------------------------------


def _prospect(status: RunStatus, view: View) -> list[Text]:
    lines: list[Text] = []
    if status.state != "compensating":
        lines += _if_it_fails(status, view)
    if status.state == "pending" or view.driven is False:
        lines += _labelled("Next:", _next(status, view), view.width)
    elif status.state == "waiting" and not status.current and status.wake_at is not None:
        lines += _labelled("Next:", f"it goes on {moment(status.wake_at, view.now)}", view.width)
    return lines


def _next(status: RunStatus, view: View) -> str:
    if view.driven is False:
        return "no worker is running here; start one with motet worker MODULE"
    return f"it waits for a worker that knows {clean(status.workflow)}"


def _if_it_fails(status: RunStatus, view: View) -> list[Text]:
    if any(item.kind == "pivot" for item in status.done):
        text = "it waits for a person, for it is past its point of no return"
    else:
        text = ", then ".join(_undo(item) for item in status.undo) or "there is nothing to undo"
    return _labelled("If it fails now:", text, view.width)


def _undo(item: Undo) -> str:
    if item.unknown:
        return f"{item.compensation} (outcome unknown{'' if item.callable else ': a person has to find out'})"
    meant = argument(item.result)
    return f"{item.compensation}({meant})" if meant else item.compensation


def _ending(status: RunStatus, view: View) -> list[Text]:
    lines: list[Text] = []
    if status.state == "completed":
        result = rendered(status.result, status.result_type)
        if result:
            lines += _labelled("Result:", shorten(result, 3 * view.width), view.width)
    else:
        error = ": ".join(part for part in (status.error_type, status.error) if part)
        word = "Failed:" if status.state == "failed" else "Cancelled:"
        if error:
            lines += _labelled(word, shorten(clean(error), LONGEST_ERROR), view.width)
        undone = [item for item in status.done if item.kind == "compensation" and item.outcome == "completed"]
        text = ", then ".join(bare(item.undoes) if item.undoes else item.name for item in undone)
        lines += _labelled("Undone:", text or "nothing", view.width)
    if status.ended_at is not None:
        lines += _labelled("Ended:", ago(status.ended_at, view.now), view.width)
    return lines


def _incidents(status: RunStatus, view: View) -> list[Text]:
    lines = [Text("It needs a person:", style="bold red")]
    for incident in status.incidents:
        lines += hanging(Text("  "), Text(_reason(incident)), view.width)
    lines.append(Text("Ways out:", style="bold"))
    for command, effect in ways_out(status, view.store):
        lines += hanging(Text("  "), Text(command, style="bold"), view.width, indent=4)
        lines += hanging(Text("      "), Text(effect), view.width)
    return lines


def _reason(incident: Incident) -> str:
    reason = shorten(clean(incident.reason), LONGEST_ERROR)
    if not incident.operation:
        return f"{incident.kind}: {reason}"
    undoes = f", which undoes {incident.undoes}" if incident.undoes else ""
    return f"{incident.operation}{undoes}: {reason}"


def ways_out(status: RunStatus, store: str | None) -> list[tuple[str, str]]:
    """What a person can do about a blocked run: commands, each with its effect."""
    run = shlex.quote(status.id)
    where = f" --store {shlex.quote(store)}" if store is not None else ""
    stuck = [incident for incident in status.incidents if incident.operation]
    if not stuck:
        return [(f"motet retry {run}{where}", "go on, once the code or what stopped it has been put right")]
    ways: list[tuple[str, str]] = []
    for incident in stuck:
        only = f" --operation {shlex.quote(incident.operation)}" if len(stuck) > 1 else ""
        name = bare(incident.operation)
        ways.append((f"motet retry {run}{only}{where}", f"try {name} again"))
        ways.append(
            (
                f'motet skip {run}{only}{where} --note "..."',
                f"go on without {name}, once you have done by hand what it would have",
            )
        )
    return ways


# --- words -----------------------------------------------------------------------------------------------------


def short(name: str) -> str:
    """A workflow's name without its app."""
    return name.rpartition("/")[2]


def bare(operation: str | None) -> str:
    """An operation without its number, unless it is not the first of its name."""
    name, _, number = (operation or "").rpartition("#")
    return clean(name if number == "1" else operation or "")


def called(kind: str, name: str) -> str:
    """How a line begins: steps and compensations by their name alone."""
    if kind in ("publish", "child"):
        return clean(f"{kind} {name}")
    return clean(name) or kind


def _attempts(count: int) -> str:
    return "" if not count else "1 attempt" if count == 1 else f"{count} attempts"


def _error(error: str | None) -> str:
    return shorten(clean(error or "no reason is recorded"), LONGEST_ERROR)


def _labelled(label: str, text: str, width: int) -> list[Text]:
    return hanging(Text(f"{label}  ", style="bold"), Text(text), width)
