"""Where the time goes at 1,000 in flight, on the thread that runs the event loop.

Two looks at the same load, each in a process of its own. *Samples*: a timer interrupts the loop's thread every
millisecond and notes where it stands and how long it has been on a core since the last time; that costs a few
percent and is what to believe. *Calls*: cProfile counts each call of that thread; it makes small functions look dearer
than they are, but knows how often they run.

A sample belongs to the component of the innermost frame that is Motet's (or the benchmark's); what C code, the garbage
collector and the standard library do is on the account of whoever called them. The interpreter handles signals between
two instructions, mostly at calls, so a neighbour may get a function's share. Waiting counts nowhere: how long
each thread was on a core, and how long it waited for one because of other programs, are the kernel's own counts.
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
        self.seconds: Counter[tuple[CodeType, ...]] = Counter()  # on a core
        self.ticks = self.idle_ticks = 0
        self.gc_seconds = 0.0
        self._last = 0.0
        self._gc_began = 0.0

    def begin(self) -> None:
        gc.callbacks.append(self._collected)
        self._last = time.thread_time()
        signal.signal(signal.SIGALRM, self._note)
        signal.setitimer(signal.ITIMER_REAL, EVERY_SECONDS, EVERY_SECONDS)

    def end(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.callbacks.remove(self._collected)

    def _note(self, _number: int, frame: FrameType | None) -> None:
        used = time.thread_time() - self._last
        self.ticks += 1
        self.idle_ticks += frame is not None and frame.f_code.co_filename.endswith("selectors.py")
        stack: list[CodeType] = []
        while frame is not None:
            stack.append(frame.f_code)
            frame = frame.f_back
        self.seconds[tuple(stack)] += used  # type: ignore[assignment]
        self._last = time.thread_time()  # without what noting it has cost

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
        for stack, seconds in self.seconds.items():
            component, function = _owner(stack)
            components[component] += seconds  # type: ignore[assignment]
            functions[function] += seconds  # type: ignore[assignment]
            for code in {code for code in stack if code.co_filename.startswith(PACKAGE)}:
                inclusive[_label(code)] += seconds  # type: ignore[assignment]
        return {
            "ticks": self.ticks,
            "idle_share": self.idle_ticks / max(1, self.ticks),
            "loop_seconds": sum(components.values()),
            "components": dict(components.most_common()),
            "functions": dict(functions.most_common(TOP)),
            "inclusive": dict(inclusive.most_common(TOP * 2)),
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
    return "the event loop itself", name


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
    lines = _threads(sampled)
    total, runs = sampled["loop_seconds"], sampled["runs"]

    def shares(name: str, words: str) -> list[str]:
        rows = [
            f"  {seconds / total:>6.1%} {seconds / runs * 1e6:>6.1f} us/run  {what}"
            for what, seconds in sampled[name].items()
        ]
        return ["", words, *rows]

    lines += shares("components", f"the loop's thread by component ({total / runs * 1e6:.0f} us on a core per run):")
    lines += shares("inclusive", "by function, with all that it calls:")
    lines += shares("functions", "by function, with the C code and the standard library that it calls:")
    calls = counted["all_calls_per_run"]
    rate = counted["runs_per_second"]
    lines += ["", f"by calls (cProfile, own time; {rate:,.0f} runs/s under it, {calls:,.0f} calls per run):"]
    for row in counted["calls"]:
        lines.append(f"  {row['share']:>6.1%} {row['calls_per_run']:>7.1f} calls/run  {row['function']}")
    return lines


def _threads(sampled: Found) -> list[str]:
    rate = sampled["runs_per_second"]
    used = sampled["used"]
    lines = [f"{rate:,.0f} runs/s while sampled, {1e6 / rate:.0f} us of wall clock each", "", "threads, of one core:"]
    for name, use in sorted(used["threads"].items(), key=lambda item: -item[1]["busy"]):
        each = use["busy"] * 1e6 / rate
        lines.append(
            f"  {name:<18} busy {use['busy']:>6.1%} ({each:>5.1f} us/run), waiting for a core {use['queued']:>5.1%}"
        )
    loop = used["threads"].get("MainThread", {"busy": 1.0, "queued": 0.0})
    still = 1 - loop["busy"] - loop["queued"]
    return [
        *lines,
        f"the loop's thread stood still {still:.1%} of the time: idle, or waiting for the interpreter's lock",
        f"(with asyncio's own loop, about {sampled['idle_share']:.1%} of all samples found it idle)",
        f"{sampled['commits_per_second']:.0f} commits/s of {sampled['rows_per_commit']:,.0f} rows",
        f"a commit was on its way {sampled['committing_share']:.1%} of the time",
        f"garbage collection: {sampled['gc_seconds'] / used['seconds']:.1%} of the time",
    ]
