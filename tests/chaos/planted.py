"""Does the campaign find planted bugs? ``python -m tests.chaos.planted [--seeds 10] [--bug NAME]``

Each bug of `tests/planted_bugs` that a campaign can see is planted in a copy of the tree, and short campaigns run
there, one for each seed. A bug is found when a campaign's checks name a promise that was not kept; a campaign that
breaks off or has met too few faults is a failure of its own and finds nothing. On a sound tree (`--bug none`) the same
campaigns must find nothing. Ends with 1 when a bug is found with less than nine of ten seeds, or anything on a sound
tree. Long: it copies the tree once for each bug, so that the tree may be changed meanwhile.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.planted_bugs.planting import bugs, copy_tree, git_apply

NONE: Final = "none"
LONGEST_SECONDS: Final = 300

ALWAYS: Final = (
    "--no-failpoints", "--kills", "0", "--pauses", "0", "--others", "1", "--quiet", "45", "--edges", "",
)  # fmt: skip
CALM: Final = "--seconds 6 --runs 200 --faults points"
ROUNDS: Final = CALM + " --kinds rounds"
CROWDED: Final = "--seconds 6 --runs 60 --faults points --kinds careful"
KILLED: Final = "--seconds 12 --runs 300 --kills 10 --faults kills --hurry 5 --kinds race,purchase"
LOCKED: Final = "--seconds 12 --runs 300 --kills 3 --faults kills,locks --hurry 4"
OVERTAKEN: Final = "--seconds 20 --runs 800 --pauses 4 --faults overtaken --hurry 10 --kinds race,purchase,family"
RETURNING: Final = "--seconds 12 --runs 250 --faults returns --hurry 8"
SPLIT: Final = (
    "--seconds 12 --runs 250 --kills 2 --faults points --points 'before AppendEvent' --hurry 4 --batch-rows 1"
)

DELIVERING: Final = "--seconds 12 --runs 40 --kills 6 --faults kills --hurry 4 --kinds nap --edges facts,bursts"
NIGHTS: Final = "--seconds 14 --runs 40 --faults kills --hurry 0.1 --kinds nap --edges expectations,nights"
WAITING: Final = "--seconds 10 --runs 40 --faults locks --hurry 3 --kinds nap --edges waits --quiet 15"

SHAPES: Final = {
    "acknowledged_before_commit": LOCKED,
    "buried_without_compare_and_set": RETURNING,
    "business_id_as_identity": ROUNDS,
    "cursor_moves_before_the_effect": DELIVERING,
    "fence_removed": OVERTAKEN,
    "index_misses_a_gap": WAITING,
    "missed_by_the_clock": NIGHTS,
    "places_not_counted": CROWDED,
    "published_outside_the_unit": SPLIT,
    "two_resolutions_per_drain": KILLED,
    "unit_split_over_two_transactions": SPLIT,
    "unwinding_begins_early": CALM,
    "wait_looks_before_it_registers": WAITING,
}
"""How each bug is provoked: where its rule matters, and no longer than that needs."""


class CampaignBroke(Exception):
    """A campaign could not be carried out."""


def campaign(tree: Path, shape: str, seed: int) -> list[str]:
    """One short campaign on the tree; which promises were not kept. Raises CampaignBroke."""
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join((str(tree / "src"), str(tree))), "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(tree.parent),
    }  # fmt: skip
    command = [sys.executable, "-m", "tests.chaos", "--seed", str(seed), *ALWAYS, *shlex.split(shape)]
    done = subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False
    )
    found = [line.removeprefix("BROKEN: ") for line in done.stdout.splitlines() if line.startswith("BROKEN: ")]
    if not found and done.returncode != 0:
        raise CampaignBroke(f"ended with {done.returncode}: {done.stderr[-2000:]}")
    promises = [words for words in found if not words.startswith("too few ")]
    if found and not promises:
        raise CampaignBroke(found[0])
    return promises


def plant(name: str, shape: str, seeds: range, shown: str) -> int:
    """With how many of the seeds something is found. Raises ValueError: the patch does not apply."""
    patches = {bug.name: bug.path for bug in bugs()}
    hits = 0
    with tempfile.TemporaryDirectory(prefix="motet-planted-") as folder:
        tree = copy_tree(Path(folder) / "tree")
        complaint = git_apply(patches[name], tree) if name != NONE else None
        if complaint is not None:
            raise ValueError(f"{name} does not apply: {complaint}")
        for seed in seeds:
            began = time.monotonic()
            try:
                found = campaign(tree, shape, seed)
            except (CampaignBroke, subprocess.TimeoutExpired) as error:
                found = []
                print(f"{shown}, seed {seed}: THE CAMPAIGN BROKE: {error}", flush=True)
                hits -= name == NONE  # so that it does not pass for a quiet one
            hits += bool(found)
            seconds = time.monotonic() - began
            print(
                f"{shown}, seed {seed}, {seconds:.0f} s: {' | '.join(words[:200] for words in found) or 'nothing'}",
                flush=True,
            )
    return hits


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.planted", description="Are planted bugs found?")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--bug", action="append", choices=(NONE, *SHAPES), help="only this one; may come again")
    chosen = parser.parse_args()
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
    well = True
    for name in chosen.bug or (NONE, *SHAPES):
        shapes = dict.fromkeys(SHAPES.values()) if name == NONE else (SHAPES[name],)
        for shape in shapes:
            shown = f"{NONE} ({shape})" if name == NONE else name
            hits = plant(name, shape, seeds, shown)
            print(f"{shown}: found with {hits} of {chosen.seeds} seeds", flush=True)
            well = well and (hits == 0 if name == NONE else hits * 10 >= chosen.seeds * 9)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
