"""``python -m examples.course_purchase``: the same as ``motet demo``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from .demo import run_demo
from .options import DemoOptions
from .styles import STYLES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo from the command line."""
    defaults = DemoOptions()
    parser = argparse.ArgumentParser(
        prog="course_purchase",
        description="Many purchases, bad services, workers that are killed, and a check of the outcome.",
    )
    parser.add_argument(
        "--style", choices=STYLES, default=defaults.style, help="who owns the sequence, if anybody does"
    )
    parser.add_argument("--switch-to", choices=STYLES, help="begin later purchases in another style")
    parser.add_argument("--at", type=int, metavar="N", help="after how many purchases; half of them by default")
    parser.add_argument("--purchases", type=int, metavar="N", help="how many to generate; 100, or twice --at")
    parser.add_argument("--workers", type=int, default=defaults.workers, metavar="N", help="how many worker processes")
    parser.add_argument("--seed", type=int, default=defaults.seed, metavar="S", help="for other purchases")
    parser.add_argument("--input", type=Path, metavar="FILE", help="purchases from a file, one JSON object per line")
    parser.add_argument("--headless", action="store_true", help="no progress and no tables")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="an empty folder to keep store, ledger and logs in")
    parser.add_argument("--store", metavar="ADDRESS", help="the store to use; it must hold no runs")
    parser.add_argument("--ignore-keys", action="store_true", help="play services that ignore idempotency keys")
    return run_demo(DemoOptions(**vars(parser.parse_args(arguments))))


if __name__ == "__main__":
    raise SystemExit(main())
