"""`python -m benchmarks`: measure, and say what was measured, on what, against what."""

import argparse
import json
import shutil
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks import (
    alone,
    delivering,
    machine,
    meters,
    postgres_cost,
    postgres_large,
    postgres_processes,
    postgres_throughput,
    postgres_waking,
    processes,
    profiling,
    pruning,
    publishing,
    throughput,
    waiting,
    waking,
)  # fmt: skip
from benchmarks.frame import Found, Frame, ProbeFailed, best_loop, on_disk

BENCHMARKS: dict[str, ModuleType] = {
    "throughput": throughput,
    "alone": alone,
    "processes": processes,
    "waking": waking,
    "waiting": waiting,
    "delivering": delivering,
    "publishing": publishing,
    "postgres": postgres_throughput,
    "postgres-processes": postgres_processes,
    "postgres-waking": postgres_waking,
    "postgres-large": postgres_large,
    "postgres-cost": postgres_cost,
    "pruning": pruning,
}

CAVEATS = """\
One process is client and worker; steps are empty async functions; payloads are small (about 100 bytes).
Runs/s count ended runs in a window after a warm-up, latency is from the call of `start` to the result in hand.
Each repeat is a fresh process on a fresh file; the median counts. The machine is not ours alone: compare ratios, which
are measured back to back, rather than rates. The ratio's limit does no checkpoints and commits each run once, in its
final state; the store commits each run at least four times (start, two results, end with the event).
"stolen" is the share of time in which the loop's thread waited for a core that others had: above a few percent, rates
and ratios at 100 and 1,000 in flight are too low, for the raw limit needs one thread and the worker two.
Deliveries are of 100,000 events of 1,000 keys that are in the log already; the bare loop reads, decodes and awaits in
one thread and records nothing. Both read a file that the system has just written, so from memory.
MB are 10^6 bytes; peaks are of the whole process, interpreter and libraries included."""


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="What Motet costs, measured here and now."
    )
    parser.add_argument("--only", choices=BENCHMARKS, action="append", help="this benchmark only (may be given again)")
    parser.add_argument("--profile", action="store_true", help="where the time goes at 1,000 in flight, instead")
    parser.add_argument("--quick", action="store_true", help="a short version: rough numbers")
    parser.add_argument(
        "--large", action="store_true", help="load a million runs and ten million events (minutes, 5 GB)"
    )
    parser.add_argument("--json", metavar="FILE", help="write everything that was found into this file as well")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default=best_loop(), help="default: %(default)s")
    parser.add_argument(
        "--folder", help="where to make the stores (default: the system's temporary folder, if on a disk)"
    )
    return parser.parse_args(arguments)


def measure(frame: Frame, chosen: dict[str, ModuleType]) -> Found:
    """Everything that was found, shown as it is found."""
    found: Found = {"quick": frame.quick}
    for name, benchmark in {"machine": machine, **chosen}.items():
        print(f"\n== {benchmark.TITLE}", flush=True)
        found[name] = benchmark.measure(frame)
        print("\n".join(benchmark.show(found[name])), flush=True)
    found["load_after"] = meters.load()
    return found


def main() -> int:
    chosen = options()
    console = Console(stderr=True)
    names = chosen.only or list(BENCHMARKS)
    benchmarks = {"profile": profiling} if chosen.profile else {name: BENCHMARKS[name] for name in names}
    folder = Path(tempfile.mkdtemp(prefix="motet-bench-", dir=on_disk(chosen.folder, machine.memory_only)))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=console, transient=True)
    try:
        with bar if console.is_terminal else nullcontext():
            line = bar.add_task("", total=1.0, visible=False)  # tidy: rich's own word

            def progress(part: float, text: str) -> None:
                bar.update(line, completed=part, description=text, visible=part < 1)

            frame = Frame(folder, chosen.loop, chosen.quick, large=chosen.large, progress=progress)
            found = measure(frame, benchmarks)
    except ProbeFailed as error:
        print(f"benchmarks: {error}; what it said is above", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n== Caveats\n{CAVEATS}\nLoad average at the end: {found['load_after']:.1f}.")
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
