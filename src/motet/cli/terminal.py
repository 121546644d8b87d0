"""Where output goes: what was asked for to stdout, everything else to stderr; colour and bars for terminals only."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

import msgspec
from rich.console import Console
from rich.text import Text

from motet.cli.layout import NARROWEST, WITHOUT_TERMINAL
from motet.model.run import RunState

STATE_STYLES: dict[RunState, str] = {
    "pending": "dim",
    "running": "cyan",
    "waiting": "blue",
    "compensating": "yellow",
    "completed": "green",
    "failed": "red",
    "cancelled": "magenta",
    "blocked": "bold red",
}


class ReaderGone(Exception):
    """Whoever read our output has seen enough, as `head` does."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise ReaderGone


def out() -> Console:
    """The console on stdout."""
    return _Console(highlight=False, markup=False, emoji=False, width=_width())


def err() -> Console:
    """The console on stderr."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def _width() -> int | None:
    """None: as wide as the terminal. COLUMNS, which rich reads, decides elsewhere too."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit():
        return None
    return WITHOUT_TERMINAL


def width_of(console: Console) -> int:
    """The columns that there are; at least so many that lines can be laid out."""
    return max(console.width, NARROWEST)


def say(lines: Iterable[Text | str], console: Console | None = None) -> None:
    """Print lines as they are: nothing is wrapped or cut any more."""
    console = console or out()
    for line in lines:
        console.print(line if isinstance(line, Text) else Text(line), soft_wrap=True)


def say_json(document: object) -> None:
    """Print the one JSON document of a command."""
    try:
        sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderGone from None


def state_text(state: RunState) -> Text:
    """The state, in its colour."""
    return Text(state.upper(), style=STATE_STYLES[state])


def make_robust() -> None:
    """No character that a terminal's encoding lacks ends the program."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
