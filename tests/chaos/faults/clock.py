"""A wall clock that jumps for some processes while the machine's own stays as it is (libfaketime).

Only the time of day is shifted: the monotonic clock, timeouts and files' times stay true, as when somebody sets a
machine's clock. libfaketime reads the shift anew at each look at the clock, so that a jump is there at once.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.chaos.faults import preload

LIBRARIES = Path("/usr/lib")
LIBRARY = "faketime/libfaketimeMT.so.1"  # the one for programs with threads
SHARED_MEMORY = Path("/dev/shm")


class FakeClock:
    """The time of day of all processes that are started with `environment`."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock-shift"
        self.set(0)
        library = _library()
        assert library is not None, self.available()
        self.environment: dict[str, str] = {
            preload.VARIABLE: f"{preload.compiled('true_waits.c', folder)}:{library}",
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def set(self, seconds: float) -> None:
        """From now on their wall clock differs from the true one by so much (not from what it was before)."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+.6f}\n")
        fresh.replace(self._file)  # whoever looks sees the old shift or the new one, never half of it

    @staticmethod
    def sweep() -> None:
        """Remove what processes under libfaketime leave in shared memory when they are killed."""
        for path in SHARED_MEMORY.glob("*faketime_s*"):
            found = re.fullmatch(r"(?:sem\.faketime_sem|faketime_shm)_(\d+)", path.name)
            if found and not Path("/proc", found[1]).exists():
                path.unlink(missing_ok=True)

    @staticmethod
    def available() -> str | None:
        """None, or why there is none."""
        if preload.missing() or _library():
            return preload.missing()
        return f"libfaketime is missing ({LIBRARIES}/*/{LIBRARY}): apt-get install faketime"


def _library() -> Path | None:
    return next(LIBRARIES.glob(f"{os.uname().machine}-*/{LIBRARY}"), None)
