"""The real ledger process, and the attempts that tests make at it."""

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class RunningLedger:
    """A ledger process. Its standard input is a pipe that holds it alive."""

    process: "subprocess.Popen[str]"
    address: str
    file: Path


@contextmanager
def running_ledger(file: Path, *options: str) -> Generator[RunningLedger, None, None]:
    """Start a ledger, wait for its address, and end it."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "examples.course_purchase.ledger",
            "--with-parent",
            "--file",
            str(file),
            *options,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with process:
        try:
            assert process.stdout is not None
            yield RunningLedger(process, process.stdout.readline().strip(), file)
        finally:
            if process.poll() is None:
                process.terminate()


class StartLedger(Protocol):
    """Starts a ledger; by default all ledgers of one test use the same file."""

    def __call__(self, *options: str, file: Path | None = None) -> RunningLedger: ...


@dataclass(frozen=True)
class Try:
    """What `motet.attempt()` would tell a service."""

    key: str
    number: int = 1
    token: int = 1
    run: str = "purchase-p1"
    step: str = "step"
