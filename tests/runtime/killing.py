"""A program for tests: runs whose steps, or bodies, kill their process, and some that are only their neighbours.

Arguments: the store's file, the ledger of effects, and the names of the runs, which are started unless they have been:
`killer-0.1` kills its process after 0.1 s, `body-1` in its body, `neighbour-0.3` is at work for so long and goes on.
"""

import asyncio
import os
import sys
from pathlib import Path

from motet import App, Flow, attempt
from motet.errors import RunBlocked

STORE, LEDGER, *NAMES = sys.argv[1:]

app = App("killing", store=f"sqlite:///{STORE}")


def note(line: str) -> None:
    with Path(LEDGER).open("a") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


@app.step
async def dangerous(name: str) -> str:
    kind, seconds = name.split("-")
    note(f"{name} {attempt().number}")
    await asyncio.sleep(float(seconds))  # tidy: the step's own work
    if kind == "killer":
        os._exit(137)
    return name


@app.workflow
async def walk(flow: Flow, name: str) -> str:
    if name.startswith("body"):
        note(name)
        os._exit(137)
    return await flow.step(dangerous, name)


async def main() -> None:
    async with app.connect():
        for name in NAMES:
            await app.start(walk, name, id=name)
    async with app.worker():
        for name in NAMES:
            try:
                print(name, await app.result(name), flush=True)
            except RunBlocked as error:
                print(name, "blocked", error, flush=True)


asyncio.run(main())
