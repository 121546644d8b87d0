"""Progress where somebody watches: how much is done, how fast it goes, how long it will take."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from motet.model.clock import SYSTEM


@contextmanager
def bar(console: Console, what: str, unit: str) -> Generator[Callable[[int, int], None] | None]:
    """A bar with rate and time left; None where nobody watches.

    Args:
        what: is done, as `copying`.
        unit: as `pages`.
    """
    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
    )  # fmt: skip
    began = SYSTEM.monotonic()
    with Progress(*columns, console=console, transient=True) as progress:
        shown = progress.add_task(what, total=None, rate="")

        def report(done: int, total: int) -> None:
            seconds = SYSTEM.monotonic() - began
            rate = f"{done / seconds:,.0f} {unit}/s" if seconds > 0 else ""
            progress.update(shown, completed=done, total=total, rate=rate)

        yield report
