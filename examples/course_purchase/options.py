"""What can be asked of the demo, checked before anything starts."""

from dataclasses import dataclass
from pathlib import Path

from .inputs import BadPurchases, generate, load
from .purchases import Purchase
from .verify import IN_FLIGHT_AT_LEAST


class BadOptions(Exception):
    """The demo cannot be run as asked. The message says what to change."""


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """How to run the demo.

    Args:
        purchases: how many purchases to generate. workers: how many worker processes drive them; several are killed,
        paused and resumed all through, one is killed once. seed: the same seed makes the same purchases, with the same
        troubles. input: a file of purchases, one JSON object per line, instead of generated ones. headless:
        show no progress and no tables. json: print the report as one JSON object on standard output; what a
        person reads goes to standard error. keep: an empty folder for the store, the ledger and the logs,
        which stay there; None takes a temporary one. store: the store's address, instead of a new one in the
        folder; it must hold no runs. ignore_keys: let the bank and the campus ignore idempotency keys; the
        check must then find duplicates.
    """

    purchases: int = 100
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
    try:
        purchases = load(options.input) if options.input else generate(options.purchases, options.seed)
    except BadPurchases as error:
        raise BadOptions(str(error)) from error
    if options.workers < 1:
        raise BadOptions(f"{options.workers} workers can do nothing; take 1 or more")
    if len(purchases) < IN_FLIGHT_AT_LEAST:
        raise BadOptions(
            f"{len(purchases)} purchases are too few: the worker is to be killed with {IN_FLIGHT_AT_LEAST}"
            f" of them in flight; take {IN_FLIGHT_AT_LEAST} or more"
        )
    if all(purchase.trouble == "card_declined" for purchase in purchases):
        raise BadOptions("every card is declined, so nothing is ever done that a kill could leave unanswered")
    return purchases


def prepare_folder(keep: Path) -> Path:
    """Make the folder to keep everything in; raises `BadOptions`."""
    try:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise BadOptions(f"{keep} is not empty; name a new folder, so that no earlier demo is mixed in")
    except OSError as error:
        raise BadOptions(f"cannot use {keep}: {error.strerror}") from error
    return keep.resolve()
