"""What a user's connection is to us, whatever library it comes from."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from motet.store.postgres.borrowed import Statement

T = TypeVar("T")

Rows = Sequence[Sequence[Any]]


class OnFile(NamedTuple):
    """A connection to a SQLite file, of this thread."""

    connection: sqlite3.Connection


class OnThread(NamedTuple):
    """A connection to a SQLite file that another thread has: it runs there what is to be done with it."""

    call: Callable[[Callable[[sqlite3.Connection], Any]], Awaitable[Any]]


class Asking(NamedTuple):
    """A connection to PostgreSQL that blocks until it has an answer."""

    execute: Callable[[Statement], Rows]


class Awaiting(NamedTuple):
    """A connection to PostgreSQL that is awaited."""

    execute: Callable[[Statement], Awaitable[Rows]]


Borrowed = OnFile | OnThread | Asking | Awaiting


def families(connection: object) -> set[str]:
    """The packages that the object's classes come from."""
    return {kind.__module__.partition(".")[0] for kind in type(connection).__mro__}


def classes(connection: object, family: str) -> set[str]:
    """The names of those of its classes that come from this package."""
    found = (kind for kind in type(connection).__mro__ if kind.__module__.partition(".")[0] == family)
    return {kind.__name__ for kind in found}
