"""The outside world as a process: bank, campus and others behind one socket, and a file that remembers.

Real to the engine: another process, a network in between, its own durable file, and all the ways in which
such services fail (`faults.py`). Honest to the check: an attempt is on disk, fsynced, before anyone hears of
it, in the order in which it came; so what this file says happened did happen, whatever the engine believes.

Run it with ``python -m examples.course_purchase.ledger --file ledger.jsonl``; it prints its address and runs
until SIGTERM.
"""

import argparse
import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .book import Book, reply_to
from .entries import Event
from .fields import BadField, Fields
from .ledger_file import LedgerFile
from .lifetime import stop_requested
from .protocol import OPERATIONS, PURCHASING, Call, decode_call, encode, encode_reply
from .withholding import Plan, Withholding

LINE_LIMIT_BYTES = 1 << 20


class Ledger:
    """The server. It decides in the order of arrival, writes, and answers when the write is durable."""

    def __init__(self, file: LedgerFile, *, honours_keys: bool) -> None:
        self._file = file
        self._book = Book(honours_keys=honours_keys)
        self._book.replay(file.found)
        self._withholding = Withholding()
        self._connections: set[asyncio.Task[None]] = set()

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection in a task of its own."""
        connection = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def close(self) -> None:
        """Cut all connections."""
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A peer that is gone, half a line, a line without end: the connection ends. A broken file ends it
        # unanswered, and the main loop ends the process.
        with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError):
            try:
                while await self._answer(await reader.readuntil(b"\n"), reader, writer):
                    await writer.drain()
            finally:
                writer.close()

    async def _answer(self, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Deal with one request; tell whether the connection goes on."""
        try:
            fields = Fields.parse(line)
            if fields.values.get("operation") in OPERATIONS:
                return await self._work(decode_call(fields), reader, writer)
            writer.write(encode(await self._control(fields)))
        except BadField as error:
            writer.write(encode({"error": str(error)}))
        return True

    async def _work(self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if self._withholding.begins_at(self._book.attempts):
            # The attempt stands behind the mark in the file, so waiting for the attempt waits for both.
            self._file.append(self._book.mark("withholding"))
        attempt = self._book.take(call, withholding=self._withholding.active and call.operation in PURCHASING)
        await self._file.append(attempt)
        if attempt.reply == "lost":
            return False
        if attempt.reply == "never":
            await reader.read()
            return False
        if attempt.reply == "withheld":
            self._withholding.note(attempt)
            await self._withholding.until_released()
        writer.write(encode_reply(reply_to(attempt)))
        return True

    async def _control(self, fields: Fields) -> dict[str, object]:
        """Do what the demo and the worker ask, apart from purchases. Never withheld."""
        asked = fields.one_of("operation", ("acknowledged", "hold", "killed", "paused", "release", "stats"))
        if asked == "acknowledged":
            await self._acknowledge(fields)
        elif asked == "hold":
            self._withholding.arm(Plan(fields.whole("after"), fields.whole("purchases"), fields.whole("effects")))
            await self._withholding.enough()
        elif asked == "killed":
            await self._mark("worker_killed")
        elif asked == "paused":
            await self._mark("worker_paused")
        elif asked == "release":
            self._withholding.release()
            await self._mark("released")
        return {
            "attempts": self._book.attempts,
            "withheld_purchases": self._withholding.purchases,
            "withheld_effects": self._withholding.effects,
            "fsyncs": self._file.fsyncs,
        }

    async def _acknowledge(self, fields: Fields) -> None:
        steps = [Fields.of(step) for step in fields.list_of("steps")]
        noted = [self._book.acknowledge(s.text("key"), s.text("step"), s.whole("attempt")) for s in steps]
        await asyncio.gather(*(self._file.append(entry) for entry in noted))

    async def _mark(self, event: Event) -> None:
        await self._file.append(self._book.mark(event))


async def serve(path: Path, *, port: int, honours_keys: bool, with_parent: bool) -> int:
    """Run the ledger until it is told to stop, or its file breaks; return the exit code."""
    stop = await stop_requested(with_parent=with_parent)
    file = LedgerFile(path)
    ledger = Ledger(file, honours_keys=honours_keys)
    server = await asyncio.start_server(ledger.connected, "127.0.0.1", port, limit=LINE_LIMIT_BYTES, backlog=1024)
    host, port = server.sockets[0].getsockname()
    print(f"{host}:{port}", flush=True)
    stopped = asyncio.create_task(stop.wait())
    first: set[asyncio.Future[Any]] = {stopped, file.broken}
    await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    server.close()
    await ledger.close()
    if file.broken.done():
        print(f"the ledger cannot write its file: {file.broken.exception()}", flush=True)
        return 1
    await file.close()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the ledger from the command line."""
    parser = argparse.ArgumentParser(description="The bank and the campus of the course purchase, with their ledger.")
    parser.add_argument("--file", type=Path, required=True, help="the ledger's file, made if it is not there")
    parser.add_argument("--port", type=int, default=0, help="the port to listen on; 0, the default, takes a free one")
    parser.add_argument("--ignore-keys", action="store_true", help="do the work again when an idempotency key repeats")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input is closed")
    chosen = parser.parse_args(arguments)
    return asyncio.run(
        serve(
            chosen.file,
            port=chosen.port,
            honours_keys=not chosen.ignore_keys,
            with_parent=chosen.with_parent,
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
