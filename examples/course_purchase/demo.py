"""The demo: many purchases, bad services, a `kill -9` at the worst moment, and a check of the outcome.

    ledger and worker start ──> purchases run ──> replies withheld ──> kill -9
                                                                          │
    verdict <── ledger read <── all ended <── replies released, new worker ─┘

The worst moment is made, not waited for: the ledger does the work and withholds its replies, so the worker
dies with effects done that nobody was told of. With several workers, all of them die in that moment; and from
then on single ones are killed, or stand still for longer than their lease, until the last purchase has ended
(`crew.py`). The demo itself is a client like any other: it starts purchases and reads results. In the choreographed
style the worker is four services, and there is nobody to ask how a purchase has ended: see `styles.py`.
"""

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

from rich.console import Console

from motet.errors import MotetError

from .campaign import Campaign, Orders
from .connections import ServiceUnreachable
from .fields import BadField
from .options import BadOptions, DemoOptions, choose_purchases, prepare_folder, switch_place
from .processes import ChildDied
from .purchases import Purchase
from .screen import Screen
from .verify import Verdict

KEPT, BROKEN, BAD_USE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: all promises kept; one broken, or the demo could not be finished; asked wrongly; Ctrl-C."""


def run_demo(options: DemoOptions) -> int:
    """Run the demo and return its exit code: 0 only if every promise was kept."""
    try:
        purchases = choose_purchases(options)
        folder = prepare_folder(options.keep) if options.keep else Path(tempfile.mkdtemp(prefix="motet-demo-"))
    except BadOptions as error:
        print(f"motet demo: {error}", file=sys.stderr)
        return BAD_USE
    code = BROKEN
    try:
        code = _run_in(folder, purchases, options)
    except BadOptions as error:
        print(f"motet demo: {error}", file=sys.stderr)
        code = BAD_USE
    except KeyboardInterrupt:
        print("motet demo: stopped; all its processes have ended", file=sys.stderr)
        code = INTERRUPTED
    except (ChildDied, MotetError, ServiceUnreachable, BadField, OSError) as error:
        print(f"motet demo: could not finish: {error}", file=sys.stderr)
    finally:
        _leave(folder, code, options)
    return code


def _run_in(folder: Path, purchases: list[Purchase], options: DemoOptions) -> int:
    screen = Screen(_console(options))
    with _store_variable(options.store or f"sqlite:///{folder / 'motet.db'}"):
        style, switch_to, at = switch_place(options, len(purchases))
        orders = Orders(
            style=style,
            switch_to=switch_to,
            at=at,
            ignore_keys=options.ignore_keys,
            workers=options.workers,
            seed=options.seed,
        )
        campaign = Campaign(folder, purchases, screen, orders)
        with screen:
            verdict = asyncio.run(campaign.run())
    screen.outcome(purchases, campaign.outcome_of, verdict)
    _print_report(verdict, options)
    return BROKEN if verdict.broken else KEPT


def _console(options: DemoOptions) -> Console | None:
    if options.headless:
        return None
    return Console(stderr=options.json, highlight=False)


def _print_report(verdict: Verdict, options: DemoOptions) -> None:
    report = verdict.report.as_dict()
    if options.json:
        print(json.dumps(report))
    elif options.headless:
        for name, value in report.items():
            print(f"{name} {value}")
    if options.headless or options.json:
        for broken in verdict.broken:
            print(f"broken: {broken}", file=sys.stderr)


def _leave(folder: Path, code: int, options: DemoOptions) -> None:
    """Remove the temporary folder, unless it holds what a person needs to see why it went wrong."""
    if options.keep is None and code != BROKEN:
        shutil.rmtree(folder, ignore_errors=True)
    elif not options.headless or code == BROKEN:
        print(f"store, ledger and logs are in {folder}", file=sys.stderr)


@contextlib.contextmanager
def _store_variable(store: str) -> Generator[None, None, None]:
    """Point this process and its children at the demo's store for as long as the demo runs."""
    before = os.environ.get("MOTET_STORE")
    os.environ["MOTET_STORE"] = store
    try:
        yield
    finally:
        if before is None:
            del os.environ["MOTET_STORE"]
        else:
            os.environ["MOTET_STORE"] = before
