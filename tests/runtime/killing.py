"""A program for tests: one workflow whose step kills its process, and some that are only its neighbours.

Arguments: the store's file, the ledger of effects, and the ids to start (none: only resume what there is).
"""

import asyncio
import os
import sys
from pathlib import Path

from motet import App, Flow, attempt
from motet.errors import RunBlocked

STORE, LEDGER, *IDS = sys.argv[1:]

app = App("killing", store=f"sqlite:///{STORE}")


def note(line: str) -> None:
    with Path(LEDGER).open("a") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


@app.step
async def dangerous(name: str) -> str:
    note(f"{name} {attempt().number}")
    if name == "killer":
        # Late, so that neighbours are in memory too.
        await asyncio.sleep(0.1)  # tidy: the step's own work
        os._exit(137)
    await asyncio.sleep(0.3)  # tidy: the step's own work
    return name


@app.workflow
async def walk(flow: Flow, name: str) -> str:
    return await flow.step(dangerous, name)


async def main() -> None:
    async with app.worker():
        for name in IDS:
            await app.start(walk, name, id=name)
        for name in ("neighbour", "killer"):
            try:
                print(name, await app.result(name), flush=True)
            except RunBlocked as error:
                print(name, "blocked", error, flush=True)


asyncio.run(main())
