"""What the numbers were measured on: interpreter, SQLite, processor, disk, and what a sync costs there."""

import os
import platform
import sqlite3
import sys
import time
from pathlib import Path

from benchmarks import meters
from benchmarks.frame import Found, Frame, percentile

TITLE = "Measured on"
MEMORY_ONLY = ("tmpfs", "ramfs")


def mount_of(folder: Path) -> tuple[str, str]:
    """(file system, device) of a folder; `unknown` where the system does not tell."""
    try:
        rows = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown", "unknown"
    real = folder.resolve()
    around = [row for row in rows if real.is_relative_to(row[1].replace("\\040", " "))]
    if not around:
        return "unknown", "unknown"
    best = max(enumerate(around), key=lambda item: (len(item[1][1]), item[0]))[1]
    return best[2], best[0]


def memory_only(folder: str) -> bool:
    """Whether a folder is on a file system without a disk, where a sync costs nothing."""
    return mount_of(Path(folder))[0] in MEMORY_ONLY


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _syncs(folder: Path, seconds: float) -> Found:
    """Append a page to a file and sync it, again and again."""
    took: list[float] = []
    path = folder / "sync-probe"
    page = b"m" * 4096
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            os.write(file, page)
            os.fsync(file)
            took.append(time.perf_counter() - began)
    finally:
        os.close(file)
        path.unlink()
    return {
        "per_second": len(took) / sum(took),
        "p50_ms": percentile(took, 50) * 1000,
        "p99_ms": percentile(took, 99) * 1000,
    }


def _spin(seconds: float) -> float:
    """The share of a core that a busy loop got: below 1 when others want the cores too."""
    wall, used = time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        pass
    return (time.process_time() - used) / (time.perf_counter() - wall)


def measure(frame: Frame) -> Found:
    kind, device = mount_of(frame.folder)
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "build": platform.python_compiler(),
        "loop": frame.loop,
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": _cores(),
        "file_system": kind,
        "device": device,
        "load": meters.load(),
        "core_share": _spin(0.5),
        "sync": _syncs(frame.folder, 0.5 if frame.quick else 2.0),
        "free_threaded": not getattr(sys, "_is_gil_enabled", lambda: True)(),
    }


def show(found: Found) -> list[str]:
    sync = found["sync"]
    lines = [
        f"{found['python']} ({found['build']}), event loop {found['loop']}, SQLite {found['sqlite']}",
        f"{found['system']}, {found['processor']}, {found['cores']} cores",
        f"load average {found['load']:.1f} before the start; a busy loop got {found['core_share']:.0%} of a core",
        f"stores are on {found['file_system']} ({found['device']})",
        f"fsync of 4 KiB each: {sync['per_second']:,.0f}/s; p50 {sync['p50_ms']:.2f} ms, p99 {sync['p99_ms']:.2f} ms",
    ]
    if found["file_system"] in MEMORY_ONLY:
        lines.append("CAVEAT: this file system has no disk; nothing below says what durability costs")
    elif sync["p50_ms"] < 0.05:
        lines.append("CAVEAT: a sync this quick has not reached a disk (a write cache, or a host that does not wait)")
    return lines
