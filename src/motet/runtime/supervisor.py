"""Keeps a number of worker processes running: fresh interpreters, never forks of one that has the store open.

    starting ──ready──> working ──ends by itself──> waiting ──after a while──> starting
        │                  └──stop──> draining ──> ended
        └── ends before it was ready, too often in a row ──> all are stopped, and who asked is told

What a worker drove when it died is none of the supervisor's business: its siblings notice by themselves that its
process is gone, and take its runs over. Workers have sessions of their own, so a Ctrl-C in the terminal reaches
the supervisor alone, which asks them to stop; and they end when it is gone (`lifeline.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from motet.errors import WorkerDied
from motet.runtime import lifeline

log = logging.getLogger("motet.supervisor")

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 10.0
STEADY_SECONDS: Final = 10.0
"""A worker that has lived for so long is replaced without delay."""

STARTS_LIMIT: Final = 5

COULD_NOT_START: Final = 71
"""What a process that never was has ended with: the system's own code for its errors."""

Document = dict[str, Any]
"""What a worker says of itself when it is ready."""


class Child:
    """One worker process."""

    def __init__(self, process: Process, ours: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.process = process
        self._ours = ours
        self._writer = writer

    @classmethod
    async def start(cls, number: int, command: Sequence[str], stdout: int | None) -> Child:
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours, limit=lifeline.LONGEST_DOCUMENT)
            try:
                process = await asyncio.create_subprocess_exec(
                    *command, stdin=asyncio.subprocess.DEVNULL, stdout=stdout, pass_fds=(theirs.fileno(),),
                    env={**os.environ, **lifeline.invitation(theirs.fileno(), number)}, start_new_session=True,
                )  # fmt: skip
            except OSError:
                writer.close()
                raise
        return cls(process, reader, writer)

    async def ready(self) -> Document | None:
        """What it says of itself when it works; None if it ends before that."""
        line = await self._ours.readline()
        return msgspec.json.decode(line, type=Document) if line.endswith(b"\n") else None

    async def ended(self) -> int:
        """Wait for its end; its exit code, or the negative number of the signal that killed it."""
        code = await self.process.wait()
        self._writer.close()
        return code

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)


class Place:
    """One of the workers that there shall be, whichever process it is just now."""

    def __init__(self, number: int, command: Sequence[str]) -> None:
        self.number = number
        self.command = command
        self.child: Child | None = None
        self.document: Document | None = None
        self.failures = 0
        self.pause = FIRST_PAUSE


class Supervisor:
    """Lives on one event loop.

    Args:
        commands: how to start each worker, with its arguments; each is told its number, from 1.
        patience_seconds: how long workers that were asked to stop may take before they are killed.
        on_ready: called once, when all are ready for the first time, with what each says of itself.
        stdout: the descriptor that workers write to; None: this process's own.
    """

    def __init__(
        self, commands: Sequence[Sequence[str]], *, patience_seconds: float,
        on_ready: Callable[[list[Document]], None], stdout: int | None = None,
    ) -> None:  # fmt: skip
        self._places = [Place(number, command) for number, command in enumerate(commands, start=1)]
        self._patience = patience_seconds
        self._on_ready: Callable[[list[Document]], None] | None = on_ready
        self._stdout = stdout
        self._stopping = asyncio.Event()
        self._asked: signal.Signals | None = None

    async def run(self) -> None:
        """Keep them running until `stop`; when this returns or raises, all have ended.

        Raises:
            WorkerDied: one ended before it was ready, again and again.
        """
        keeping = [asyncio.create_task(self._keep(place)) for place in self._places]
        try:
            await asyncio.gather(*keeping)
        finally:
            self.stop()
            await asyncio.gather(*keeping, return_exceptions=True)

    def stop(self) -> None:
        """Ask all to stop in good order, and kill those that take longer than the patience."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._signal(signal.SIGTERM)
        asyncio.get_running_loop().call_later(self._patience, self.stop_at_once)

    def stop_at_once(self) -> None:
        """Kill those that still run; their runs go on with the next workers."""
        self._stopping.set()
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        self._asked = number
        for place in self._places:
            if place.child is not None:
                place.child.signal(number)

    async def _keep(self, place: Place) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            began = loop.time()
            code = await self._live(place)
            if self._stopping.is_set():
                return
            if loop.time() - began >= STEADY_SECONDS:
                place.pause = FIRST_PAUSE
            self._judge(place, code)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(place.pause):
                    await self._stopping.wait()
            place.pause = min(place.pause * 2, LONGEST_PAUSE)

    async def _live(self, place: Place) -> int:
        """From a process's start to its end."""
        place.document = None
        try:
            child = place.child = await Child.start(place.number, place.command, self._stdout)
        except OSError as error:  # no memory, no process left: a shortage that may pass
            log.warning("worker %d could not be started: %s", place.number, error)
            return COULD_NOT_START
        if self._asked is not None:
            child.signal(self._asked)  # it was not there yet when all were asked
        place.document = await child.ready()
        if place.document is not None:
            place.failures = 0
            log.info("worker %d is ready: process %d", place.number, child.process.pid)
            self._tell_ready()
        code = await child.ended()
        place.child = None
        return code

    def _tell_ready(self) -> None:
        documents = [place.document for place in self._places if place.document is not None]
        if self._on_ready is not None and len(documents) == len(self._places):
            tell, self._on_ready = self._on_ready, None
            tell(documents)

    def _judge(self, place: Place, code: int) -> None:
        """Raises WorkerDied: there is no use in another try."""
        if place.document is not None:
            log.warning("worker %d %s; starting another in %g s", place.number, told(code), place.pause)
            return
        place.failures += 1
        if place.failures >= STARTS_LIMIT:
            raise WorkerDied(
                f"worker {place.number} {told(code)} before it was ready, {place.failures} times in a row; "
                "all are stopped: what it says above tells why"
            )
        log.warning("worker %d %s before it was ready; trying again in %g s", place.number, told(code), place.pause)


def told(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
