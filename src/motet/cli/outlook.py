"""What follows from where a run stands: what would be undone now, how it ended, or what a person can do about it."""

from __future__ import annotations

from rich.text import Text

from motet.cli.forecast import next_lines, next_words, wait_lines
from motet.cli.layout import clean, hanging, shorten
from motet.cli.spans import ago
from motet.cli.values import argument, rendered
from motet.cli.view import LONGEST_ERROR, View, bare, command_lines, labelled
from motet.model.run import ENDED
from motet.reasons import ways_out
from motet.status import Incident, RunStatus, Undo

WORDS_FOR_PARKED = {
    "divergence": "the code has changed",
    "crash": "it has killed its workers",
    "corrupt": "a record cannot be read",
    "incident": "it cannot go on",
}


def outlook(status: RunStatus, view: View) -> list[Text]:
    """The lines below the operations."""
    if status.state in ENDED:
        return _ending(status, view)
    if status.state == "blocked":
        return _incidents(status, view)
    return _prospect(status, view)


def _prospect(status: RunStatus, view: View) -> list[Text]:
    lines: list[Text] = []
    if status.state != "compensating" and (status.stop is None or status.stop.compensate):
        lines += _if_it_fails(status, view)
    return [*next_lines(status, view), *lines, *wait_lines(status, view)]


def _if_it_fails(status: RunStatus, view: View) -> list[Text]:
    label = "If it fails now:" if status.stop is None else "Then it undoes:"
    if any(item.kind == "pivot" for item in status.done):
        text = "it waits for a person, for it is past its point of no return"
    else:
        text = ", then ".join(_undo(item) for item in status.undo) or "there is nothing to undo"
        if status.state == "running" and not status.current:
            text += " (what has just begun is not written down yet)"
    return labelled(label, text, view.width)


def _undo(item: Undo) -> str:
    if item.unknown:
        return f"{item.compensation} (outcome unknown{'' if item.callable else ': a person has to find out'})"
    meant = argument(item.result)
    return f"{item.compensation}({meant})" if meant else item.compensation


def _ending(status: RunStatus, view: View) -> list[Text]:
    lines: list[Text] = []
    if status.pruned_at is not None:
        text = f"{ago(status.pruned_at, view.now)}: what it was given and what came of it is not kept any more"
        lines += labelled("Pruned:", text, view.width)
    elif status.state == "completed":
        result = rendered(status.result, status.result_type)
        if result:
            lines += labelled("Result:", shorten(result, 3 * view.width), view.width)
    else:
        lines += _why(status, view)
        undone = [item for item in status.done if item.kind == "compensation" and item.outcome == "completed"]
        text = ", then ".join(bare(item.undoes) if item.undoes else item.name for item in undone)
        lines += labelled("Undone:", text or "nothing", view.width)
    if status.ended_at is not None:
        lines += labelled("Ended:", ago(status.ended_at, view.now), view.width)
    return lines


def _why(status: RunStatus, view: View) -> list[Text]:
    if status.state == "cancelled":
        reason = status.stop.reason if status.stop is not None else None
        return labelled("Cancelled:", shorten(clean(reason or "no reason was given"), LONGEST_ERROR), view.width)
    error = ": ".join(part for part in (status.error_type, status.error) if part)
    return labelled("Failed:", shorten(clean(error), LONGEST_ERROR), view.width)


def _incidents(status: RunStatus, view: View) -> list[Text]:
    lines = [Text("It needs a person:", style="bold red")]
    for incident in status.incidents:
        lines += hanging(Text("  "), Text(_reason(incident)), view.width)
    lines.append(Text("Ways out:", style="bold"))
    for way in ways_out(status.id, [(one.operation, one.kind) for one in status.incidents], view.store):
        lines += command_lines(way.command, view.width)
        lines += hanging(Text("      "), Text(clean(way.effect)), view.width)
    if status.next:
        lines += labelled("Then:", next_words(status.next), view.width)
    return lines


def _reason(incident: Incident) -> str:
    reason = shorten(clean(incident.reason), LONGEST_ERROR)
    if not incident.operation:
        return f"{WORDS_FOR_PARKED.get(incident.kind, incident.kind)}: {reason}"
    undoes = f", which undoes {incident.undoes}" if incident.undoes else ""
    return f"{incident.operation}{undoes}: {reason}"
