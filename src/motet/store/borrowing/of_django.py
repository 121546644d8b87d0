"""Django's connections: `django.db.connection`, or one of `django.db.connections`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motet.errors import WrongPlace, WrongType
from motet.store.borrowing.kinds import Asking, OnFile, Rows

if TYPE_CHECKING:
    from motet.store.postgres.borrowed import Statement


def borrow(connection: Any) -> OnFile | Asking | None:
    """None: it is something else of Django. Raises WrongType: it stands on a database that is no store's; WrongPlace:
    it commits each statement by itself."""
    vendor = getattr(connection, "vendor", None)
    if vendor is None or not hasattr(connection, "in_atomic_block"):
        return None
    if vendor not in ("postgresql", "sqlite"):
        raise WrongType(f"conn is Django's connection to {vendor}; a store is in SQLite or PostgreSQL")
    connection.ensure_connection()
    if not connection.in_atomic_block and connection.get_autocommit():
        raise WrongPlace(
            "conn is Django's connection outside of a transaction, where each statement is committed by itself; call "
            "this inside 'with transaction.atomic():'"
        )
    if vendor == "sqlite":
        return OnFile(connection.connection)

    def execute(statement: Statement) -> Rows:
        with connection.cursor() as cursor:
            cursor.execute(statement.percent, statement.values)
            return cursor.fetchall() if cursor.description else ()

    return Asking(execute)
