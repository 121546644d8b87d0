"""What a database itself says, whichever it is: the engine is not asked."""

import sqlite3
from contextlib import closing
from typing import Any

import psycopg


def ask(store: str, *statements: str) -> list[tuple[Any, ...]]:
    """What the database itself says to the last of them; `{0}` stands for Motet's schema."""
    if store.startswith("sqlite"):
        with closing(sqlite3.connect(store.removeprefix("sqlite:///"))) as file, file:
            return [file.execute(statement.format("")).fetchall() for statement in statements][-1]
    with psycopg.connect(store) as server:
        cursors = [server.execute(statement.format("motet.")) for statement in statements]
        return cursors[-1].fetchall() if cursors[-1].description else []
