"""What the kernel tells of processes: who has the writers' lock, who waits for it, and who has stopped."""

import fcntl
from pathlib import Path
from typing import BinaryIO


def taken(store: Path) -> BinaryIO:
    """The writers' lock, until the file is closed."""
    file = Path(f"{store}-lock").open("rb")  # noqa: SIM115 - whoever asked closes it
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def holds_the_lock(pid: int) -> bool:
    """Whether it has the writers' lock in its hand."""
    return any(lock[1] == "FLOCK" and lock[4] == str(pid) for lock in _locks())


def waits_for_the_lock(pid: int) -> bool:
    return any(lock[1:3] == ["->", "FLOCK"] and lock[5] == str(pid) for lock in _locks())


def _locks() -> list[list[str]]:
    """The kernel's list: "1: FLOCK ADVISORY WRITE pid ...", and "1: -> FLOCK ..." for who waits."""
    return [line.split() for line in Path("/proc/locks").read_text().splitlines()]


def is_still(pid: int) -> bool:
    """Whether all threads of a process that was sent SIGSTOP have stopped, or there is none any more."""
    try:
        states = [file.read_text().rpartition(") ")[2][0] for file in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:
        return False  # one has just ended
    return all(state in "TtZX" for state in states)
