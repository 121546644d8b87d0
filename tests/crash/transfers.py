"""A program that its test kills: runs that move money within the store's own database, each in a transaction.

`python -m tests.crash.transfers STORE COUNT HANG`: prints a line whenever a function has written, before anybody
commits, and whenever a transfer is acknowledged; the function that is the HANGth to write hangs there (0: none does).
Run it again after a crash; it ends when all runs have. Armed by MOTET_FAILPOINT.
"""

import asyncio
import os
import sqlite3
import sys
import threading

from motet import App, Flow, Settings, attempt
from motet.testing.faults import arm

STORE, COUNT, HANG = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
written: list[str] = []
app = App("bank", store=f"sqlite:///{STORE}", settings=Settings(poll_seconds=0.05))


def say(*words: object) -> None:
    os.write(1, " ".join(map(str, words)).encode() + b"\n")  # whole lines, whatever thread says them


app.hooks.step_recorded(lambda key, step, number: say("acknowledged", key))


def wrote(key: str) -> None:
    written.append(key)
    say("wrote", key)
    if len(written) == HANG:
        threading.Event().wait()


@app.transaction
def move(connection: sqlite3.Connection, amount: int) -> int:
    now = attempt()
    connection.execute("INSERT INTO transfer VALUES (?, ?, ?)", (now.run, now.operation, amount))
    connection.execute("UPDATE account SET cents = cents - ? WHERE name = 'from'", (amount,))
    connection.execute("UPDATE account SET cents = cents + ? WHERE name = 'to'", (amount,))
    wrote(now.key)
    return amount


@move.compensation(transaction=True)
def move_back(connection: sqlite3.Connection, moved: int) -> None:
    now = attempt()
    connection.execute("INSERT INTO transfer VALUES (?, ?, ?)", (now.run, now.operation, -moved))
    connection.execute("UPDATE account SET cents = cents + ? WHERE name = 'from'", (moved,))
    connection.execute("UPDATE account SET cents = cents - ? WHERE name = 'to'", (moved,))
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


def open_accounts() -> None:
    connection = sqlite3.connect(STORE)
    with connection:
        connection.execute("CREATE TABLE IF NOT EXISTS account (name TEXT PRIMARY KEY, cents INTEGER)")
        connection.execute("CREATE TABLE IF NOT EXISTS transfer (run TEXT, operation TEXT, cents INTEGER)")
        connection.execute("INSERT INTO account VALUES ('from', 0), ('to', 0) ON CONFLICT DO NOTHING")
    connection.close()


async def main() -> None:
    open_accounts()
    arm(app.hooks)
    async with app.worker():
        handles = [await app.start(pay, number, id=f"r{number}") for number in range(COUNT)]
        await asyncio.gather(*(handle.result() for handle in handles), return_exceptions=True)
    say("ended")


if __name__ == "__main__":
    asyncio.run(main())
