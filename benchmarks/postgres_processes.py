"""One PostgreSQL, several workers in processes of their own: what they do together.

Each process is client and worker, with its part of a thousand purchases in flight; all measure the same seconds. Server
and workers share this machine's cores.
"""

import os

from benchmarks import processes
from benchmarks.frame import Found, Frame, median, verdict
from benchmarks.postgres import served

TITLE = "PostgreSQL: several workers"


def measure(frame: Frame) -> Found:
    with served(frame) as fresh:
        found = processes.scale(frame, fresh)
    one, two = found["samples"]["1"], found["samples"]["2"]
    ratios = [b["runs_per_second"] / a["runs_per_second"] for a, b in zip(one, two, strict=True)]
    return found | {"two_to_one": median(ratios), "cores": os.cpu_count()}


def show(found: Found) -> list[str]:
    goal = verdict(found["two_to_one"], 1.0, at_least=True)
    return [
        *processes.show(found),
        f"two workers do {found['two_to_one']:.2f} of what one does, on {found['cores']} cores; {goal}",
    ]
