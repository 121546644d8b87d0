"""From an address to a store."""

from __future__ import annotations

import sqlite3
from importlib import metadata

from motet.config import Settings
from motet.errors import ConfigError
from motet.model.clock import Clock
from motet.store.postgres_address import is_postgres
from motet.store.protocol import Store
from motet.store.sqlite import SqliteStore


def engines() -> dict[str, str]:
    """The versions of the databases that this program's stores stand on."""
    found = {"SQLite": sqlite3.sqlite_version}
    try:
        found["asyncpg"] = metadata.version("asyncpg")
    except metadata.PackageNotFoundError:  # an extra
        return found
    return found


def store_at(address: str, clock: Clock, settings: Settings | None = None) -> Store:
    """The store at an address such as `sqlite:///motet.db`; not opened yet.

    Raises:
        ConfigError: no store speaks this address, or its driver is not installed.
    """
    if is_postgres(address):
        from motet.store.postgres import PostgresStore  # noqa: PLC0415 - its driver is an extra

        return PostgresStore(address, clock, (settings or Settings()).lease_seconds)
    return SqliteStore(path_of(address), clock)


def path_of(address: str) -> str:
    """The file of a store in SQLite. Raises ConfigError."""
    scheme, _, rest = address.partition("://")
    if scheme == "sqlite" and rest == "/:memory:":
        raise ConfigError(
            f"store address {address!r}: what is only in memory survives nothing; name a file, in tests a temporary one"
        )
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return rest[1:]
    raise ConfigError(
        f"store address {address!r} is not understood; write sqlite:///relative.db, sqlite:////absolute.db or "
        "postgresql://user:password@host/database"
    )
