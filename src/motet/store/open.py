"""From an address to a store."""

from __future__ import annotations

import sqlite3

from motet.errors import ConfigError
from motet.model.clock import Clock
from motet.store.mutations import Mutation
from motet.store.protocol import Receipt, Store
from motet.store.sqlite import SqliteStore
from motet.store.sqlite.borrowed import write_within as write_within_sqlite


def engines() -> dict[str, str]:
    """The versions of the databases that this program's stores stand on."""
    return {"SQLite": sqlite3.sqlite_version}


def store_at(address: str, clock: Clock) -> Store:
    """The store at an address such as `sqlite:///motet.db`; not opened yet.

    Raises:
        ConfigError: no store speaks this address.
    """
    return SqliteStore(_path(address), clock)


def write_within(address: str, connection: object, unit: list[Mutation]) -> Receipt:
    """Write a unit inside the transaction of a connection to the store at this address; see the store's own.

    Raises:
        WrongType, WrongPlace: this is no connection to that store, or has no transaction.
        ConfigError, StoreError.
    """
    return write_within_sqlite(connection, _path(address), unit)


def _path(address: str) -> str:
    scheme, _, rest = address.partition("://")
    if scheme == "sqlite" and rest == "/:memory:":
        raise ConfigError(
            f"store address {address!r}: what is only in memory survives nothing; name a file, in tests a temporary one"
        )
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return rest[1:]
    raise ConfigError(
        f"store address {address!r} is not understood; write sqlite:///relative.db or sqlite:////absolute.db"
    )
