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

from tests.chaos.campaign import Campaign
from tests.chaos.plan import FAULTS, PARTS, POSTGRES_FAULTS, Plan, points
from tests.chaos.postgres.campaign import PostgresCampaign

LOOSE = {
    "edges": ",".join(PARTS), "kinds": "purchase,race,nap", "seconds": 50.0, "runs": 120, "kills": 5, "pauses": 1,
    "others": 1, "hurry": 0.5,
}  # fmt: skip
"""Fewer faults than runs can bear: a reaction whose owners die again and again goes one by one."""
NEED_MANY_RUNS = ("overtaken", "returns", "held")
LOOSE_ON_POSTGRES = {
    **LOOSE, "seconds": 30.0, "quiet": 300.0, "runs": 40, "kills": 2, "replies": 1, "hurry": 0.6,
    "faults": ",".join(fault for fault in POSTGRES_FAULTS if fault not in {"points", *NEED_MANY_RUNS, "rollout"}),
}  # fmt: skip
"""Shorter, since there is more trouble; failpoints have a campaign of their own, deploys are a part of the edges."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Workers in all kinds of trouble.")
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite", help="default: %(default)s")
    parser.add_argument("--seed", type=int, help="of the first campaign (default: by chance, and printed)")
    parser.add_argument("--minutes", type=float, help="campaign after campaign, for so long (default: one)")
    parser.add_argument("--seconds", type=float, default=110.0, help="how long faults rage in each (default: 110)")
    parser.add_argument("--quiet", type=float, default=120.0, help="how long runs may take to end afterwards")
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--pauses", type=int, default=10)
    parser.add_argument("--others", type=int, default=3, help="the least number of each other fault")
    parser.add_argument("--replies", type=int, default=10, help="the least number of lost replies (PostgreSQL)")
    parser.add_argument("--no-failpoints", action="store_true", help="do not insist that each failpoint is met")
    parser.add_argument("--faults", default="", help="only these, with commas between (default: all)")
    parser.add_argument("--hurry", type=float, default=1.0, help="faults come so many times as often")
    parser.add_argument("--kinds", default="", help="only runs of these workflows, with commas between")
    parser.add_argument("--loose", action="store_true", help="the campaign of the loose edges: all of them, few runs")
    parser.add_argument("--edges", default="", help="these of the loose edges, with commas between (default: none)")
    parser.add_argument("--points", default="", help="only these failpoints: 'before EndRun,after EndRun'")
    parser.add_argument("--batch-rows", type=int, default=1_000, help="the most records that one commit may hold")
    parser.add_argument("--keep", action="store_true", help="keep the folders of campaigns that went well, too")
    hasty = parser.parse_args()
    if hasty.loose:
        parser.set_defaults(**(LOOSE if hasty.store == "sqlite" else LOOSE_ON_POSTGRES))
    chosen = parser.parse_args()
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(1_000_000)
    end = time.monotonic() + (chosen.minutes or 0) * 60
    while True:
        if not campaign(chosen, seed):
            return 1
        seed += 1
        if time.monotonic() >= end:
            return 0


def _names(text: str) -> frozenset[str]:
    return frozenset(name for name in text.split(",") if name)


def campaign(chosen: argparse.Namespace, seed: int) -> bool:
    """One campaign; whether all was well."""
    folder = Path(tempfile.mkdtemp(prefix=f"motet-chaos-{seed}-"))
    print(f"seed {seed}, in {folder}", flush=True)
    edges, named = _names(chosen.edges), _names(chosen.points)
    plan = Plan(
        seed, seconds=chosen.seconds, quiet=chosen.quiet, runs=chosen.runs, kills=chosen.kills, pauses=chosen.pauses,
        others=chosen.others, insist=not chosen.no_failpoints,
        faults=_names(chosen.faults) or frozenset(FAULTS if chosen.store == "sqlite" else POSTGRES_FAULTS),
        hurry=chosen.hurry, kinds=_names(chosen.kinds),
        edges=edges, points=tuple(p for p in points(edges) if not named or f"{p.when} {p.kind}" in named),
        batch_rows=chosen.batch_rows, store=chosen.store, replies=chosen.replies,
    )  # fmt: skip
    kind = Campaign if plan.store == "sqlite" else PostgresCampaign
    found = asyncio.run(kind(plan, folder, lambda words: print(words, flush=True)).run())
    for words in found:
        print(f"BROKEN: {words}", flush=True)
    if not found:
        print("all promises were kept", flush=True)
    if found:
        kind_of = f"--store {plan.store}{' --loose' if chosen.loose else ''}"
        print(f"again: python -m tests.chaos {kind_of} --seed {seed}; what is left is in {folder}", flush=True)
    elif not chosen.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return not found


if __name__ == "__main__":
    sys.exit(main())
