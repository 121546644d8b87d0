"""One SQLite file, several processes: what they do together, and whether each gets its share.

Each process is client and worker, with its part of a thousand purchases in flight; all measure the same seconds.
"""

import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

from benchmarks.frame import Found, Frame, median, span

TITLE = "Several processes on one SQLite file"
PROCESSES = (1, 2, 4)
IN_FLIGHT = 1_000
PATIENCE_SECONDS = 120.0


def measure(frame: Frame) -> Found:
    return scale(frame, frame.fresh)


def scale(frame: Frame, fresh: Callable[[], AbstractContextManager[str]]) -> Found:
    """On stores that are not there yet."""
    samples: dict[str, list[Found]] = {str(count): [] for count in PROCESSES}
    for repeat in range(frame.repeats):
        for count in PROCESSES:
            with fresh() as store:
                samples[str(count)].append(_together(frame, store, count))
        rates = ", ".join(f"{found[-1]['runs_per_second']:,.0f}" for found in samples.values())
        frame.say(f"  repeat {repeat + 1} of {frame.repeats}: {rates} runs/s")
    return {"samples": samples}


def _together(frame: Frame, store: str, count: int) -> Found:
    """All begin when all are ready."""
    ready = threading.Barrier(count, timeout=PATIENCE_SECONDS)

    def heard(process: subprocess.Popen[str], said: Found) -> None:
        if said.get("ready"):
            ready.wait()
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()

    def drive(number: int) -> Found:
        given = {
            "store": store, "in_flight": IN_FLIGHT // count, "warm_up": frame.warm_up_seconds,
            "seconds": frame.seconds, "name": f"process-{number}",
        }  # fmt: skip
        return frame.probe("driving:drive", given, heard=heard)

    with ThreadPoolExecutor(count) as pool:
        found = list(pool.map(drive, range(count)))
    rates = [one["runs_per_second"] for one in found]
    return {
        "runs_per_second": sum(rates),
        "slowest_share": min(rates) / (sum(rates) / count),
        "p99_ms": max(one["p99_ms"] for one in found),
    }


def show(found: Found) -> list[str]:
    lines = ["processes  runs/s together: median (range)   slowest process's part of an even share   worst p99 ms"]
    for count, samples in found["samples"].items():
        shares = [sample["slowest_share"] for sample in samples]
        lines.append(
            f"{int(count):>9}  {span([sample['runs_per_second'] for sample in samples]):<34} "
            f"{span(shares, '.0%'):<41} {median([sample['p99_ms'] for sample in samples]):>13.0f}"
        )
    return lines
