"""What follows from where a run stands: what would be undone now, how it ended, or what a person can do about it."""

from __future__ import annotations

import shlex

from rich.text import Text

from motet.cli.layout import clean, hanging, shorten
from motet.cli.spans import ago, moment
from motet.cli.values import argument, rendered
from motet.cli.view import LONGEST_ERROR, View, bare, labelled
from motet.model.history import STEPS
from motet.model.run import DEFAULT_QUEUE, ENDED
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
    if status.state == "pending" or view.driven is False:
        lines += labelled("Next:", _next(status, view), view.width)
    elif status.state == "waiting" and not status.current and status.wake_at is not None:
        lines += labelled("Next:", f"it goes on {moment(status.wake_at, view.now)}", view.width)
    return lines


def _next(status: RunStatus, view: View) -> str:
    if view.driven is False:
        return "no worker is running here; start one with motet worker MODULE"
    worker = f"a worker that knows {clean(status.workflow)}"
    if status.queue != DEFAULT_QUEUE:
        return f"it waits in queue {clean(status.queue)} (see motet queues) for {worker}"
    return f"it waits for {worker}"


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
    for command, effect in ways_out(status, view.store):
        lines += _command(command, view.width)
        lines += hanging(Text("      "), Text(effect), view.width)
    return lines


def _command(command: str, width: int) -> list[Text]:
    """A command to copy: where it takes several lines, the shell is told that it goes on."""
    lines = hanging(Text("  "), Text(command), width - 2, indent=4)
    return [Text(line.plain + (" \\" if line is not lines[-1] else ""), style="bold") for line in lines]


def _reason(incident: Incident) -> str:
    reason = shorten(clean(incident.reason), LONGEST_ERROR)
    if not incident.operation:
        return f"{WORDS_FOR_PARKED.get(incident.kind, incident.kind)}: {reason}"
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
        by_hand = f"go on without {bare(incident.operation)}, once you have done by hand what it would have"
        effect = {
            **dict.fromkeys(STEPS, f"give {bare(incident.operation)} up: the workflow gets StepFailed"),
            "run": "let the run end as failed",
        }
        only = f" --operation {shlex.quote(incident.operation)}" if len(stuck) > 1 else ""
        if incident.kind != "run":
            ways.append((f"motet retry {run}{only}{where}", f"try {bare(incident.operation)} again"))
        ways.append((f'motet skip {run}{only}{where} --note "..."', effect.get(incident.kind, by_hand)))
    return ways
