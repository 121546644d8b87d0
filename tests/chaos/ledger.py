"""The outside world of the campaign, as a process of its own: it does what steps ask for, and remembers all of it.

One line of JSON comes in, one goes out; between them the line is on disk, fsynced. The lines' numbers are the
campaign's only clock. The ledger honours keys (an effect is made once per key) and fencing tokens (an owner that has
been replaced is refused), as the documentation asks of real services. What a purchase meets here is written in the
request itself (`trouble`), so that a campaign's seed decides it, whoever sends it and however often.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

Line = dict[str, Any]

FLAKY_ATTEMPTS = 2
UNDOES = {"refund": "pay", "remove": "enroll"}


class Ledger:
    """Decides in the order of arrival, answers when the line is durable."""

    def __init__(self, file: Path) -> None:
        self._fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._number = 0
        self._made: dict[str, str] = {}  # by key
        self._standing: dict[tuple[str, str], list[str]] = {}  # by what was done and for whom
        self._highest: Counter[str] = Counter()  # by run, and by reaction
        self._tries: Counter[str] = Counter()  # by key
        self._first: dict[tuple[str, str], str] = {}  # the first key that asked for this
        self._written: list[tuple[bytes, asyncio.Future[None]]] = []
        self._more = asyncio.Event()
        self._chance = random.Random(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                reply = await self._answer(json.loads(line))
                if reply is None:
                    break  # the reply is lost
                writer.write(json.dumps(reply).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, json.JSONDecodeError):
            return  # whoever asked has died
        finally:
            writer.close()

    async def write(self) -> None:
        """Many lines, one fsync."""
        while True:
            await self._more.wait()
            self._more.clear()
            batch, self._written = self._written, []
            os.write(self._fd, b"".join(line for line, _ in batch))
            os.fsync(self._fd)
            for _, durable in batch:
                if not durable.done():
                    durable.set_result(None)

    async def _answer(self, asked: Line) -> Line | None:
        if asked["kind"] == "delivery":
            return await self._hear(asked)
        if asked["kind"] != "attempt":
            await self._put(asked)
            return {}
        run = asked["key"].partition(".")[0]
        stale = asked["token"] < self._highest[run]
        self._highest[run] = max(self._highest[run], asked["token"])
        self._tries[asked["key"]] += 1
        answer, lost = self._decide(asked, stale)
        await self._put({**asked, "answer": answer, "stale": stale, "lost": lost})
        if "slow" in asked["trouble"]:
            await asyncio.sleep(self._chance.random() * 0.4)  # tidy: the service's own time
        return None if lost else {"answer": answer}

    async def _hear(self, asked: Line) -> Line:
        """That an event is delivered to a reaction: flaky ones are down at first."""
        name, key = asked["reaction"], asked["key"]
        stale = asked["token"] < self._highest[name]
        self._highest[name] = max(self._highest[name], asked["token"])
        self._tries[key] += 1
        flaky = asked["trouble"] == "flaky" and self._tries[key] <= FLAKY_ATTEMPTS
        answer = "stale" if stale else "down" if flaky else "ok"
        await self._put({**asked, "answer": answer, "stale": stale})
        return {"answer": answer}

    def _decide(self, asked: Line, stale: bool) -> tuple[str, bool]:
        """The answer, and whether nobody hears it."""
        key, did, trouble = asked["key"], asked["did"], asked["trouble"]
        if stale:
            return "stale", False
        first = self._first.setdefault((did, asked["whom"]), key)
        if trouble == f"{did}:refused" or (trouble == f"{did}:refused_once" and key == first):
            return "refused", False
        if trouble == f"{did}:flaky" and self._tries[key] <= FLAKY_ATTEMPTS:
            return "down", False
        lost = trouble == f"{did}:always_lost" or (trouble == f"{did}:lost" and self._tries[key] <= FLAKY_ATTEMPTS)
        return self._do(key, did, asked["whom"]), lost

    def _do(self, key: str, did: str, whom: str) -> str:
        if key in self._made:
            return self._made[key]
        if did in UNDOES:
            standing = self._standing.get((UNDOES[did], whom), [])
            effect = "undone " + standing.pop() if standing else "nothing"
        else:
            effect = f"{did}_{self._number + 1}"
            self._standing.setdefault((did, whom), []).append(effect)
        self._made[key] = effect
        return effect

    async def _put(self, line: Line) -> None:
        self._number += 1
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        data = json.dumps({"number": self._number, "at": time.monotonic(), **line}).encode() + b"\n"
        self._written.append((data, durable))
        self._more.set()
        await durable


async def main(socket: str, file: str) -> None:
    ledger = Ledger(Path(file))
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    writing = asyncio.create_task(ledger.write())
    server = await asyncio.start_unix_server(ledger.serve, socket, backlog=1_000)
    print("open", flush=True)
    async with server:
        await over.wait()
    writing.cancel()


def read(file: Path) -> list[Line]:
    """All whole lines."""
    return [json.loads(line) for line in file.read_text().splitlines()]


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
