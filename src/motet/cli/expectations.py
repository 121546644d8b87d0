"""`motet expectations`: what is expected after which events, what has not come, and since when; reading only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import typer
from rich.text import Text

from motet.choreography.expectations import ExpectationNote, read_note
from motet.cli.group import UsageError, run_async
from motet.cli.layout import clean, table
from motet.cli.opening import existing_store
from motet.cli.options import JsonOption, StoreOption, argument, chosen_store, option
from motet.cli.spans import ago, due, whole
from motet.cli.terminal import out, say, say_json, width_of
from motet.model.clock import SECOND, SYSTEM, Micros
from motet.model.expected import EXPECTED_STATES, Expected, ExpectedState
from motet.orchestration.timing import END_OF_TIME
from motet.status import iso
from motet.store.protocol import CursorRow, ExpectedFilter

NOT_COME: tuple[ExpectedState, ...] = ("missed", "open")

NameArgument = Annotated[
    str | None, argument(metavar="[NAME]", about="One expectation, as shop/receipt or receipt; without it, all.")
]
StateOption = Annotated[
    list[str] | None,
    option("--state", metavar="STATE", about="List those in this state, several times for several: open, met, missed "
           "or late. By default what has not come: open and missed."),
]  # fmt: skip
LimitOption = Annotated[int, option("--limit", metavar="NUMBER", min=0, about="List at most so many, oldest first.")]


class Watched(NamedTuple):
    """An expectation as the store knows it."""

    cursor: CursorRow
    note: ExpectationNote
    counts: dict[ExpectedState, int]
    behind: int


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Look")(expectations)


def expectations(
    name: NameArgument = None, state: StateOption = None, limit: LimitOption = 20, store: StoreOption = None,
    json: JsonOption = False,
) -> None:  # fmt: skip
    """List the expectations: how many are open, met, late and missed; then those whose event has not come.

    Met and late are judged by the events' own times. BEHIND is how many events of the log are still to be read; of one
    that no worker follows, nothing is noticed.
    """
    run_async(_expectations(name, _states(state), limit, chosen_store(store), json))


def _states(given: Sequence[str] | None) -> tuple[ExpectedState, ...]:
    for name in given or ():
        if name not in EXPECTED_STATES:
            raise UsageError(f"--state {name}: there is no such state; use one of {', '.join(EXPECTED_STATES)}")
    found: list[ExpectedState] = [known for known in EXPECTED_STATES if known in (given or NOT_COME)]
    return tuple(found)


async def _expectations(
    name: str | None, states: tuple[ExpectedState, ...], limit: int, address: str | None, as_json: bool
) -> None:
    now = SYSTEM.now()
    async with existing_store(address) as app:
        store = app.client.store
        head, counts = await store.head(), await store.expected_counts()
        watched = {
            cursor.name: Watched(
                cursor, read_note(cursor.definition), counts.get(cursor.name, {}), _behind(cursor, head)
            )
            for cursor in await store.cursors()
            if cursor.kind == "expectation"
        }
        if name is not None:
            watched = _only(name, watched)
        rows: list[Expected] = []
        for one in watched if name is not None else [None]:
            rows += await store.expected(ExpectedFilter(one, states, limit=limit))
    if as_json:
        say_json({
            "expectations": [_as_json(one) for one in watched.values()],
            "listed": [_row_as_json(row, watched) for row in rows],
        })  # fmt: skip
        return
    console = out()
    width = width_of(console)
    if not watched:
        say(["There are no expectations. They are declared with app.expect(...) and known once a worker has started."])
        return
    say(_listed(list(watched.values()), width), console)
    if rows:
        say(["", *_rows_listed(rows, watched, now, width)], console)


def _only(name: str, watched: dict[str, Watched]) -> dict[str, Watched]:
    found = {full: one for full, one in watched.items() if name in (full, full.rpartition("/")[2])}
    if not found:
        known = ", ".join(watched) or "none"
        raise UsageError(f"there is no expectation '{name}' in this store; known: {known}")
    return found


def _behind(cursor: CursorRow, head: int) -> int:
    return max(head - cursor.position, 0)


def _due(row: Expected, watched: dict[str, Watched]) -> Micros | None:
    """An open one is judged by what the code says now."""
    if row.due is not None or row.expectation not in watched:
        return row.due
    return min(row.armed_at + watched[row.expectation].note.within, END_OF_TIME)


def _as_json(one: Watched) -> dict[str, Any]:
    cursor, note = one.cursor, one.note
    return {
        "name": cursor.name, "expected": note.expected, "after": note.after, "within_seconds": note.within / SECOND,
        "each": note.each, "remedy": note.remedy, "declared_at": note.place,
        **{state: one.counts.get(state, 0) for state in EXPECTED_STATES},
        "owner": cursor.owner, "paused": cursor.paused, "behind": one.behind,
    }  # fmt: skip


def _row_as_json(row: Expected, watched: dict[str, Watched]) -> dict[str, Any]:
    due_at = _due(row, watched)
    return {
        "expectation": row.expectation, "key": row.key, "state": row.state, "trigger": row.event,
        "conversation": row.conversation, "armed_at": iso(row.armed_at), "due": iso(due_at),
        "triggers": row.triggers, "early": row.early,
        "came": row.came, "came_at": iso(row.came_at),
        "missed_at": iso(row.missed_at),
    }  # fmt: skip


def _listed(found: Sequence[Watched], width: int) -> list[Text]:
    rows = [
        [
            Text(clean(one.cursor.name)),
            Text(f"{clean(one.note.expected)} in {whole(one.note.within / SECOND)} after {clean(one.note.after)}"),
            *(Text(f"{one.counts.get(state, 0):,}", style=_style(one, state)) for state in EXPECTED_STATES),
            Text("paused" if one.cursor.paused else f"{one.behind:,}" if one.cursor.owner is not None else "unwatched"),
        ]
        for one in found
    ]
    heads = ("EXPECTATION", "EXPECTED", "OPEN", "MET", "MISSED", "LATE", "BEHIND")
    return table(heads, rows, width, dispensable=(1,))


def _style(one: Watched, state: ExpectedState) -> str:
    return "red" if state == "missed" and one.counts.get(state) else ""


def _rows_listed(rows: Sequence[Expected], watched: dict[str, Watched], now: Micros, width: int) -> list[Text]:
    lines = [
        [
            Text(clean(row.key)),
            Text(clean(row.expectation)),
            Text(row.state, style="red" if row.state == "missed" else ""),
            Text(ago(_text(row.armed_at), now)),
            Text(_when(_due(row, watched), now)),
            Text(f"{row.early}" if row.early else ""),
            Text(clean(row.conversation)),
        ]
        for row in rows
    ]
    heads = ("KEY", "EXPECTATION", "STATE", "SINCE", "DUE", "EARLY", "CONVERSATION")
    return table(heads, lines, width, dispensable=(6, 1))


def _when(at: Micros | None, now: Micros) -> str:
    if at is None:
        return "?"
    return due(_text(at), now) if at > now else ago(_text(at), now)


def _text(at: Micros) -> str:
    return iso(at) or ""
