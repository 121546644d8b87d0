"""A store in PostgreSQL, versions 14 to 18: for many workers on many machines. Needs the extra `motet[postgres]`."""

from motet.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
