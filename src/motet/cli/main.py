"""The entry point: all commands put together, with what they share."""

from __future__ import annotations

import inspect
from importlib import metadata
from typing import Annotated, get_type_hints

import click
import typer
from typer.core import TyperArgument

from motet.cli import (
    care,
    charting,
    checking,
    conversation,
    dead_letters,
    demo,
    events,
    exits,
    expectations,
    exporting,
    forgetting,
    migrating,
    planning,
    pruning,
    queues,
    reactions,
    reading,
    rekeying,
    replaying,
    rerunning,
    running,
    serving,
    steering,
    versions,
    watching,
    workers,
)  # fmt: skip
from motet.cli.group import Commands
from motet.cli.options import Common, StoreOption, option
from motet.cli.terminal import make_robust, say

EPILOG = "\n\n".join(
    [
        "Exit codes:",
        *(f"{code:>4}  {meaning}" for code, meaning in exits.MEANINGS.items()),
        "With --json, errors are one JSON document on stderr. MOTET_DEBUG=1 shows tracebacks.",
    ]
)

app = typer.Typer(
    name="motet",
    cls=Commands,
    help="Durable workflows: start them, drive them, see what step they are in, what failed and what happens next.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    suggest_commands=False,  # click has suggestions of its own; both would be shown
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        say([f"motet {metadata.version('motet')}"])
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    store: StoreOption = None,
    version: Annotated[
        bool, option("--version", callback=_version, is_eager=True, about="Print the version and exit.")
    ] = False,
) -> None:
    """What all commands share."""
    context.obj = Common(store)


for group in (
    demo, serving, running, events, reading, watching, workers, queues, reactions, expectations, conversation, charting,
    planning, steering, rerunning, replaying, dead_letters, versions, checking, exporting, care, migrating, pruning,
    forgetting, rekeying,
):  # fmt: skip
    group.add_to(app)


def command() -> click.Command:
    """The whole tree as click sees it, for `main`, the tests and the reference in the docs."""
    tree = typer.main.get_command(app)
    assert isinstance(tree, click.Group)
    _explain(tree)
    return tree


def _explain(tree: click.Group) -> None:
    for part in tree.commands.values():
        if isinstance(part, click.Group):
            _explain(part)
        else:
            _explain_arguments(part)


def _explain_arguments(part: click.Command) -> None:
    """Click 8.5 has a help of its own for arguments, and clears the one that Typer before 0.26 has set."""
    assert part.callback is not None
    hints = get_type_hints(inspect.unwrap(part.callback), include_extras=True)
    for parameter in part.params:
        if isinstance(parameter, TyperArgument) and parameter.help is None:
            parameter.help = hints[parameter.name].__metadata__[0].help


def main() -> None:
    """Run the command line that this process was started with, and exit."""
    make_robust()
    command().main(prog_name="motet")
