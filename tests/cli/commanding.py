"""How these tests run the command line, and how they wait: for the thing itself, never for a time."""

import contextlib
import functools
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from click.testing import CliRunner

from motet.cli.main import command
from motet.model.clock import SYSTEM

T = TypeVar("T")

MOTET = str(Path(sys.executable).with_name("motet"))
PATIENCE_SECONDS = 15.0
GLANCE_SECONDS = 0.02


class Outcome(NamedTuple):
    """What a command has left."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        assert self.stdout.count("\n") == 1, self.stdout
        return json.loads(self.stdout)

    @property
    def error(self) -> Any:
        """The one document on stderr."""
        assert self.stdout == ""
        return json.loads(self.stderr)["error"]


class Command(Protocol):
    """`motet ARGUMENTS`."""

    def __call__(self, *arguments: str, input: str | None = None) -> Outcome: ...


_motet = functools.cache(command)


def invoke(*arguments: str, input: str | None = None) -> Outcome:
    """The command in this process."""
    done = CliRunner().invoke(_motet(), list(arguments), input=input, prog_name="motet")
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return Outcome(done.exit_code, done.stdout, done.stderr)


def eventually(look: Callable[[], T | None], what: str) -> T:
    """What `look` finds, as soon as it finds something; fails after long patience."""
    give_up = SYSTEM.monotonic() + PATIENCE_SECONDS
    between_looks = threading.Event()
    while True:
        found = look()
        if found:
            return found
        assert SYSTEM.monotonic() < give_up, f"waited in vain for {what}"
        between_looks.wait(GLANCE_SECONDS)


class WorkerProcess:
    """A real `motet worker`. `ready` is the document that it prints when it serves."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.log = folder / f"worker-{len(list(folder.glob('worker-*.log')))}.log"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [MOTET, "worker", "shop", "--json", *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=folder,
            )
        assert self._process.stdout is not None
        self.ready: dict[str, Any] = json.loads(self._process.stdout.readline() or "{}")

    def signal(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    def ended(self) -> int:
        """Wait for its end; returns its exit code."""
        return self._process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """End it at once, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Terminal:
    """A command that has a terminal as stdin, stdout and stderr."""

    def __init__(self, *arguments: str, columns: int = 80, lines: int = 40) -> None:
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (lines, columns))
        environment = {**os.environ, "TERM": "xterm-256color"}
        self._process = subprocess.Popen(
            [MOTET, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
        )
        os.close(theirs)
        self.written = ""

    def until(self, text: str) -> None:
        """Read until it has written this."""
        while text not in self.written:
            part = self._read()
            assert part, f"{text!r} was never written: {self.written!r}"

    def type(self, text: str) -> None:
        """As somebody at the keyboard does."""
        os.write(self._ours, text.encode())

    def ended(self) -> int:
        """Read to its end; returns its exit code."""
        while self._read():
            pass
        os.close(self._ours)
        return self._process.wait(PATIENCE_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def _read(self) -> str:
        try:
            part = os.read(self._ours, 65_536).decode(errors="replace")
        except OSError:  # the command has closed its end
            part = ""
        self.written += part
        return part
