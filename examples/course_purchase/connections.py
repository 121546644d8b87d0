"""Connections to the ledger, kept for reuse.

One request at a time per connection; a request that gets no reply costs its connection, whether the ledger
closed it, the step's timeout cancelled the request, or the line is garbage. The pool never repeats a request
by itself: only the one who holds the idempotency key may decide that.
"""

import asyncio
import os
from types import TracebackType
from typing import Self

ADDRESS_VARIABLE = "COURSE_LEDGER"
"""Environment variable with the ledger's address, as host:port."""

LINE_LIMIT_BYTES = 1 << 20


class ServiceUnreachable(Exception):
    """No connection, or no reply: nobody here knows whether the work was done."""


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, line: bytes) -> bytes:
        self._writer.write(line)
        await self._writer.drain()
        reply = await self._reader.readline()
        if not reply.endswith(b"\n"):
            raise ServiceUnreachable("the ledger closed the connection without a reply")
        return reply

    def usable(self) -> bool:
        return not self._reader.at_eof() and not self._writer.is_closing()

    def close(self) -> None:
        self._writer.close()


class Connections:
    """A pool that grows with the requests under way. The address is read at the first request unless it is
    given. `caller` is who asks for work over them: the app of this process."""

    def __init__(self, address: str | None = None) -> None:
        self.caller = ""
        self._address = address
        self._idle: list[_Connection] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def ask(self, line: bytes) -> bytes:
        """Send one request and return the reply; raises `ServiceUnreachable` where none comes."""
        connection = await self._take()
        try:
            reply = await connection.ask(line)
        except OSError as error:
            connection.close()
            raise ServiceUnreachable(f"the connection to the ledger broke: {error}") from error
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return reply

    def close(self) -> None:
        """Close the connections that are not in use."""
        while self._idle:
            self._idle.pop().close()

    async def _take(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable():
                return connection
            connection.close()
        host, port = self._host_and_port()
        try:
            return _Connection(*await asyncio.open_connection(host, port, limit=LINE_LIMIT_BYTES))
        except OSError as error:
            raise ServiceUnreachable(f"nothing answers at {host}:{port}: {error}") from error

    def _host_and_port(self) -> tuple[str, int]:
        address = self._address or os.environ.get(ADDRESS_VARIABLE, "")
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise ServiceUnreachable(f"{ADDRESS_VARIABLE} must hold the ledger's address as host:port, not {address!r}")
        return host, int(port)
