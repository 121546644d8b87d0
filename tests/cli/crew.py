"""A module for several workers: each step notes outside who runs it, and lasts as long as the file `hold` is there."""

import asyncio
import os
from pathlib import Path

from motet import App, Flow

crew = App("crew")

if Path("broken").exists():
    raise RuntimeError("this module is broken now")


def note(line: str) -> None:
    with Path("effects").open("a") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


@crew.step
async def hold(name: str) -> None:
    note(f"{name} begun {os.getpid()}")
    while Path("hold").exists():
        await asyncio.sleep(0.01)  # tidy: the step's own work
    note(f"{name} ended {os.getpid()}")


@crew.workflow
async def walk(flow: Flow, name: str) -> str:
    await flow.step(hold, name)
    return name
