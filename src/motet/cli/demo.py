"""`motet demo`: a thin wrapper around the course purchase, wherever it lives.

In an installed wheel the example is part of the package; in a checkout it is beside `src`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import motet
from motet.cli.group import UsageError, leave
from motet.cli.options import JsonOption, StoreOption, chosen_store, option

INSTALLED = "motet._examples.course_purchase"
CHECKED_OUT = "examples.course_purchase"

StyleOption = Annotated[
    str,
    option(
        metavar="STYLE",
        about="Who owns a purchase: choreographed (nobody), orchestrated (one workflow), or hybrid "
        "(one workflow, and others react).",
    ),
]
SwitchOption = Annotated[
    str | None,
    option(
        "--switch-to",
        metavar="STYLE",
        about="Begin later purchases in this style, on the same store, while those "
        "under way finish in theirs; from or to choreographed.",
    ),
]
AtOption = Annotated[
    int | None,
    option(min=1, metavar="N", about="With --switch-to: after how many purchases; by default after half of them."),
]


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Begin")(demo)


def demo(
    style: StyleOption = "hybrid",
    switch_to: SwitchOption = None,
    at: AtOption = None,
    purchases: Annotated[
        int | None,
        option(
            min=1, metavar="N", about="How many purchases to generate; by default 100, or twice --at if that is more."
        ),
    ] = None,
    workers: Annotated[
        int,
        option(
            min=1,
            metavar="N",
            about="Worker processes, of each kind there is; several are killed, paused and resumed all through.",
        ),
    ] = 1,
    seed: Annotated[int, option(metavar="S", about="The same seed makes the same purchases and troubles.")] = 1,
    input: Annotated[
        Path | None,
        option(metavar="FILE", about="Purchases from a file, one JSON object per line, instead of generated ones."),
    ] = None,
    headless: Annotated[bool, option("--headless", about="Show no progress and no tables.")] = False,
    json: JsonOption = False,
    keep: Annotated[
        Path | None, option(metavar="FOLDER", about="An empty folder in which store, ledger and logs stay.")
    ] = None,
    ignore_keys: Annotated[
        bool,
        option("--ignore-keys", about="Play services that ignore idempotency keys; the check must then fail."),
    ] = False,
    store: StoreOption = None,
) -> None:
    """Many purchases, bad services, workers that are killed, and a check of the outcome.

    The outside ledger decides whether a promise was broken. The numbers have the same names in all styles: reactions is
    how often one has dealt with an event, noticed how many failures that nobody had published were found by a missed
    expectation. --switch-to adds switched_at and in_flight_at_switch. A store in PostgreSQL has its server crashed on
    the way, if that is on this machine and no other of its databases is in use.
    """
    package = _package()
    options = importlib.import_module(f"{package}.options")
    chosen = options.DemoOptions(
        style=style, switch_to=switch_to, at=at, purchases=purchases, workers=workers,
        seed=seed, input=input, headless=headless, json=json, keep=keep,
        store=chosen_store(store), ignore_keys=ignore_keys,
    )  # fmt: skip
    try:
        options.choose_purchases(chosen)
    except options.BadOptions as error:
        raise UsageError(str(error)) from error
    code: Any = importlib.import_module(f"{package}.demo").run_demo(chosen)
    leave(int(code))


def _package() -> str:
    """The example's name here. Raises UsageError: this installation came without it."""
    if importlib.util.find_spec("motet._examples") is not None:
        return INSTALLED
    root = Path(motet.__file__).resolve().parents[2]
    if not (root / "examples" / "course_purchase" / "__init__.py").is_file():
        raise UsageError("the example is not part of this installation; install Motet from its wheel")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    return CHECKED_OUT
