"""From what a user gives as `conn` to something that can be asked."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from motet.errors import WrongType
from motet.store.borrowing import of_asyncpg, of_django, of_motet, of_psycopg, of_sqlalchemy
from motet.store.borrowing.kinds import Borrowed, OnFile, families

_FAMILIES: dict[str, Callable[[Any], Borrowed | None]] = {
    "asyncpg": of_asyncpg.borrow,
    "psycopg": of_psycopg.borrow,
    "sqlalchemy": of_sqlalchemy.borrow,
    "django": of_django.borrow,
    "motet": of_motet.borrow,
}

KNOWN = (
    "a connection of sqlite3, asyncpg or psycopg 3, a session or connection of SQLAlchemy 2 (sync or async), or "
    "django.db.connection"
)


def recognise(connection: object) -> Borrowed:
    """Raises WrongType: it is nothing that has a transaction."""
    if isinstance(connection, sqlite3.Connection):
        return OnFile(connection)
    for family in families(connection):
        known = _FAMILIES.get(family)
        found = known(connection) if known is not None else None
        if found is not None:
            return found
    kind = type(connection)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    raise WrongType(f"conn is a {name}; give the connection or session itself in which you write: {KNOWN}")
