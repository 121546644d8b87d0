"""Does the campaign find planted bugs? ``python -m tests.chaos.planted [--store postgres] [--seeds 10] [--bug NAME]``

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

from tests.chaos.shapes import ALWAYS, SHAPES
from tests.planted_bugs.planting import bugs, copy_tree, git_apply

NONE: Final = "none"
LONGEST_SECONDS: Final = 300


class CampaignBroke(Exception):
    """A campaign could not be carried out."""


def campaign(tree: Path, store: str, shape: str, seed: int) -> list[str]:
    """One short campaign on this store; which promises were not kept. Raises CampaignBroke."""
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join((str(tree / "src"), str(tree))), "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(tree.parent),
    }  # fmt: skip
    options = ["--store", store, "--seed", str(seed), *ALWAYS, *shlex.split(shape)]
    command = [sys.executable, "-m", "tests.chaos", *options]
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


def plant(name: str, store: str, shape: str, seeds: range, shown: str) -> int:
    """With how many of the seeds something is found. Raises ValueError: the patch does not apply."""
    patches = {bug.name: bug.path for bug in bugs()}
    hits = 0
    with tempfile.TemporaryDirectory(prefix="motet-planted-") as folder:
        Path(folder).chmod(0o755)  # a server runs as another user
        tree = copy_tree(Path(folder) / "tree")
        complaint = git_apply(patches[name], tree) if name != NONE else None
        if complaint is not None:
            raise ValueError(f"{name} does not apply: {complaint}")
        for seed in seeds:
            began = time.monotonic()
            try:
                found = campaign(tree, store, shape, seed)
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
    parser.add_argument("--store", choices=[*SHAPES], default="sqlite", help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--bug", action="append", help="only this one, or none; may come again")
    parser.add_argument("--shape", help="other options of the campaigns than those of `shapes.py`")
    chosen = parser.parse_args()
    shapes_of = SHAPES[chosen.store]
    if unknown := set(chosen.bug or ()) - {NONE, *shapes_of}:
        parser.error(f"on {chosen.store} there is no shape for {', '.join(sorted(unknown))}")
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
    well = True
    for name in chosen.bug or (NONE, *shapes_of):
        its_own = [*dict.fromkeys(shapes_of.values())] if name == NONE else [shapes_of[name]]
        for shape in [chosen.shape] if chosen.shape else its_own:
            shown = f"{NONE} ({shape})" if name == NONE else name
            hits = plant(name, chosen.store, shape, seeds, shown)
            print(f"{shown}: found with {hits} of {chosen.seeds} seeds", flush=True)
            well = well and (hits == 0 if name == NONE else hits * 10 >= chosen.seeds * 9)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
