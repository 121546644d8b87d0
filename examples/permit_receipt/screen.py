"""What a person sees: a bar while it happens, and the findings at the end. The bar is for terminals only."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from .findings import STATES, Finding, Slow
from .pairs import UNITS
from .succession import Followed

SLOWEST = 5
RARE = 100


@contextmanager
def progress_bar(total: int) -> Generator[Callable[[int], None]]:
    """On standard error; what it yields moves it."""
    columns = (TextColumn("events"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        events = bar.add_task("events", total=total)
        yield lambda count: bar.advance(events, count)


def show(title: str, findings: Sequence[Finding], followed: Sequence[Followed], cases: int) -> None:
    """Print all of it, on standard output.

    Args:
        followed: what followed what.
        cases: how many there are.
    """
    console = Console(highlight=False)
    console.print(Text(title))
    for finding in findings:
        _print(console, _finding(finding))
    _print(console, _map(followed, cases))


def _print(console: Console, lines: Iterator[Text]) -> None:
    console.print()
    for line in lines:
        console.print(line, soft_wrap=True)


def _finding(finding: Finding) -> Iterator[Text]:
    pair, counts, slow = finding
    yield Text(f"{pair.expect}: within {length(pair.within)} after {pair.after}", style="bold")
    yield Text("  " + "   ".join(f"{state} {counts[state]:,}" for state in STATES))
    for came, what in ((True, "the slowest of those that came late"), (False, "longest missed, and have not come")):
        cases = [case for case in slow if case.came == came]
        if cases:
            yield Text(f"  {what}:")
        yield from (Text(f"    {_slow(case)}") for case in cases[:SLOWEST])


def _slow(case: Slow) -> str:
    took = f"{'took' if case.came else 'waiting for'} {length(case.took)}"
    return f"{case.case}   since {case.since:%Y-%m-%d %H:%M} UTC   {took}"


def _map(followed: Sequence[Followed], cases: int) -> Iterator[Text]:
    """By what came before, the most frequent first; what hardly any case did is left out."""
    frequent = [one for one in followed if one.times * RARE >= cases]
    yield Text("What followed what in the same case, and how often", style="bold")
    for after in dict.fromkeys(one.after for one in frequent):
        yield Text(f"  {after or '(the case begins)'}")
        for one in frequent:
            if one.after == after:
                yield Text(f"    {one.times:>6,}  {one.then or '(nothing more)'}")
    if len(frequent) < len(followed):
        yield Text(f"  and {len(followed) - len(frequent):,} more, each in less than 1 of {RARE} cases", style="dim")


def length(span: timedelta) -> str:
    """As `12d 3h`: its two coarsest units."""
    parts: list[str] = []
    for unit in ("d", "h", "m", "s"):
        count, span = divmod(span, UNITS[unit])
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
    return " ".join(part for part in parts[:2] if part) or "less than 1s"
