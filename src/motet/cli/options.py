"""Options that several commands share, and what they mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, cast

import click
import typer

# Typer's own types are not complete; and through these two, nothing can be declared without saying what it is for.
_option = cast("Callable[..., Any]", typer.Option)  # pyright: ignore[reportUnknownMemberType]
_argument = cast("Callable[..., Any]", typer.Argument)  # pyright: ignore[reportUnknownMemberType]


def option(*names: str, about: str, **settings: Any) -> Any:
    """An option of a command, for `Annotated`."""
    return _option(*names, help=about, **settings)


def argument(*, about: str, metavar: str) -> Any:
    """An argument of a command, for `Annotated`."""
    return _argument(help=about, metavar=metavar)


STORE_HELP = "The store's address; by default MOTET_STORE, else sqlite:///motet.db in the current folder."

StoreOption = Annotated[str | None, option("--store", metavar="ADDRESS", about=STORE_HELP)]
JsonOption = Annotated[bool, option("--json", about="Print one JSON document, and nothing else, on stdout.")]
RunArgument = Annotated[str, argument(metavar="ID", about="The run's id.")]
ModuleArgument = Annotated[
    str,
    argument(
        metavar="MODULE",
        about="package.module:app, or package.module if it holds one app; found from the current folder.",
    ),
]


@dataclass(slots=True)
class Common:
    """What stands before the command's name."""

    store: str | None = None


def chosen_store(own: str | None) -> str | None:
    """The store named on the command line: after the command, else before it; None: the environment decides."""
    if own is not None:
        return own
    common = click.get_current_context().find_root().obj
    return common.store if isinstance(common, Common) else None
