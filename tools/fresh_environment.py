"""A virtual environment with nothing in it: what a user sees who installs Motet for the first time.

It exists because an editable installation with the development tools hides what is missing: a file left out
of the wheel, an import of a package that is only an extra, an example that only runs in the repository.

Invariants: the environment is made anew each time and removed at the end; nothing of the caller's Python
(paths, active environment, settings of Motet) reaches what runs in it; commands run in its own empty
`folder`, never in the repository.

What it does *not* do: choose another Python version, or keep pip from its own configuration and cache.
"""

import importlib.metadata
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PART_OF_THE_ENVIRONMENT = frozenset({"pip", "setuptools", "wheel"})
KEPT_OUT = ("PYTHON", "VIRTUAL_ENV", "MOTET_", "COVERAGE_", "PYTEST_")


class CommandFailed(Exception):
    """A command in the fresh environment failed; the message has the command and all that it printed."""


@dataclass(frozen=True)
class Package:
    """One installed distribution; its size is that of the files it lists as its own, without `.pyc`."""

    name: str
    version: str
    size_bytes: int


@dataclass(frozen=True)
class FreshEnvironment:
    """`bin` holds the commands, `folder` is the empty folder in which they run."""

    location: Path
    folder: Path

    @property
    def bin(self) -> Path:
        return self.location / ("Scripts" if sys.platform == "win32" else "bin")

    def run(
        self,
        *command: str | Path,
        variables: dict[str, str] | None = None,
        stdin: str = "",
        timeout_seconds: float = 300,
    ) -> str:
        """Run a command of this environment in `folder` and return what it printed.

        `command` starts with a name in `bin` ("python", "motet"). Raises CommandFailed when it fails or takes
        longer than `timeout_seconds`.
        """
        name, *arguments = map(str, command)
        environment = {key: value for key, value in os.environ.items() if not key.startswith(KEPT_OUT)}
        environment["PATH"] = os.pathsep.join([str(self.bin), environment.get("PATH", os.defpath)])
        environment["VIRTUAL_ENV"] = str(self.location)
        return _run(
            [str(self.bin / name), *arguments],
            self.folder,
            environment | (variables or {}),
            stdin,
            timeout_seconds,
        )

    def install(self, *requirements: str | Path) -> None:
        """`pip install` them; a wheel, a folder or a name, with extras where wanted ("motet[postgres]")."""
        self.run("python", "-m", "pip", "install", "--quiet", "--no-compile", *requirements)

    def packages(self) -> list[Package]:
        """What is installed beside pip and setuptools, by name."""
        code = "import sysconfig; print(sysconfig.get_path('purelib')); print(sysconfig.get_path('platlib'))"
        folders = sorted(set(self.run("python", "-c", code).splitlines()))
        found = (_package(distribution) for distribution in importlib.metadata.distributions(path=folders))
        return sorted((p for p in found if p.name.lower() not in PART_OF_THE_ENVIRONMENT), key=lambda p: p.name.lower())


def _package(distribution: importlib.metadata.Distribution) -> Package:
    files = distribution.files or []
    size = sum(Path(str(file.locate())).stat().st_size for file in files if file.suffix != ".pyc")
    return Package(distribution.name, distribution.version, size)


def _run(
    command: list[str], folder: Path, environment: dict[str, str] | None, stdin: str, timeout_seconds: float
) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        printed = late.output.decode(errors="replace") if isinstance(late.output, bytes) else (late.output or "")
        raise CommandFailed(f"{' '.join(command)}: not done after {timeout_seconds} s\n{printed}") from late
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


@contextmanager
def fresh_environment(*requirements: str | Path) -> Generator[FreshEnvironment]:
    """A new environment with `requirements` installed, in a temporary folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="motet-fresh-", ignore_cleanup_errors=True) as place:
        location = Path(place) / "environment"
        folder = Path(place) / "empty"
        folder.mkdir()
        venv.create(location, with_pip=True)
        environment = FreshEnvironment(location, folder)
        if requirements:
            environment.install(*requirements)
        yield environment


def build_wheel(into: Path) -> Path:
    """Build the project's wheel as a release would, into the folder `into`."""
    _run([sys.executable, "-m", "build", "--wheel", "--outdir", str(into), str(ROOT)], ROOT, None, "", 300)
    (wheel,) = into.glob("motet-*.whl")
    return wheel


def unexpected_files(names: Iterable[str]) -> list[str]:
    """Of the names in a wheel, those that only a run or an editor could have left there."""
    leftover = (".pyc", ".db", ".db-wal", ".db-shm", ".log", ".DS_Store", ".orig")
    return [name for name in names if name.endswith(leftover) or "__pycache__" in name]
