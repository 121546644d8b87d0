"""`motet watch`: a run until it ends, or all runs by state; a live view in a terminal, a line per change elsewhere."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from motet.app import App
from motet.cli import exits
from motet.cli.group import leave, run_async
from motet.cli.layout import clean, pad
from motet.cli.opening import existing_store
from motet.cli.operations import changes
from motet.cli.options import JsonOption, StoreOption, argument, chosen_store
from motet.cli.reading import counted, look
from motet.cli.spans import clock_time, whole
from motet.cli.story import story
from motet.cli.terminal import out, say, say_json, state_text, width_of
from motet.cli.view import View
from motet.model.clock import SYSTEM
from motet.model.run import ENDED, STATES
from motet.status import RunStatus

FRAME_SECONDS = 0.1
TICK_SECONDS = 1.0
RATE_SECONDS = 10.0


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Look")(watch)


def watch(
    id: Annotated[str | None, argument(metavar="[ID]", about="The run's id; without it, all runs are counted.")] = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Watch a run until it has ended or is blocked; the exit code tells how. Without ID: count all runs, until Ctrl-C.

    With --json, one document at the end: the run's status; without ID, the counts and the rate of one second.
    """
    address = chosen_store(store)
    if id is not None:
        leave(run_async(_watch_run(id, address, json)))
    try:
        run_async(_watch_all(address, json))
    except KeyboardInterrupt:
        leave(exits.OK)  # how watching all runs is meant to end


# --- one run -------------------------------------------------------------------------------------------------


async def _watch_run(id: str, store: str | None, as_json: bool) -> int:
    console = out()
    async with existing_store(store) as app:
        found = await app.status(id)
        if as_json:
            async for latest in _statuses(app, id, tick=None):
                found = latest
            say_json(found)
        elif console.is_terminal:
            with _screen(console) as show:
                async for found in _statuses(app, id, tick=TICK_SECONDS):
                    show(story(found, await look(app, console, store)))
        else:
            found = await _tell_changes(app, id, console, store)
    return exits.code_of_state(found.state)


async def _statuses(app: App, id: str, tick: float | None) -> AsyncGenerator[RunStatus]:
    """The run's status now, at every change and, for what counts seconds, at every tick; ends with the run."""
    async for _ in _moments(app, tick):
        found = await app.status(id)
        yield found
        if found.state in ENDED or found.state == "blocked":
            return


async def _tell_changes(app: App, id: str, console: Console, store: str | None) -> RunStatus:
    """One line for each thing that has changed, in a log's manner; then the whole story."""
    told: set[str] = set()
    found = await app.status(id)
    async for found in _statuses(app, id, tick=None):
        now = SYSTEM.now()
        for key, line in changes(found, View(now, width_of(console))):
            if key not in told:
                told.add(key)
                say([Text(f"{clock_time(now)}  ").append_text(line)], console)
    view = await look(app, console, store)
    say(["", *story(found, view)], console)
    return found


# --- all runs ------------------------------------------------------------------------------------------------


class Tally:
    """Counts by state, and how fast runs end."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._samples: deque[tuple[float, int]] = deque()

    def take(self, counts: dict[str, int], at: float) -> None:
        """The counts at a moment of monotonic time."""
        self.counts = counts
        self._samples.append((at, self.ended))
        while len(self._samples) > 2 and at - self._samples[0][0] > RATE_SECONDS:
            self._samples.popleft()

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        return sum(self.counts.get(state, 0) for state in ENDED)

    @property
    def rate(self) -> float:
        """Runs that ended per second, of late."""
        (first, before), (last, after) = self._samples[0], self._samples[-1]
        return max(0, after - before) / (last - first) if last > first else 0.0

    def left(self) -> str:
        """How long until all that can end by itself has ended, at this rate; empty if nobody knows."""
        open_runs = self.total - self.ended - self.counts.get("blocked", 0)
        return f"about {whole(open_runs / self.rate)} left" if open_runs and self.rate else ""


async def _watch_all(store: str | None, as_json: bool) -> None:
    console = out()
    tally = Tally()
    async with existing_store(store) as app:
        if as_json:
            await _sample(app, tally)
            await asyncio.sleep(TICK_SECONDS)  # tidy: the second over which the rate is taken
            await _sample(app, tally)
            say_json({"counts": tally.counts, "ended_per_second": round(tally.rate, 2)})
        elif console.is_terminal:
            with _live(console) as live:
                async for _ in _moments(app, TICK_SECONDS):
                    pause = await _sample(app, tally)
                    live.update(_overview(app.client.store.address, tally, width_of(console)), refresh=True)
                    await asyncio.sleep(pause)  # tidy: counting takes time in a large store; do not do it all the time
        else:
            await _tell_counts(app, tally, console)


async def _tell_counts(app: App, tally: Tally, console: Console) -> None:
    before: dict[str, int] | None = None
    async for _ in _moments(app, TICK_SECONDS):
        pause = await _sample(app, tally)
        if tally.counts != before:
            before = tally.counts
            counts = "   ".join(line.plain for line in counted(tally.counts, width=10_000))
            say([f"{clock_time(SYSTEM.now())}  {counts}   {tally.rate:.1f} ended/s"], console)
        await asyncio.sleep(pause)  # tidy: counting takes time in a large store; do not do it all the time


async def _sample(app: App, tally: Tally) -> float:
    """Count; returns how long to wait before counting again."""
    began = SYSTEM.monotonic()
    counts = await app.client.store.counts()
    ended = SYSTEM.monotonic()
    tally.take(counts, ended)
    return 5 * (ended - began)


def _overview(address: str, tally: Tally, width: int) -> Group:
    lines = [Text(clean(address), style="bold")]
    digits = max((len(f"{count:,}") for count in tally.counts.values()), default=1)
    lines += [
        Text.assemble("  ", pad(f"{tally.counts[state]:,}", digits, right=True), "  ", state_text(state))
        for state in STATES
        if tally.counts.get(state)
    ]
    if not tally.counts:
        return Group(*lines, Text("  There are no runs yet."))
    row = Table.grid(padding=(0, 2))
    row.add_row(
        f"{tally.ended:,} of {tally.total:,} ended",
        ProgressBar(total=tally.total, completed=tally.ended, width=min(30, max(8, width - 50))),
        f"{tally.rate:.1f}/s",
        tally.left(),
    )
    return Group(*lines, row)


# --- when and where --------------------------------------------------------------------------------------------


async def _moments(app: App, tick: float | None) -> AsyncGenerator[None]:
    """Now, then whenever somebody has written, at most ten times a second; with a tick, at the latest after it."""
    heard = app.client.listen()
    while True:
        heard.clear()
        yield
        await asyncio.sleep(FRAME_SECONDS)  # tidy: a change every few milliseconds is too much for eyes
        try:
            async with asyncio.timeout(tick):
                await heard.wait()
        except TimeoutError:
            pass  # nothing was written, but time has passed


def _live(console: Console) -> Live:
    return Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)


@contextmanager
def _screen(console: Console) -> Generator[Callable[[list[Text]], None]]:
    """Lines that are drawn anew in place, without flicker: only when something has changed."""
    shown: list[Text] = []
    with _live(console) as live:

        def show(lines: list[Text]) -> None:
            nonlocal shown
            if lines != shown:
                shown = lines
                live.update(Group(*lines), refresh=True)

        yield show
