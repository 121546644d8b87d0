"""The embedded store: one SQLite file, safe for many processes of one machine."""

from motet.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
