"""The budget, which is the world outside: a step may enter the same into its book again, and it counts once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Literal

BOOK = "budget.db"
Entry = Literal["reserved", "released", "spent"]


def enter(purchase: str, entry: Entry, cents: int) -> None:
    """Write it into the book in the current folder, unless it is there already."""
    with closing(sqlite3.connect(BOOK, timeout=30)) as book, book:
        book.execute("CREATE TABLE IF NOT EXISTS entry (purchase, entry, cents, PRIMARY KEY (purchase, entry))")
        book.execute("INSERT OR IGNORE INTO entry VALUES (?, ?, ?)", (purchase, entry, cents))
