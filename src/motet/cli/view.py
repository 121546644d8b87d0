"""From where a run is looked at, and the words that all parts of its story share."""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text

from motet.cli.layout import clean, hanging, shorten
from motet.model.clock import Micros

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


def short(name: str) -> str:
    """A workflow's name without its app."""
    return name.rpartition("/")[2]


def bare(operation: str | None) -> str:
    """An operation without its number, unless it is not the first of its name."""
    name, _, number = (operation or "").rpartition("#")
    return clean(name if number == "1" else operation or "")


def called(kind: str, name: str) -> str:
    """How a line begins: steps and compensations by their name alone."""
    if kind == "wait":
        return f"wait {awaited(name)}"
    if kind == "change":
        return f"changed {clean(name.removeprefix('changed:'))}"
    if kind in ("publish", "child"):
        return clean(f"{kind} {name}")
    return clean(name) or kind


def awaited(events: str) -> str:
    """What a wait is for: `approved or refused`."""
    return clean(events.replace("|", " or "))


def said(error: str | None) -> str:
    """A recorded error, on one line and not too long."""
    return shorten(clean(error or "no reason is recorded"), LONGEST_ERROR)


def labelled(label: str, text: str, width: int) -> list[Text]:
    """`Note:  half way`."""
    return hanging(Text(f"{label}  ", style="bold"), Text(text), width)


def command_lines(command: str, width: int) -> list[Text]:
    """A command to copy: where it takes several lines, the shell is told that it goes on."""
    lines = hanging(Text("  "), Text(command), width - 2, indent=4)
    return [Text(line.plain + (" \\" if line is not lines[-1] else ""), style="bold") for line in lines]
