"""Planted bugs: patches that each take one rule away, with the tests that must then fail.

A patch file begins with its story (`Bug:`, `Breaks:`, one `Caught by:` per test), then the diff. Patches are applied to
copies of the tree, never to the tree itself.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PATCHES = Path(__file__).parent
COPIED = ("src", "tests", "examples", "pyproject.toml", "README.md")
LEFT = shutil.ignore_patterns("__pycache__", "*.db", "*.db-*", ".hypothesis")


@dataclass(frozen=True)
class Bug:
    """One patch file."""

    name: str
    path: Path
    story: str
    breaks: str
    tests: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> "Bug":
        """Raises ValueError: its story is not whole."""
        said: dict[str, list[str]] = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("--- "):
                break
            key, _, value = line.partition(": ")
            said.setdefault(key, []).append(value)
        try:
            return cls(path.stem, path, said["Bug"][0], said["Breaks"][0], tuple(said["Caught by"]))
        except KeyError as missing:
            raise ValueError(f"{path.name} does not say {missing}") from None


def bugs() -> list[Bug]:
    """All of them, by name."""
    return [Bug.read(path) for path in sorted(PATCHES.glob("*.patch"))]


def copy_tree(target: Path) -> Path:
    """A copy of the tree as it is now, changes that are not committed included."""
    target.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=LEFT)
        else:
            shutil.copy(source, target / name)
    return target


def git_apply(patch: Path, tree: Path, *options: str) -> str | None:
    """Apply the patch in the tree; returns what git says against it."""
    command = ["git", "apply", *options, str(patch)]
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stderr.strip()


def run_tests(tree: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """Run these tests of the tree, on the tree's own package."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "60", *tests]
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
