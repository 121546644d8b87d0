"""`motet forget`: the content of a conversation is erased, its shape stays."""

from __future__ import annotations

from typing import Annotated

import typer

from motet.cli.asking import YesOption, confirm, counted
from motet.cli.group import run_async
from motet.cli.layout import clean
from motet.cli.opening import existing_store
from motet.cli.options import JsonOption, StoreOption, argument, chosen_store, option
from motet.cli.pruning import compacted, sizes_in_words
from motet.cli.terminal import say, say_json
from motet.runtime.forgetting import Forgetter, Forgotten


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Care")(forget)


def forget(
    key: Annotated[str, argument(metavar="KEY", about="The conversation, or the id of a run in it.")],
    force: Annotated[
        bool,
        option("--force", about="Give up its dead letters, and what reactions and expectations have not come to."),
    ] = False,
    compact: Annotated[
        bool,
        option("--compact", about="Then write the store anew without its free space; everybody waits meanwhile."),
    ] = False,
    yes: YesOption = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Erase inputs, results, error texts, data of events, notes and attributes of a whole conversation.

    What happened and when is still told, with (forgotten) where content was; ids, keys and names stay. Refused while
    something in it is open; runs that are open are never forgotten, cancel them first.
    """
    run_async(_forget(key, force, compact, yes, chosen_store(store), json))


async def _forget(key: str, force: bool, compact: bool, yes: bool, address: str | None, as_json: bool) -> None:
    async with existing_store(address) as app:
        forgetter = Forgetter(app.client.store, app.client.keys)
        name = await forgetter.named(key)
        confirm(f"erase the content of conversation {clean(name)} for good", yes=yes)
        done = await forgetter.forget(name, force=force)
        sizes = await compacted(app) if compact else None
        where = app.client.store.address
    if as_json:
        say_json({"forgotten": done, "compacted": sizes})
    else:
        say(_told(done, sizes, in_file=where.startswith("sqlite:")))


def _told(done: Forgotten, sizes: dict[str, int] | None, *, in_file: bool) -> list[str]:
    what = (
        counted(done.runs, "run"), f"{counted(done.facts, 'fact')} of their histories", counted(done.events, "event")
    )  # fmt: skip
    lines = [f"Conversation {clean(done.conversation)} is forgotten: {', '.join(what)}"]
    if done.discarded:
        lines.append(f"  {counted(done.discarded, 'dead letter')} given up")
    if not done.scrubbed:
        lines.append(
            "  somebody reads an earlier state of the store; what its log still holds of that goes when they have "
            "finished: forget it again to make sure"
        )
    if sizes is None and in_file:
        lines.append(
            "  pages of the file that were rearranged earlier may hold pieces that no query finds: --compact writes it "
            "anew"
        )
    if not in_file:
        lines.append("  PostgreSQL keeps old versions of its rows until a vacuum: say VACUUM in psql to have it now")
    lines.append("  backups, and copies that other systems have, are as they were")
    return lines + sizes_in_words(sizes)
