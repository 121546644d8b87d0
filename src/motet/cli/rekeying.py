"""`motet rekey`: everything under the current key."""

from __future__ import annotations

from typing import Annotated

import typer

from motet.cli.asking import counted
from motet.cli.bars import bar
from motet.cli.exits import FAILED, OK
from motet.cli.group import leave, run_async
from motet.cli.opening import existing_store
from motet.cli.options import JsonOption, StoreOption, chosen_store, option
from motet.cli.pruning import compacted, sizes_in_words
from motet.cli.terminal import err, say, say_json
from motet.model.clock import SYSTEM
from motet.runtime.rekeying import Rekeyed, Rekeying


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Care")(rekey)


def rekey(
    compact: Annotated[
        bool,
        option("--compact", about="Then write the store anew without its free space; everybody waits meanwhile."),
    ] = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Encrypt every payload with the current key of MOTET_KEYS; with none as the current key, encrypt nothing any more.

    In small transactions, while everything runs; all processes must have the same current key by then. Exits with 1 if
    something is left under another key.
    """
    done = run_async(_rekey(compact, chosen_store(store), json))
    leave(FAILED if done.left or done.broken else OK)


async def _rekey(compact: bool, address: str | None, as_json: bool) -> Rekeyed:
    async with existing_store(address) as app:
        rekeying = Rekeying(app.client.store, app.client.keys, SYSTEM)
        with bar(err(), "encrypting", "records") as report:
            done = await rekeying.rekey(report)
        sizes = await compacted(app) if compact else None
        where = app.client.store.address
    if as_json:
        say_json({"rekeyed": done, "compacted": sizes})
    else:
        say([*_told(done, compacted=sizes is not None or not where.startswith("sqlite:")), *sizes_in_words(sizes)])
    return done


def _told(done: Rekeyed, *, compacted: bool) -> list[str]:
    lines = [f"{counted(done.rows, 'record')} of {done.walked:,} encrypted anew"]
    if done.broken:
        lines.append(f"  {counted(done.broken, 'record')} cannot be opened, and stay as they are: they were changed")
    if done.left:
        lines.append(
            f"  {counted(done.left, 'record')} came under another key meanwhile: some process has another current key"
        )
    if done.dropped:
        lines.append(f"  nothing is under {', '.join(done.dropped)} any more: remove it from MOTET_KEYS")
    if not compacted:
        lines.append("  pages of the file may hold pieces of what was there before: --compact writes it anew")
    return lines
