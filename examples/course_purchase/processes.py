"""The demo's child processes: started, watched, killed, and never left behind.

    started --(first line on stdout)--> ready --(kill or stop)--> ended
                                          └──(ends by itself)──> ChildDied

Each child is a module of this package, run by this Python. It has a process group of its own, so that Ctrl-C in
the terminal reaches the demo alone, which then stops them in order; and it ends by itself when the demo is
gone (`lifetime.py`).
"""

import asyncio
import contextlib
import os
import site
import sys
from collections.abc import Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

READY_SECONDS = 60.0
STOP_SECONDS = 20.0
LOG_TAIL_CHARACTERS = 2_000


class ChildDied(Exception):
    """A child ended that nobody told to. The message holds the end of what it wrote."""


class Child:
    """One child process. `first_line` is what it said when it was ready."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.first_line = ""
        self.told_to_end = False
        self._process = process
        self._log = log
        self._copying: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def ready(self) -> None:
        """Wait for the child's first line; raises `ChildDied`."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(READY_SECONDS):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise ChildDied(f"{self.name} was not ready within {READY_SECONDS:.0f} s{self._tail()}") from None
        if not line.endswith(b"\n"):
            await self._process.wait()
            raise ChildDied(self._obituary())
        self.first_line = line.decode().strip()
        self._copying = asyncio.create_task(self._copy(self._process.stdout))

    async def died(self) -> None:
        """Wait for the end of the child; raises `ChildDied` unless it was told to end."""
        await self._process.wait()
        if not self.told_to_end:
            raise ChildDied(self._obituary())

    async def kill(self) -> None:
        """Kill -9; return when the process is gone, and all its doings with it."""
        self.told_to_end = True
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """Ask the child to end, and kill it if it does not."""
        self.told_to_end = True
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            await self.kill()
        if self._copying is not None:
            await self._copying

    async def _copy(self, said: asyncio.StreamReader) -> None:
        while line := await said.readline():
            with self._log.open("ab") as log:
                log.write(line)

    def _obituary(self) -> str:
        return f"{self.name} ended by itself with code {self._process.returncode}{self._tail()}"

    def _tail(self) -> str:
        text = self._log.read_text(errors="replace").strip()
        return f"; the end of {self._log.name}:\n{text[-LOG_TAIL_CHARACTERS:]}" if text else ""


class Processes:
    """All children of one demo; leaving the context ends those that still run, the last started first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: list[Child] = []
        self._watching: set[asyncio.Task[None]] = set()
        self._death: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._children):
            await child.stop()
        await asyncio.gather(*self._watching)
        self._death.cancel()

    async def start(self, name: str, module: str, *arguments: str, variables: Mapping[str, str]) -> Child:
        """Start a module of this package and wait until it is ready."""
        log = self._folder / f"{name}.log"
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                f"{__package__}.{module}",
                "--with-parent",
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env=environment(variables),
                start_new_session=True,
            )
        child = Child(name, process, log)
        self._children.append(child)
        await child.ready()
        self._watching.add(asyncio.create_task(self._watch(child)))
        return child

    async def guard(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work, and give it up with `ChildDied` as soon as a child has ended that was not told to."""
        doing = asyncio.create_task(work)
        try:
            first: set[asyncio.Future[Any]] = {doing, self._death}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if self._death.done():
                self._death.result()
            return doing.result()
        finally:
            doing.cancel()
            await asyncio.gather(doing, return_exceptions=True)

    async def _watch(self, child: Child) -> None:
        try:
            await child.died()
        except ChildDied as death:
            if not self._death.done():
                self._death.set_exception(death)


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with `variables`, and with this package importable by its present
    name.

    That name is `examples.course_purchase` in a checkout and `motet._examples.course_purchase` in an
    installed wheel: the folder to import from lies as many levels up as the name has parts. Python's own
    folders are left out: named in PYTHONPATH, they would come before the standard library.
    """
    assert __package__ is not None
    importable_from = str(Path(__file__).resolve().parents[len(__package__.split("."))])
    if importable_from in (*site.getsitepackages(), site.getusersitepackages()):
        return {**os.environ, **variables}
    path = os.pathsep.join(part for part in (importable_from, os.environ.get("PYTHONPATH", "")) if part)
    return {**os.environ, "PYTHONPATH": path, **variables}
