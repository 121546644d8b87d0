"""What really happened: an append-only file outside the engine, fsynced at each line.

Steps write their effects into it with key and attempt, the worker's hook writes when a completion was acknowledged.
The order of the lines is the order in which it happened.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple


class Line(NamedTuple):
    """One thing that happened: `kind` is "effect" or "acknowledged"."""

    kind: str
    key: str
    run: str
    step: str
    attempt: int

    @property
    def operation(self) -> str:
        """The effect without what differs between stores: the run's id instead of its random uid."""
        return f"{self.run} {self.key.partition('.')[2]}"


class Effects:
    """The file, as its writers have it."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, *line: object) -> None:
        os.write(self._fd, json.dumps(line).encode() + b"\n")
        os.fsync(self._fd)


def read(path: Path) -> list[Line]:
    return [Line(*json.loads(line)) for line in path.read_text().splitlines()]
