"""`motet queues`: what waits where, and for how long; reading only."""

from __future__ import annotations

from collections.abc import Sequence

import typer
from rich.text import Text

from motet.cli.group import run_async
from motet.cli.layout import clean, table
from motet.cli.opening import existing_store
from motet.cli.options import JsonOption, StoreOption, chosen_store
from motet.cli.spans import whole
from motet.cli.terminal import out, say, say_json, width_of
from motet.model.clock import SECOND, SYSTEM, Micros
from motet.store.protocol import QueueRow


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Look")(queues)


def queues(store: StoreOption = None, json: JsonOption = False) -> None:
    """List the queues: how many runs of each may be driven at the same time, how many are, how many are due and wait.

    A run that waits for time, for another run or for a person is counted in neither.
    """
    run_async(_queues(chosen_store(store), json))


async def _queues(store: str | None, as_json: bool) -> None:
    now = SYSTEM.now()
    async with existing_store(store) as app:
        found = await app.client.store.queues(now)
    if as_json:
        say_json({"queues": [_as_json(row, now) for row in found]})
        return
    console = out()
    say(_listed(found, now, width_of(console)) if found else ["There are no queues and no runs yet."], console)


def _as_json(row: QueueRow, now: Micros) -> dict[str, object]:
    return {
        "name": row.name,
        "concurrency": row.concurrency,
        "running": row.running,
        "pending": row.pending,
        "oldest_waiting_seconds": None if row.oldest is None else round((now - row.oldest) / SECOND, 3),
    }


def _listed(found: Sequence[QueueRow], now: Micros, width: int) -> list[Text]:
    rows = [
        [
            Text(clean(row.name)),
            Text("-" if row.concurrency is None else f"{row.concurrency:,}"),
            Text(f"{row.running:,}"),
            Text(f"{row.pending:,}"),
            Text("-" if row.oldest is None else whole((now - row.oldest) / SECOND)),
        ]
        for row in found
    ]
    return table(("QUEUE", "LIMIT", "RUNNING", "PENDING", "OLDEST WAITS"), rows, width)
