"""Libraries that are preloaded into processes: compiled when they are needed, several of them in one process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "LD_PRELOAD"


def compiled(source: str, folder: Path) -> Path:
    """The library that the C file of this name here makes, in `folder`."""
    compiler = _compiler()
    assert compiler is not None, missing()
    library = folder / Path(source).with_suffix(".so")
    path = Path(__file__).with_name(source)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, path, "-ldl"], check=True)
    return library


def missing() -> str | None:
    """Why nothing can be compiled and preloaded here, if so."""
    if sys.platform != "linux":
        return "preloading a library needs Linux"
    return None if _compiler() else "a C compiler is missing: apt-get install gcc libc6-dev"


def merge(*environments: Mapping[str, str]) -> dict[str, str]:
    """All of them as one: libraries to preload add up, in this order; of other variables the last one counts."""
    merged: dict[str, str] = {}
    for environment in environments:
        preloads = [each[VARIABLE] for each in (merged, environment) if each.get(VARIABLE)]
        merged.update(environment)
        if preloads:
            merged[VARIABLE] = ":".join(preloads)
    return merged


def _compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc")
