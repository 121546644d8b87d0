"""A TCP proxy before PostgreSQL that makes the network bad on demand.

    Proxy(port).start()                             in this process
    ProxyProcess.start(port)                        as a process of its own: python -m tests.chaos.faults.proxy PORT

A connection passes everything on, unchanged, until one of these befalls it:

    drop_replies(n)    of the next n commits that have written something, the server's reply is swallowed, and the
                       connection is cut: they are durable, and nobody was told
    mute_replies(n)    the same, but the connection stays open in silence
    cut_writing(n)     the next n transactions are cut after they have written something, before their commit
    cut_all()          all connections are cut
    silence(name)      those that are there become half open: nothing passes any more, and nobody is told
    slow(seconds, name)  from now on each piece of data takes so long, both ways; 0: no more
    away(True)         nobody gets through any more, until away(False)

With a name, only connections of clients that call themselves so (`application_name`) are meant.
To cut is to reset (RST): both sides get an error and not an end. `counts` tells what has truly happened.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Self

from tests.chaos.faults.wire import Opening, Replies, Transaction

ROOT = Path(__file__).parent.parent.parent.parent
HIGH_WATER = 4 * 1024 * 1024


class Proxy:
    """Listens on a port of its own; `port` is known when it has started."""

    def __init__(self, target: int, host: str = "127.0.0.1") -> None:
        self.counts: Counter[str] = Counter()
        self.port = 0
        self._delays: dict[str, float] = {}
        self.left: Counter[str] = Counter()
        """How many of each fault are still to befall somebody."""
        self._links: set[Link] = set()
        self._host = host
        self._target = target
        self._away = False
        self._server: asyncio.Server | None = None

    async def start(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Side(self._open()), self._host, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        self.cut_all()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    # --- the faults -------------------------------------------------------------------------------------------

    def drop_replies(self, count: int) -> None:
        self.left["replies dropped"] = count

    def mute_replies(self, count: int) -> None:
        self.left["replies muted"] = count

    def cut_writing(self, count: int) -> None:
        self.left["cut in transaction"] = count

    def cut_all(self) -> int:
        """How many were cut."""
        cut = [link for link in self._links if not link.silent]
        for link in cut:
            link.cut()
        self.counts["cut"] += len(cut)
        return len(cut)

    def silence(self, name: str = "") -> int:
        """How many are half open from now on."""
        fresh = [link for link in self._links if not link.silent and name in ("", link.name)]
        for link in fresh:
            link.silent = True
        self.counts["silenced"] += len(fresh)
        return len(fresh)

    def end_silence(self) -> int:
        """Cut those that are half open, as a router does when it forgets its table; how many there were."""
        silent = [link for link in self._links if link.silent]
        for link in silent:
            link.cut()
        return len(silent)

    def slow(self, seconds: float, name: str = "") -> None:
        self._delays[name] = seconds

    def delay(self, name: str) -> float:
        """How long a piece of data of this client's takes now."""
        return max(self._delays.get("", 0.0), self._delays.get(name, 0.0))

    def away(self, is_away: bool) -> None:
        self._away = is_away
        if is_away:
            self.cut_all()

    def takes(self, fault: str) -> bool:
        """Whether this fault is to befall somebody now; counts it."""
        if self.left[fault] <= 0:
            return False
        self.left[fault] -= 1
        self.counts[fault] += 1
        return True

    # --- connections ------------------------------------------------------------------------------------------

    def _open(self) -> Link | None:
        if self._away:
            return None
        link = Link(self)
        self._links.add(link)
        return link

    async def reach(self, link: Link) -> None:
        """Connect to the server for a client that has come."""
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: Side(link, server=True), self._host, self._target
            )
        except OSError:
            link.cut()  # the server is away: its client hears of it as it would without us

    def forget(self, link: Link) -> None:
        self._links.discard(link)


class Side(asyncio.Protocol):
    """One end of a connection; bytes that come in go to the link."""

    def __init__(self, link: Link | None, *, server: bool = False) -> None:
        self.transport: asyncio.Transport | None = None
        self._link = link
        self._is_server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        made = transport.get_extra_info("socket")
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._link is None:
            reset(transport)
        elif self._is_server:
            self._link.server_has_come(self)
        else:
            self._link.client_has_come(self)

    def data_received(self, data: bytes) -> None:
        if self._link is not None:
            self._link.pass_on(data, from_server=self._is_server)

    def connection_lost(self, error: Exception | None) -> None:
        if self._link is not None:
            self._link.lost(from_server=self._is_server)


