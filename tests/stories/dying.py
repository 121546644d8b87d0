"""A program that its test kills: one run, whose effects go to an outside file, fsynced, and are told on stdout.

Arguments: the store, the file of effects, what to do (`undo`, `cancel`, `publish`), `start` or `resume`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from motet import App, Flow, Retry, attempt
from motet.errors import RunEndedBadly

STORE, EFFECTS, WHAT, MODE = sys.argv[1:]
app = App("dying", store=f"sqlite:///{STORE}")
ONCE = Retry(attempts=1)


def write(line: str) -> None:
    with Path(EFFECTS).open("a") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


async def effect(what: str, *, hang: bool = False) -> None:
    """Done and on disk; then, in the first life, wait to be killed before anybody hears of it."""
    write(f"{what} {attempt().key}\n")
    print(what, flush=True)
    if hang and MODE == "start":
        await asyncio.Event().wait()


@app.step(retry=ONCE)
async def book(what: str) -> str:
    await effect(f"book {what}", hang=what.startswith("hang"))
    return what


@book.compensation(retry=ONCE)
async def unbook(booked: str | None, what: str) -> None:
    await effect(f"unbook {booked} {what}", hang=what == "b" and WHAT == "undo")


@app.workflow
async def undo(flow: Flow) -> None:
    for what in ("a", "b", "c"):
        await flow.step(book, what)
    raise ValueError("undo it all")


@app.workflow
async def cancel(flow: Flow) -> None:
    await flow.step(book, "a")
    await flow.step(book, "hang")
    await flow.step(book, "never")


@app.workflow
async def publish(flow: Flow) -> str:
    for number in range(50):
        await flow.step(book, str(number))
        flow.publish("number.booked", {"number": number})
    await flow.step(book, "hang")
    return "all"


async def main() -> None:
    async with app.worker():
        if MODE == "start":
            await app.start({"undo": undo, "cancel": cancel, "publish": publish}[WHAT], id="run")
        try:
            print("result", await app.result("run"), flush=True)
        except RunEndedBadly as error:
            print("ended", type(error).__name__, error, flush=True)


asyncio.run(main())
