"""A program that its tests start several times over: a worker whose steps tell an outside file when they begin and end.

Arguments: the store, the file. Lines are appended whole, in the order in which they happened: `+ queue id` when the
first step of a run begins, `- queue id` when its last one has ended.
"""

from __future__ import annotations

import asyncio
import os
import sys

from motet import App, Flow, Settings

STORE, RECORD = sys.argv[1:3] if len(sys.argv) > 2 else ("motet.db", "record")
LIMIT = 3


def queueing_app(store: str, record: str) -> App:
    """Its runs of the queue `few` are driven three at a time."""
    app = App("queueing", store=store, settings=Settings(poll_seconds=0.2))
    app.queue("few", concurrency=LIMIT)
    app.queue("many")
    file = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def tell(line: str) -> None:
        os.write(file, line.encode() + b"\n")

    @app.step
    async def begin(queue: str, id: str) -> None:
        tell(f"+ {queue} {id}")
        await asyncio.sleep(0.01)  # tidy: the work that a step does

    @app.step
    async def end(queue: str, id: str) -> None:
        await asyncio.sleep(0.01)  # tidy: the work that a step does
        tell(f"- {queue} {id}")

    @app.workflow(queue="few")
    async def careful(flow: Flow, id: str) -> None:
        await flow.step(begin, "few", id)
        await flow.step(end, "few", id)

    @app.workflow(queue="many")
    async def plentiful(flow: Flow, id: str) -> None:
        await flow.step(begin, "many", id)
        await flow.step(end, "many", id)

    return app


async def main() -> None:
    app = queueing_app(f"sqlite:///{STORE}", RECORD)
    async with app.worker():
        print("working", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
