"""Where the time goes at 1,000 in flight, on the thread that runs the event loop.

Two looks at the same load, each in a process of its own. *Samples*: a timer interrupts the process every
millisecond and notes where the loop's thread stands; that costs a few percent and is what to believe. *Calls*: cProfile
counts each call of that thread; it makes small functions look dearer than they are, but knows how often they run.

A sample belongs to the component of the innermost frame that is Motet's (or the benchmark's); what C code and the
standard library do is on the account of whoever called them. The interpreter handles signals between two
instructions, so a long call into C is noted at its end. Time on a core, and time spent waiting for one because of other
programs, are the kernel's own counts for each thread.
"""

import cProfile
import gc
import pstats
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

import motet
from benchmarks.driving import Crowd
from benchmarks.frame import Found, Frame

TITLE = "Where the time goes at 1,000 in flight"
IN_FLIGHT = 1_000
EVERY_SECONDS = 0.001
TOP = 22

PACKAGE = str(Path(motet.__file__).parent) + "/"
HERE = (str(Path(__file__).with_name("driving.py")), str(Path(__file__).with_name("purchase.py")))

# The first that a file's path begins with.
COMPONENTS = {
    "client.py": "start (client)",
    "runtime/waiting.py": "waiting for results",
    "model/codec.py": "codec",
    "model/": "model (failures, ids, events)",
    "orchestration/loop.py": "machine: its event loop",
    "orchestration/": "machine",
    "runtime/attempts.py": "attempts",
    "runtime/threads.py": "attempts",
    "runtime/driver.py": "driver",
    "runtime/carrying.py": "driver",
    "runtime/timers.py": "timers",
    "runtime/committer.py": "committer",
    "store/mutations.py": "committer",
    "store/": "store, the loop's side",
    "runtime/": "worker, pulse",
    "": "other",
}


