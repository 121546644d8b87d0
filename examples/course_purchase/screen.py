"""What a person sees of the demo: its phases as they happen, a progress bar, and tables at the end.

Without a terminal the same lines are printed and no bar. A screen without a console says nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from .purchases import Purchase
from .verify import Verdict

OUTCOMES = ("completed", "declined", "compensated", "blocked", "lost")


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


class Screen:
    """The one place that prints for people. Use it as a context: the bar is taken away at the end."""

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._bar: Progress | None = None
        if console is not None and console.file.isatty():
            self._bar = Progress(
                TextColumn("purchases"),
                BarColumn(),
                MofNCompleteColumn(),
                _RateColumn(),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._ended = self._bar.add_task("purchases", total=None)

    @property
    def shown(self) -> bool:
        """Whether anybody reads this."""
        return self._console is not None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def phase(self, text: str, style: str = "") -> None:
        """Say what happens now."""
        if self._console is not None:
            self._console.print(Text(text, style=style), soft_wrap=True)

    def total(self, purchases: int) -> None:
        """Set the length of the bar."""
        if self._bar is not None:
            self._bar.update(self._ended, total=purchases)

    def one_ended(self) -> None:
        """Move the bar by one purchase."""
        if self._bar is not None:
            self._bar.advance(self._ended)

    def status(self, command: str, output: str) -> None:
        """Show a command and what it printed."""
        if self._console is not None:
            self._console.print()
            self._console.print(Text(f"$ {command}", style="bold"))
            self._console.print(Text(output.rstrip("\n")), soft_wrap=True)

    def outcome(self, purchases: Sequence[Purchase], outcome_of: Mapping[str, str], verdict: Verdict) -> None:
        """Show how everything ended, and the verdict."""
        if self._console is None:
            return
        self._console.print()
        self._console.print(_outcomes_by_trouble(purchases, outcome_of))
        self._console.print(_outside(verdict))
        self._console.print(_told(verdict))
        self._console.print()
        for broken in verdict.broken:
            self._console.print(Text(f"BROKEN  {broken}", style="bold red"), soft_wrap=True)
        if not verdict.broken:
            seconds = verdict.report.seconds
            self._console.print(Text(f"Every promise was kept, in {seconds:.1f} s.", style="bold green"))


def _outcomes_by_trouble(purchases: Sequence[Purchase], outcome_of: Mapping[str, str]) -> Table:
    """Count the outcomes by what was to go wrong; a lost run that was to lose a reply is then easy to see."""
    counts = Counter((purchase.trouble or "", outcome_of.get(purchase.id, "lost")) for purchase in purchases)
    shown = [outcome for outcome in OUTCOMES if any(found == outcome for _, found in counts)]
    table = Table(title="How the purchases ended", title_justify="left")
    table.add_column("what went wrong outside")
    for outcome in shown:
        table.add_column(outcome, justify="right")
    for trouble in sorted({trouble for trouble, _ in counts}):
        cells = [str(counts[trouble, outcome] or "") for outcome in shown]
        table.add_row(trouble.replace("_", " ") or "nothing", *cells)
    sums = [str(sum(count for (_, found), count in counts.items() if found == outcome)) for outcome in shown]
    table.add_section()
    table.add_row("all", *sums)
    return table


def _outside(verdict: Verdict) -> Table:
    report = verdict.report
    table = Table(title="What the ledger says", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("charged - refunded", f"{report.charged} - {report.refunded} = {report.charged - report.refunded}")
    table.add_row("enrolled - removed", f"{report.enrolled} - {report.removed} = {report.enrolled - report.removed}")
    table.add_row("effects made twice", str(report.duplicate_effects))
    table.add_row("completed steps that ran again", str(report.repeated_steps))
    table.add_row("runs in flight at the kill", str(report.in_flight_at_kill))
    table.add_row("effects unanswered at the kill", str(report.unanswered_at_kill))
    if report.switched_at:
        table.add_row("purchases in flight at the switch", str(report.in_flight_at_switch))
    return table


def _told(verdict: Verdict) -> Table:
    report = verdict.report
    table = Table(title="What Motet says", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("events", str(report.events))
    table.add_row("reactions to them", str(report.reactions))
    table.add_row("dead letters", str(report.dead_letters))
    table.add_row("expectations missed", str(report.expectations_missed))
    table.add_row("failures that nobody has published, noticed", str(report.noticed))
    return table
