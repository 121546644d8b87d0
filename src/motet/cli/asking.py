"""Before much is changed: what would be, and a question where somebody can answer it."""

from __future__ import annotations

import sys
from typing import Annotated

import click

from motet.cli.group import UsageError
from motet.cli.options import option

YesOption = Annotated[bool, option("--yes", "-y", about="Do it without asking.")]


def confirm(what: str, *, yes: bool) -> None:
    """Ask whether to do this, on a terminal; elsewhere `--yes` has to say so.

    Args:
        what: as `redrive 3 dead letters`.

    Raises:
        UsageError: there is nobody to ask; click.Abort: the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"this would {what}, and there is no terminal to ask on; add --yes to do it")
    click.confirm(f"This will {what}. Go on?", abort=True, err=True)


def counted(number: int, what: str) -> str:
    """`1 event`, `1,204 events`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
