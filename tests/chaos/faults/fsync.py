"""A disk whose fsync fails while a switch is on, for some processes: a small library preloaded into them."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.faults import preload


class FailingFsync:
    """fsync and fdatasync of all processes that are started with `environment`; they work at first."""

    def __init__(self, folder: Path) -> None:
        self._switch = folder / "fsync-fails"
        self._counter = folder / "fsync-failed"
        self.environment: dict[str, str] = {
            preload.VARIABLE: str(preload.compiled("failing_fsync.c", folder)),
            "FAILING_FSYNC_SWITCH": str(self._switch),
            "FAILING_FSYNC_COUNTER": str(self._counter),
        }

    def begin(self) -> None:
        """From now on they fail, with EIO."""
        self._switch.touch()

    def end(self) -> None:
        """They work again."""
        self._switch.unlink(missing_ok=True)

    def fired(self) -> int:
        """How many calls have failed so far, in all processes: the library itself counts."""
        return self._counter.stat().st_size if self._counter.exists() else 0

    @staticmethod
    def available() -> str | None:
        """None, or why there is none."""
        return preload.missing()
