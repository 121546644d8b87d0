"""The worker process: drives the shop's runs until SIGTERM, and tells the ledger what is recorded for good.

The ledger writes these acknowledgements between the attempts, so that its file alone shows whether a step
whose record was durable ran once more. They follow the record, never precede it: a kill can lose some, which
makes the check weaker for these steps, and never wrong.

Run it with ``python -m examples.course_purchase.worker``, with MOTET_STORE and COURSE_LEDGER set.
"""

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import replace

from .connections import Connections
from .lifetime import stop_requested
from .protocol import encode
from .shop import services, shop


class Acknowledger:
    """Sends recorded steps to the ledger, as many in one message as have gathered."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._recorded: asyncio.Queue[dict[str, object] | None] = asyncio.Queue()

    def step_recorded(self, key: str, step: str, attempt: int) -> None:
        """Take note of a durable record. Called on the worker's event loop."""
        self._recorded.put_nowait({"key": key, "step": step, "attempt": attempt})

    def finish(self) -> None:
        """Let `run` end when all that was noted so far is sent."""
        self._recorded.put_nowait(None)

    async def run(self) -> None:
        """Send until `finish` is called."""
        noted: list[dict[str, object] | None] = []
        while None not in noted:
            noted = [await self._recorded.get()]
            noted += [self._recorded.get_nowait() for _ in range(self._recorded.qsize())]
            steps = [step for step in noted if step is not None]
            if steps:
                await self._connections.ask(encode({"operation": "acknowledged", "steps": steps}))


async def work(*, with_parent: bool, lease_seconds: float | None = None) -> None:
    """Work until told to stop."""
    if lease_seconds is not None:
        shop.use_settings(replace(shop.settings, lease_seconds=lease_seconds))
    stop = await stop_requested(with_parent=with_parent)
    async with Connections() as to_ledger:
        acknowledger = Acknowledger(to_ledger)
        shop.hooks.step_recorded(acknowledger.step_recorded)
        sending = asyncio.create_task(acknowledger.run())
        # An acknowledgement that cannot be sent ends the worker: a check that is weaker than it says is no
        # use.
        sending.add_done_callback(lambda _: stop.set())
        async with shop.worker():
            print("working", flush=True)
            await stop.wait()
        acknowledger.finish()
        await sending
        services.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker from the command line."""
    parser = argparse.ArgumentParser(description="A worker of the course purchase.")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input is closed")
    parser.add_argument("--lease", type=float, metavar="SECONDS", help="another lease than Motet's own")
    chosen = parser.parse_args(arguments)
    asyncio.run(work(with_parent=chosen.with_parent, lease_seconds=chosen.lease))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
