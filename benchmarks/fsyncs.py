"""Counting a process's syncs from outside: by strace, else by a small library put before the system's own.

Each sync is noted with the file that it was for: a commit syncs the write-ahead log, a checkpoint syncs log and
database. The probe syncs two files of its own to mark the stretch that counts.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.frame import Found, Frame, ProbeFailed

BEGIN, END = "count-begin", "count-end"

_SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void note(int fd) {
    char link[64], path[4096], line[4200];
    const char *out = getenv("SYNC_LOG");
    if (out == NULL) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return;
    path[length] = 0;
    int log = open(out, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (log < 0) return;
    int size = snprintf(line, sizeof line, "fsync(%d<%s>)\n", fd, path);
    if (write(log, line, size) != size) abort();
    close(log);
}
int fsync(int fd) { note(fd); return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd); }
int fdatasync(int fd) { note(fd); return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd); }
"""


def mark(folder: Path, name: str) -> None:
    """Begin or end the stretch that counts; called in the probe."""
    file = os.open(folder / name, os.O_WRONLY | os.O_CREAT)
    os.fsync(file)
    os.close(file)


def count(frame: Frame, probe: str, given: Found, folder: Path) -> Found:
    """Run the probe and count its syncs between the marks; `how` says by what, `none` if nothing could."""
    for way in (_by_strace, _by_shim):
        log = folder / "syncs.log"
        log.unlink(missing_ok=True)
        how = way(folder, log)
        if how is None:
            continue
        name, before, environment = how
        try:
            found = frame.probe(probe, given, before=before, environment=environment)
            seen = _between(log.read_text(errors="replace"))
        except (ProbeFailed, OSError):
            continue  # not allowed here: the next way
        if seen is not None:
            return {**found, **seen, "how": name}
    return {**frame.probe(probe, given), "how": "none"}


Way = tuple[str, list[str], dict[str, str]]


def _by_strace(_folder: Path, log: Path) -> Way | None:
    program = shutil.which("strace")
    if program is None:
        return None
    # --seccomp-bpf: the process stops for these calls only, and stays nearly as quick as without strace.
    wanted = ["-f", "-y", "-e", "trace=fsync,fdatasync", "-o", str(log)]
    quick = [program, "--seccomp-bpf", *wanted]
    for command in (quick, [program, *wanted]):
        test = subprocess.run([*command, sys.executable, "-c", ""], capture_output=True, check=False)  # noqa: S603 - our own program
        if test.returncode == 0:
            return "strace", command, {}
    return None


def _by_shim(folder: Path, log: Path) -> Way | None:
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    source, library = folder / "syncs.c", folder / "syncs.so"
    source.write_text(_SHIM)
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:  # noqa: S603 - our own program
        return None
    return "a library before the system's", [], {"LD_PRELOAD": str(library), "SYNC_LOG": str(log)}


def _between(log: str) -> Found | None:
    """What was synced between the marks, by kind of file; None if the marks are not there."""
    # A call that another thread interrupts takes two lines in strace; only the first names the file.
    files = re.findall(r"f(?:data)?sync\(\d+<([^>]*)>", log)
    names = [Path(file).name for file in files]
    if BEGIN not in names or END not in names:
        return None
    inside = names[names.index(BEGIN) + 1 : names.index(END)]
    is_log: Callable[[str], bool] = lambda name: name.endswith("-wal")  # noqa: E731 - said once
    logs = sum(map(is_log, inside))
    return {"log_syncs": logs, "other_syncs": len(inside) - logs}
