"""A probe's own process: `python -m benchmarks.probe MODULE:FUNCTION LOOP JSON`. Started by `frame.probe`."""

import asyncio
import importlib
import json
import sys

from benchmarks.frame import say


def main() -> None:
    name, loop, given = sys.argv[1:]
    module, _, function = name.partition(":")
    probe = getattr(importlib.import_module(f"benchmarks.{module}"), function)
    factory = None
    if loop == "uvloop":
        import uvloop  # noqa: PLC0415 - only where it is asked for

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        say({"found": runner.run(probe(json.loads(given)))})


if __name__ == "__main__":
    main()
