"""The program of the campaign's workers: `python -m tests.chaos.working`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import Any

from motet.testing.faults import arm
from tests.chaos.edges.workload import program
from tests.chaos.workload import tell


async def work() -> None:
    """Until SIGTERM, or until the failpoint that it was given."""
    app = program(os.environ)
    arm(app.hooks)
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    recorded: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    app.hooks.step_recorded(
        lambda key, step, number: recorded.put_nowait({"kind": "recorded", "key": key, "pid": os.getpid()})
    )

    async def acknowledge() -> None:
        while True:
            await tell(await recorded.get())

    async with app.worker():
        telling = asyncio.create_task(acknowledge())
        print("working", flush=True)
        await over.wait()
    telling.cancel()


if __name__ == "__main__":
    logging.basicConfig(level="WARNING", format="%(asctime)s %(process)d %(levelname)s %(name)s %(message)s")
    asyncio.run(work())
