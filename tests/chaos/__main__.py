"""`python -m tests.chaos`: campaigns with printed seeds, for minutes or for hours."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.campaign import Campaign, Plan


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Workers in all kinds of trouble.")
    parser.add_argument("--seed", type=int, help="of the first campaign (default: by chance, and printed)")
    parser.add_argument("--minutes", type=float, help="campaign after campaign, for so long (default: one)")
    parser.add_argument("--seconds", type=float, default=110.0, help="how long faults rage in each (default: 110)")
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--pauses", type=int, default=10)
    parser.add_argument("--others", type=int, default=3, help="the least number of each other fault")
    parser.add_argument("--no-failpoints", action="store_true", help="do not insist that each failpoint is met")
    parser.add_argument("--keep", action="store_true", help="keep the folders of campaigns that went well, too")
    chosen = parser.parse_args()
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(1_000_000)
    end = time.monotonic() + (chosen.minutes or 0) * 60
    while True:
        if not campaign(chosen, seed):
            return 1
        seed += 1
        if time.monotonic() >= end:
            return 0


def campaign(chosen: argparse.Namespace, seed: int) -> bool:
    """One campaign; whether all was well."""
    folder = Path(tempfile.mkdtemp(prefix=f"motet-chaos-{seed}-"))
    print(f"seed {seed}, in {folder}", flush=True)
    plan = Plan(
        seed, seconds=chosen.seconds, runs=chosen.runs, kills=chosen.kills, pauses=chosen.pauses, others=chosen.others,
        failpoints=not chosen.no_failpoints,
    )  # fmt: skip
    found = asyncio.run(Campaign(plan, folder, lambda words: print(words, flush=True)).run())
    for words in found:
        print(f"BROKEN: {words}", flush=True)
    if not found:
        print("all promises were kept", flush=True)
    if found:
        print(f"again: python -m tests.chaos --seed {seed}; what is left is in {folder}", flush=True)
    elif not chosen.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return not found


if __name__ == "__main__":
    sys.exit(main())
