"""The worker process: drives an app's runs and reactions until SIGTERM, and tells the ledger what is recorded for good.

The ledger writes these acknowledgements between the attempts, so that its file alone shows whether a step
whose record was durable ran once more. They follow the record, never precede it: a kill can lose some, which
makes the check weaker for these steps, and never wrong.

Run it with ``python -m examples.course_purchase.worker --app .hybrid:shop``, with MOTET_STORE and COURSE_LEDGER set.
"""

import argparse
import asyncio
import importlib
from collections.abc import Sequence
from dataclasses import replace

from motet import App

from .connections import Connections
from .lifetime import stop_requested
from .participants import services
from .protocol import encode


class Acknowledger:
    """Sends recorded steps and deliveries to the ledger, as many in one message as have gathered."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._recorded: asyncio.Queue[dict[str, object] | None] = asyncio.Queue()

    def recorded(self, key: str, step: str, attempt: int) -> None:
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


async def work(app: App, *, with_parent: bool, lease_seconds: float | None = None) -> None:
    """Work until told to stop."""
    if lease_seconds is not None:
        app.use_settings(replace(app.settings, lease_seconds=lease_seconds))
    services.caller = app.name
    stop = await stop_requested(with_parent=with_parent)
    async with Connections() as to_ledger:
        acknowledger = Acknowledger(to_ledger)
        app.hooks.step_recorded(acknowledger.recorded)
        app.hooks.delivery_recorded(acknowledger.recorded)
        sending = asyncio.create_task(acknowledger.run())
        # An acknowledgement that cannot be sent ends the worker: a check that is weaker than it says is no
        # use.
        sending.add_done_callback(lambda _: stop.set())
        async with app.worker():
            print("working", flush=True)
            await stop.wait()
        acknowledger.finish()
        await sending
        services.close()


def app_of(place: str) -> App:
    """Return the app at `.module:name` of this package: only its own code is loaded in this process."""
    module, _, name = place.partition(":")
    app: App = getattr(importlib.import_module(module, __package__), name)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker from the command line."""
    parser = argparse.ArgumentParser(description="A worker of the course purchase.")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input is closed")
    parser.add_argument("--lease", type=float, metavar="SECONDS", help="another lease than Motet's own")
    parser.add_argument("--app", default=".hybrid:shop", metavar=".MODULE:NAME", help="whose worker it is")
    chosen = parser.parse_args(arguments)
    asyncio.run(work(app_of(chosen.app), with_parent=chosen.with_parent, lease_seconds=chosen.lease))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
