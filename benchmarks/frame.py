"""What all benchmarks share: options, folders on a real disk, probes in fresh processes, medians, output.

A probe is named `module:function`. It is an async function of one JSON object that returns a JSON object; it is run
by `benchmarks.probe` in a fresh interpreter, so that memory, caches and counters are its own.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LINE = "@benchmark "  # what a probe says to its parent begins with it; all else is for people

Found = dict[str, Any]
Progress = Callable[[float, str], None]


class ProbeFailed(Exception):
    """A probe's process ended without a result."""


@dataclass(frozen=True)
class Frame:
    """How to measure.

    Args:
        folder: where stores are made; on a real disk.
        loop: `uvloop` or `asyncio`.
        quick: a short version, to see that everything works; its numbers are rough.
        large: also what takes long to load: millions of rows.
        say: prints a line about what goes on, for people.
    """

    folder: Path
    loop: str
    quick: bool
    say: Callable[[str], None] = field(default=print)
    large: bool = False
    progress: Progress = field(default=lambda part, text: None)

    @property
    def repeats(self) -> int:
        return 1 if self.quick else 5

    @property
    def seconds(self) -> float:
        return 2.0 if self.quick else 4.0

    @property
    def warm_up_seconds(self) -> float:
        return 0.5 if self.quick else 1.5

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """The path of a store that is not there yet, in a folder of its own."""
        folder = Path(tempfile.mkdtemp(prefix="store-", dir=self.folder))
        try:
            yield str(folder / "bench.db")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def probe(
        self, name: str, given: Found, *, before: Sequence[str] = (), environment: dict[str, str] | None = None,
        heard: Callable[[subprocess.Popen[str], Found], None] | None = None,
    ) -> Found:  # fmt: skip
        """Run a probe to its end and return what it found.

        Args:
            before: a command to put before the interpreter's, such as strace.
            heard: called with what the probe says on its way.

        Raises:
            ProbeFailed: it ended without a result.
        """
        command = [*before, sys.executable, "-m", "benchmarks.probe", name, self.loop, json.dumps(given)]
        process = subprocess.Popen(  # noqa: S603 - our own program
            command, cwd=ROOT, env={**os.environ, **(environment or {})}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        found: Found | None = None
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                if not line.startswith(LINE):
                    continue
                said = json.loads(line.removeprefix(LINE))
                if "found" in said:
                    found = said["found"]
                elif heard is not None:
                    heard(process, said)
        if process.returncode != 0 or found is None:
            raise ProbeFailed(f"{name} ended with exit code {process.returncode} and no result")
        return found


def address(store: str) -> str:
    """Of a store that is given as a path, or as an address already."""
    return store if "://" in store else f"sqlite:///{store}"


def say(words: Found) -> None:
    """From a probe to its parent."""
    print(LINE + json.dumps(words), flush=True)


def best_loop() -> str:
    """The event loop that Motet would use here."""
    return "uvloop" if find_spec("uvloop") is not None else "asyncio"


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def span(values: Sequence[float], form: str = ",.0f") -> str:
    """The median with the lowest and the highest of the repeats."""
    if len(values) == 1:
        return format(values[0], form)
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def verdict(value: float, goal: float, unit: str = "", *, at_least: bool) -> str:
    """The goal beside a value, and whether it is reached."""
    reached = value >= goal if at_least else value <= goal
    words = "at least" if at_least else "at most"
    return f"goal: {words} {goal:g}{unit}: {'reached' if reached else 'MISSED'}"


def on_disk(folder: str | None, memory_only: Callable[[str], bool]) -> str:
    """A folder to make stores in: as told, else the system's temporary one, unless that is only memory."""
    if folder is not None:
        return folder
    return str(ROOT) if memory_only(tempfile.gettempdir()) else tempfile.gettempdir()
