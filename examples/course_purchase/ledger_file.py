"""The ledger's file: append only, and durable before anyone hears of it.

Group commit: while one write with its fsync is under way, further entries gather, and the next fsync covers
them all. An entry's place is taken when it is handed in, so the file's order is the order in which the ledger
decided.

A torn last line is cut off on opening. A write that fails breaks the file for good: after a failed fsync
nobody can say what is on disk, so nothing may be acknowledged any more (`broken` tells).
"""

import asyncio
import os
from pathlib import Path

from .entries import Entry, decode_entries, encode_entry


class LedgerFile:
    """One open ledger file. Make it inside a running event loop."""

    def __init__(self, path: Path) -> None:
        self.fsyncs = 0
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self.found, whole = decode_entries(path.read_bytes())
        os.ftruncate(self._descriptor, whole)
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None

    def append(self, entry: Entry) -> asyncio.Future[None]:
        """Hand in an entry, which takes its place now; the future is done when it is durable.

        Once the file is broken the future raises `OSError`.
        """
        if self.broken.done():
            return self.broken
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((encode_entry(entry), durable))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        return durable

    async def close(self) -> None:
        """Wait for what was handed in, and close."""
        if self._flushing is not None:
            await self._flushing
        os.close(self._descriptor)

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._write_durably, b"".join(line for line, _ in batch))
            except OSError as error:
                self._break(error, batch)
                return
            for _, durable in batch:
                if not durable.done():
                    durable.set_result(None)
        self._flushing = None

    def _write_durably(self, lines: bytes) -> None:
        unwritten = memoryview(lines)
        while unwritten:
            unwritten = unwritten[os.write(self._descriptor, unwritten) :]
        os.fsync(self._descriptor)
        self.fsyncs += 1

    def _break(self, error: OSError, batch: list[tuple[bytes, asyncio.Future[None]]]) -> None:
        self.broken.set_exception(error)
        for _, durable in (*batch, *self._waiting):
            if not durable.done():
                durable.set_exception(error)


def read_ledger(path: Path) -> list[Entry]:
    """Read a ledger file, also one that is still being written; a torn last line is left out."""
    return decode_entries(path.read_bytes())[0]