class Samples:
    """Where the main thread stood, each millisecond."""

    def __init__(self) -> None:
        self.stacks: Counter[tuple[CodeType, ...]] = Counter()
        self.collecting = 0
        self.gc_seconds = 0.0
        self._gc_began = 0.0

    def begin(self) -> None:
        gc.callbacks.append(self._collected)
        signal.signal(signal.SIGALRM, self._note)
        signal.setitimer(signal.ITIMER_REAL, EVERY_SECONDS, EVERY_SECONDS)

    def end(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.callbacks.remove(self._collected)

    def _note(self, _number: int, frame: FrameType | None) -> None:
        stack: list[CodeType] = []
        while frame is not None:
            stack.append(frame.f_code)
            frame = frame.f_back
        self.stacks[tuple(stack)] += 1

    def _collected(self, phase: str, _info: dict[str, int]) -> None:
        now = time.perf_counter()
        if phase == "start":
            self._gc_began = now
        else:
            self.gc_seconds += now - self._gc_began

    def found(self) -> Found:
        components: Counter[str] = Counter()
        functions: Counter[str] = Counter()
        inclusive: Counter[str] = Counter()
        for stack, count in self.stacks.items():
            component, function = _owner(stack)
            components[component] += count
            functions[function] += count
            for code in {code for code in stack if code.co_filename.startswith(PACKAGE)}:
                inclusive[_label(code)] += count
        total = max(1, sum(components.values()))
        return {
            "samples": total,
            "components": {name: count / total for name, count in components.most_common()},
            "functions": {name: count / total for name, count in functions.most_common(TOP)},
            "inclusive": {name: count / total for name, count in inclusive.most_common(TOP * 2)},
            "gc_seconds": self.gc_seconds,
        }


def _label(code: CodeType) -> str:
    return f"{code.co_filename.removeprefix(PACKAGE)}:{code.co_firstlineno} {code.co_qualname}"


def _owner(stack: tuple[CodeType, ...]) -> tuple[str, str]:
    """The component and the function that a sample belongs to."""
    for code in stack:
        if code.co_filename.startswith(PACKAGE):
            path = code.co_filename.removeprefix(PACKAGE)
            component = next(name for start, name in COMPONENTS.items() if path.startswith(start))
            return component, _label(code)
        if code.co_filename in HERE:
            return "the benchmark's customers and steps", f"benchmarks: {code.co_qualname}"
    top = stack[0]
    name = f"{Path(top.co_filename).name}:{top.co_firstlineno} {top.co_qualname}"
    idle = top.co_filename.endswith("selectors.py")
    return ("waiting for the disk or for others (select)" if idle else "asyncio itself"), name


async def sampled(given: Found) -> Found:
    """The probe: `store`, `warm_up`, `seconds`."""
    crowd = Crowd(given["store"])
    samples = Samples()
    async with crowd.app.worker():
        found = await crowd.drive(IN_FLIGHT, given["warm_up"], given["seconds"], samples.begin, samples.end)
    return found | samples.found()


async def counted(given: Found) -> Found:
    """The probe: as `sampled`, with cProfile."""
    crowd = Crowd(given["store"])
    profile = cProfile.Profile(builtins=True)
    async with crowd.app.worker():
        found = await crowd.drive(IN_FLIGHT, given["warm_up"], given["seconds"], profile.enable, profile.disable)
    stats = pstats.Stats(profile, stream=sys.stderr)
    rows = stats.stats.items()  # type: ignore[attr-defined]
    total = sum(row[2] for _, row in rows)
    dearest = sorted(rows, key=lambda item: -item[1][2])[:TOP]
    calls = [
        {"function": _name(*where), "calls_per_run": row[1] / max(1, found["runs"]), "share": row[2] / total}
        for where, row in dearest
    ]
    return found | {"calls": calls, "all_calls_per_run": sum(row[1] for _, row in rows) / max(1, found["runs"])}


def _name(path: str, line: int, function: str) -> str:
    if path == "~":
        return function
    short = path.removeprefix(PACKAGE) if path.startswith(PACKAGE) else Path(path).name
    return f"{short}:{line} {function}"


def measure(frame: Frame) -> Found:
    given = {"warm_up": frame.warm_up_seconds, "seconds": frame.seconds * (1 if frame.quick else 2)}
    with frame.fresh() as store:
        samples = frame.probe("profiling:sampled", {"store": store, **given})
    with frame.fresh() as store:
        calls = frame.probe("profiling:counted", {"store": store, **given})
    return {"sampled": samples, "counted": calls}


def show(found: Found) -> list[str]:
    sampled, counted = found["sampled"], found["counted"]
    rate = sampled["runs_per_second"]
    threads = sampled["used"]["threads"]
    lines = [
        f"{rate:,.0f} runs/s while sampled: {1e6 / rate:.0f} us of wall clock per run",
        "",
        "threads, in shares of one core:",
    ]
    for name, use in sorted(threads.items(), key=lambda item: -item[1]["busy"]):
        lines.append(f"  {name:<22} busy {use['busy']:>6.1%}   waiting for a core {use['queued']:>6.1%}")
    busy = threads.get("MainThread", {"busy": 1.0, "queued": 0.0})
    still = 1 - busy["busy"] - busy["queued"]
    lines += [
        f"the loop's thread stood still {still:.1%} of the time: idle, or waiting for the interpreter's lock",
        f"{sampled['commits_per_second']:.0f} commits/s of {sampled['rows_per_commit']:,.0f} rows",
        f"a commit was on its way {sampled['committing_share']:.1%} of the time",
        f"garbage collection: {sampled['gc_seconds'] / sampled['used']['seconds']:.1%}",
        "",
        f"by component ({sampled['samples']:,} samples of the loop's thread):",
    ]
    lines += [
        f"  {share:>6.1%} {share * 1e6 / rate:>6.1f} us/run  {name}" for name, share in sampled["components"].items()
    ]
    lines += ["", "by function, with all that it calls:"]
    lines += [
        f"  {share:>6.1%} {share * 1e6 / rate:>6.1f} us/run  {name}" for name, share in sampled["inclusive"].items()
    ]
    lines += ["", "by function, with the C code and the standard library that it calls:"]
    lines += [
        f"  {share:>6.1%} {share * 1e6 / rate:>6.1f} us/run  {name}" for name, share in sampled["functions"].items()
    ]
    calls = counted["all_calls_per_run"]
    lines += [
        "",
        f"by calls (cProfile, own time; {counted['runs_per_second']:,.0f} runs/s, {calls:,.0f} calls per run):",
    ]
    lines += [
        f"  {row['share']:>6.1%} {row['calls_per_run']:>7.1f} calls/run  {row['function']}" for row in counted["calls"]
    ]
    return lines
