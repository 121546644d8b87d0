"""A program that its test kills: reactions whose effects are in the store itself. Argument: the store."""

import asyncio
import sqlite3
import sys
from typing import Any

from motet import App, Event

app = App("reacting", store=f"sqlite:///{sys.argv[1]}")


@app.on("paid", start="beginning", transaction=True)
def book(event: Event[Any], connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO book (number, key) VALUES (?, ?)", (event.data, event.key))
    event.publish("booked", event.data)
    print("book", event.data, flush=True)


@app.on("paid", start="beginning")
async def bill(event: Event[Any]) -> None:
    await asyncio.sleep(0)
    event.publish("billed", event.data)
    print("bill", event.data, flush=True)


async def main() -> None:
    async with app.worker():
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
