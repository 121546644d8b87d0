"""What can be asked of the demo, checked before anything starts."""

from dataclasses import dataclass
from pathlib import Path

from .inputs import BadPurchases, generate, load
from .purchases import Purchase
from .styles import ONE_OWNER, STYLES, StyleName
from .verify import IN_FLIGHT_AT_LEAST

PURCHASES = 100
AFTER_SWITCH_AT_LEAST = 16
"""Of these, some are held back for trouble among several workers, and enough are left to be killed in."""


class BadOptions(Exception):
    """The demo cannot be run as asked. The message says what to change."""


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """How to run the demo.

    Args:
        style: how they take their course (`styles.py`). switch_to: another style, in which those begin that come after
        the first `at`. purchases: how many purchases to generate; None: 100, or twice `at`. workers: how many worker
        processes drive them, of each kind that there is; several are killed, paused and resumed all through, one is
        killed once. seed: the same seed makes the same purchases, with the same
        troubles. input: a file of purchases, one JSON object per line, instead of generated ones. headless:
        show no progress and no tables. json: print the report as one JSON object on standard output; what a
        person reads goes to standard error. keep: an empty folder for the store, the ledger and the logs,
        which stay there; None takes a temporary one. store: the store's address, instead of a new one in the
        folder; it must hold no runs. ignore_keys: let the bank and the campus ignore idempotency keys; the
        check must then find duplicates.
    """

    style: str = "hybrid"
    switch_to: str | None = None
    at: int | None = None
    purchases: int | None = None
    workers: int = 1
    seed: int = 1
    input: Path | None = None
    headless: bool = False
    json: bool = False
    keep: Path | None = None
    store: str | None = None
    ignore_keys: bool = False


def choose_purchases(options: DemoOptions) -> list[Purchase]:
    """Return the purchases to run; raises `BadOptions`."""
    count = options.purchases if options.purchases is not None else max(PURCHASES, 2 * (options.at or 0))
    try:
        purchases = load(options.input) if options.input else generate(count, options.seed)
    except BadPurchases as error:
        raise BadOptions(str(error)) from error
    if options.workers < 1:
        raise BadOptions(f"{options.workers} workers can do nothing; take 1 or more")
    if len(purchases) < IN_FLIGHT_AT_LEAST:
        raise BadOptions(
            f"{len(purchases)} purchases are too few: the worker is to be killed with {IN_FLIGHT_AT_LEAST}"
            f" of them in flight; take {IN_FLIGHT_AT_LEAST} or more"
        )
    switch_place(options, len(purchases))
    if all(purchase.trouble == "card_declined" for purchase in purchases):
        raise BadOptions("every card is declined, so nothing is ever done that a kill could leave unanswered")
    return purchases


def style_named(name: str) -> StyleName:
    """Return the style of this name; raises `BadOptions`."""
    for style in STYLES:
        if name == style:
            return style
    raise BadOptions(f"there is no style {name!r}; choose one of {', '.join(STYLES)}")


def switch_place(options: DemoOptions, purchases: int) -> tuple[StyleName, StyleName | None, int]:
    """Return the style, the one to switch to, and after how many purchases; raises `BadOptions`."""
    style, other = style_named(options.style), options.switch_to
    if other is None:
        if options.at is not None:
            raise BadOptions(f"--at {options.at} says where to switch, and --switch-to is missing, which says to what")
        return style, None, 0
    switch_to = style_named(other)
    if switch_to == style or (switch_to in ONE_OWNER and style in ONE_OWNER):
        raise BadOptions(
            f"from {style} to {switch_to} there is nothing to switch: the same workflow owns the purchase in both, and"
            " whoever only reacts can be added or removed at any time; switch from or to choreographed"
        )
    at = options.at if options.at is not None else purchases // 2
    if not IN_FLIGHT_AT_LEAST <= at <= purchases - AFTER_SWITCH_AT_LEAST:
        raise BadOptions(
            f"a switch at purchase {at} of {purchases} shows nothing: {IN_FLIGHT_AT_LEAST} or more have to come before,"
            f" {AFTER_SWITCH_AT_LEAST} or more afterwards"
        )
    return style, switch_to, at


def prepare_folder(keep: Path) -> Path:
    """Make the folder to keep everything in; raises `BadOptions`."""
    try:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise BadOptions(f"{keep} is not empty; name a new folder, so that no earlier demo is mixed in")
    except OSError as error:
        raise BadOptions(f"cannot use {keep}: {error.strerror}") from error
    return keep.resolve()
