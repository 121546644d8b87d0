"""A program that its test kills: runs that move money within the store's own database, each in a transaction.

`python -m tests.crash.transfers STORE COUNT HANG`: prints a line whenever a function has written, before anybody
commits, and whenever a transfer is acknowledged; the function that is the HANGth to write hangs there (0: none does).
Run it again after a crash; it ends when all runs have. Armed by MOTET_FAILPOINT.
"""

import asyncio
import os
import re
import sqlite3
import sys
import threading
from typing import Any

from motet import App, Flow, Settings, attempt
from motet.testing.faults import arm

STORE, COUNT, HANG = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
written: list[str] = []
app = App("bank", store=STORE, settings=Settings(poll_seconds=0.05))


def say(*words: object) -> None:
    os.write(1, " ".join(map(str, words)).encode() + b"\n")  # whole lines, whatever thread says them


app.hooks.step_recorded(lambda key, step, number: say("acknowledged", key))


def wrote(key: str) -> None:
    written.append(key)
    say("wrote", key)
    if len(written) == HANG:
        threading.Event().wait()


def transfer(connection: Any, run: str, operation: str, cents: int) -> None:
    """A row of the book, and both accounts, in this order for everybody: nobody waits for each other in a circle."""
    for sql, values in (
        ("INSERT INTO transfer VALUES ($1, $2, $3)", (run, operation, cents)),
        ("UPDATE account SET cents = cents - $1 WHERE name = 'from'", (cents,)),
        ("UPDATE account SET cents = cents + $1 WHERE name = 'to'", (cents,)),
    ):
        if isinstance(connection, sqlite3.Connection):
            connection.execute(re.sub(r"\$\d", "?", sql), values)
        else:
            connection.execute(sql, *values)


@app.transaction
def move(connection: Any, amount: int) -> int:
    now = attempt()
    transfer(connection, now.run, now.operation, amount)
    wrote(now.key)
    return amount


@move.compensation(transaction=True)
def move_back(connection: Any, moved: int) -> None:
    now = attempt()
    transfer(connection, now.run, now.operation, -moved)
    wrote(now.key)


@app.step
async def look() -> None:
    """Something beside them, so that facts of both kinds stand next to each other."""


@app.workflow(raises=[ValueError])
async def pay(flow: Flow, number: int) -> int:
    first, _, second = await asyncio.gather(
        flow.transaction(move, number), flow.step(look), flow.transaction(move, 1000 * number)
    )
    if number % 3 == 0:
        raise ValueError("changed my mind")
    return first + second


async def main() -> None:
    arm(app.hooks)
    async with app.worker():
        handles = [await app.start(pay, number, id=f"r{number}") for number in range(COUNT)]
        await asyncio.gather(*(handle.result() for handle in handles), return_exceptions=True)
    say("ended")


if __name__ == "__main__":
    asyncio.run(main())
