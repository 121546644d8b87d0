"""`motet replay`: a reaction's events once more, or an exported run through the code on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from motet.cli.asking import YesOption
from motet.cli.exporting import replay_file
from motet.cli.group import UsageError
from motet.cli.options import JsonOption, StoreOption, argument, chosen_store, option
from motet.cli.reactions import replay_reaction


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Steer")(replay)


def replay(
    target: Annotated[
        str,
        argument(
            metavar="REACTION|FILE",
            about="A reaction, with or without the app's name in front; or a run's file, made by motet export.",
        ),
    ],
    start: Annotated[
        str | None,
        option("--from", metavar="POSITION|beginning|TIME", about="Of a reaction: the first event to deliver anew: its "
               "position, beginning, or the first one recorded at this time (ISO 8601 with its zone) or later."),
    ] = None,
    module: Annotated[
        str | None,
        option("--module", metavar="MODULE", about="Of a file: where the code is; by default where the run's was."),
    ] = None,
    to: Annotated[
        str | None, option("--to", metavar="OPERATION", about="Of a file: stop behind this one, as charge#1.")
    ] = None,
    yes: YesOption = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:  # fmt: skip
    """Deliver to a reaction once more; or take this machine's code through a run that was exported elsewhere.

    A reaction gets what it has had already, its dead letters too, and no other one notices; says first how many events
    that are, and asks. An exported run (without --from) is replayed as its worker would do it: no step runs, nothing is
    written, breakpoint() in the body works. It tells what was recorded and what the code did then, and at the end what
    would come next; where the code does something else it says so, and exits with 1.
    """
    if start is not None:
        if module is not None or to is not None:
            raise UsageError("--from is for reactions, --module and --to are for the files of exported runs")
        replay_reaction(target, start, yes=yes, store=chosen_store(store), as_json=json)
        return
    if not Path(target).is_file():
        raise UsageError(
            f"there is no file '{target}' (made by motet export RUN FILE); if it is a reaction, say from where: "
            f"motet replay {target} --from POSITION"
        )
    replay_file(Path(target), module, to, as_json=json)
