"""What can come next in a run, and what it waits for, in words."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from rich.text import Text

from motet.cli.layout import clean, shorten
from motet.cli.spans import moment
from motet.cli.view import View, called, command_lines, labelled
from motet.coming import Next
from motet.model.run import DEFAULT_QUEUE
from motet.publishers import Publisher
from motet.reasons import Waiting
from motet.status import RunStatus

MOST = 5
LONGEST_CONDITION = 60
_LONGEST_NAME = 60


def next_lines(status: RunStatus, view: View) -> list[Text]:
    """What can come next, by the plan."""
    text = next_words(status.next)
    return labelled("Next:", text, view.width) if text else []


def next_words(coming: Sequence[Next]) -> str:
    """`ship (if paid), or the run completes; if something fails: tell (except Declined)`. What would be undone is said
    elsewhere."""
    sure = [_one(one) for one in coming if not one.if_fails]
    failing = [_one(one) for one in coming if one.if_fails and one.kind not in ("undo", "failure")]
    text = _either(sure)
    if failing:
        text += f"{'; ' if text else ''}if something fails: {_either(failing)}"
    return text


def _either(words: list[str]) -> str:
    """One of these."""
    words = list(dict.fromkeys(words))
    if len(words) > MOST:
        words = [*words[:MOST], f"{len(words) - MOST} more"]
    return ", or ".join(words) if len(words) < 3 else f"{', '.join(words[:-1])}, or {words[-1]}"


def _one(one: Next) -> str:
    name = shorten(clean(one.name), _LONGEST_NAME)
    if one.kind == "end":
        text = "the run completes"
    elif one.kind == "failure":
        text = "the run ends as failed"
    elif one.kind == "undo":
        text = name
    elif one.kind == "unknown":
        text = f"cannot be known from the source: {name}"
    elif one.kind in ("sleep", "restart"):
        text = f"{one.kind} {name}".rstrip()
    else:
        text = called(one.kind, name)
    when = ", ".join(shorten(clean(condition), LONGEST_CONDITION) for condition in one.when)
    return f"{text} ({when})" if when else text


def wait_lines(status: RunStatus, view: View) -> list[Text]:
    """Why it does not go on, as far as its operations do not say that already; with what to do about it."""
    found: list[Text] = []
    if view.driven is False:
        found += labelled("Waits:", "no worker is running here; start one with motet worker MODULE", view.width)
    for one in status.waits:
        if one.kind == "event":
            found += _for_event(one, status, view)
        elif view.driven is not False and (text := _waits(one, status, view)):
            found += labelled("Waits:", text, view.width)
    return found


def _waits(one: Waiting, status: RunStatus, view: View) -> str:
    if one.kind in ("worker", "place"):
        worker = f"a worker that knows {clean(status.workflow)}"
        if status.queue != DEFAULT_QUEUE:
            return f"in queue {clean(status.queue)} (see motet queues) for {worker}"
        return f"for {worker}"
    if one.kind == "time" and one.operation is None and one.until is not None:
        return f"it goes on {moment(one.until, view.now)}"
    return ""


def _for_event(one: Waiting, status: RunStatus, view: View) -> list[Text]:
    """What it waits for, and who publishes that; if nobody is known to, how a person does it."""
    text = clean(one.why) + (f", and gives up {moment(one.until, view.now)}" if one.until is not None else ", for ever")
    known = list(dict.fromkeys(_publisher(each) for event in one.events for each in one.publishers.get(event, ())))
    if known:
        return labelled("Waits:", f"{text}; published by {', '.join(known)}", view.width)
    about = f"--to {shlex.quote(status.id)}" if one.key == status.id else f"--key {shlex.quote(one.key or '')}"
    where = f" --store {shlex.quote(view.store)}" if view.store is not None else ""
    command = f"motet publish {one.events[0]} {about}{where}"
    lines = labelled("Waits:", f"{text}; nobody is known to publish it, but anybody can:", view.width)
    return [*lines, *command_lines(clean(command), view.width)]


def _publisher(one: Publisher) -> str:
    where = one.place
    if where is not None:
        where = os.path.relpath(where) if where.startswith(os.getcwd() + os.sep) else os.path.basename(where)
    name = "a step of " + one.name if one.kind == "step" else f"{one.kind} {one.name}"
    return clean(f"{name} ({where})" if where is not None else name)
