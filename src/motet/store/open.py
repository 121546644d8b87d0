"""From an address to a store."""

from __future__ import annotations

import sqlite3

from motet.errors import ConfigError
from motet.model.clock import Clock
from motet.store.protocol import Store
from motet.store.sqlite import SqliteStore


def engines() -> dict[str, str]:
    """The versions of the databases that this program's stores stand on."""
    return {"SQLite": sqlite3.sqlite_version}


def store_at(address: str, clock: Clock) -> Store:
    """The store at an address such as `sqlite:///motet.db`; not opened yet.

    Raises:
        ConfigError: no store speaks this address.
    """
    scheme, _, rest = address.partition("://")
    if scheme == "sqlite" and rest == "/:memory:":
        raise ConfigError(
            f"store address {address!r}: what is only in memory survives nothing; name a file, in tests a temporary one"
        )
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return SqliteStore(rest[1:], clock)
    raise ConfigError(
        f"store address {address!r} is not understood; write sqlite:///relative.db or sqlite:////absolute.db"
    )