class Link:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, proxy: Proxy) -> None:
        self.silent = False
        self._proxy = proxy
        self._client: Side | None = None
        self._server: Side | None = None
        self._opening = Opening()
        self._replies = Replies()
        self._transaction = Transaction()
        self._early: list[bytes] = []
        self._due = {True: 0.0, False: 0.0}
        self._over = False
        self._reaching: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self._opening.name

    def client_has_come(self, side: Side) -> None:
        self._client = side
        self._reaching = asyncio.get_running_loop().create_task(self._proxy.reach(self))

    def server_has_come(self, side: Side) -> None:
        self._server = side
        if self._over:
            self.cut()
        for data in self._early:
            self._write(side, data)
        self._early.clear()

    def pass_on(self, data: bytes, *, from_server: bool) -> None:
        if self.silent or self._over:
            return
        if not from_server:
            self._replies.single_bytes += self._opening.take(data)
            self._send(data, to_server=True)
            return
        passed: list[bytes] = []
        for message in self._replies.take(data):
            self._proxy.counts["statements"] += message.kind == b"C"
            self._proxy.counts["round trips"] += message.kind == b"Z"
            was_writing = self._transaction.open and self._transaction.wrote
            committed = self._transaction.hear(message)
            if committed and self._proxy.takes("replies dropped"):
                self.cut()
                return
            if committed and self._proxy.takes("replies muted"):
                self.silent = True
                return
            writing = self._transaction.open and self._transaction.wrote
            if writing and not was_writing and self._proxy.takes("cut in transaction"):
                self.cut()
                return
            passed.append(message.raw)
        self._send(b"".join(passed), to_server=False)

    def lost(self, *, from_server: bool) -> None:
        """One side has gone; the other hears of it, unless nothing passes here any more."""
        if self._over:
            return
        if self.silent and from_server:
            self._server = None  # the client is not told
            self._proxy.counts["given up by the server"] += 1
            return
        if self.silent:
            self._proxy.counts["noticed by the client"] += 1
            self.cut()
            return
        self._finish()

    def cut(self) -> None:
        self._over = True
        self._proxy.forget(self)
        for side in (self._client, self._server):
            if side is not None and side.transport is not None:
                reset(side.transport)

    def _finish(self) -> None:
        """In good order: what was said last still arrives."""
        self._over = True
        self._proxy.forget(self)
        for side in (self._client, self._server):
            if side is not None and side.transport is not None:
                side.transport.close()

    def _send(self, data: bytes, *, to_server: bool) -> None:
        if not data:
            return
        side = self._server if to_server else self._client
        if side is None:
            self._early.append(data)
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        delay = self._proxy.delay(self.name)
        if delay or self._due[to_server] > now:  # never before what was delayed earlier
            self._due[to_server] = max(self._due[to_server], now + delay)
            loop.call_at(self._due[to_server], self._write, side, data)
        else:
            self._write(side, data)

    def _write(self, side: Side, data: bytes) -> None:
        if self.silent or self._over or side.transport is None:
            return
        side.transport.write(data)
        other = self._client if side is self._server else self._server
        if side.transport.get_write_buffer_size() > HIGH_WATER and other is not None and other.transport is not None:
            other.transport.pause_reading()
            asyncio.get_running_loop().call_later(0.05, _go_on_reading, other.transport)


def _go_on_reading(transport: asyncio.Transport) -> None:
    if not transport.is_closing():
        transport.resume_reading()


def reset(transport: asyncio.Transport) -> None:
    """Close at once and say so with RST."""
    if not transport.is_closing():
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class ProxyProcess:
    """A proxy in a process of its own, so that nobody else's work slows it down."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.port = port
        self._process = process
        self._turn = asyncio.Lock()

    @classmethod
    async def start(cls, target: int) -> Self:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.chaos.faults.proxy", str(target), cwd=ROOT,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        return cls(process, json.loads(await process.stdout.readline()))

    async def tell(self, name: str, *words: float | bool | str) -> Any:
        """Call one of the proxy's faults by its name."""
        assert self._process.stdin is not None and self._process.stdout is not None
        async with self._turn:
            self._process.stdin.write(json.dumps([name, *words]).encode() + b"\n")
            return json.loads(await self._process.stdout.readline())

    async def counts(self) -> Counter[str]:
        return Counter(await self.tell("counts"))

    def kill(self) -> None:
        """At once, whoever waits."""
        if self._process.returncode is None:
            self._process.kill()

    async def close(self) -> None:
        """It ends with its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


async def main(target: int) -> None:
    proxy = await Proxy(target).start()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(proxy.port, flush=True)
    while line := await reader.readline():
        name, *words = json.loads(line)
        found = getattr(proxy, name)
        print(json.dumps(found(*words) if callable(found) and name != "counts" else found), flush=True)
    await proxy.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
