"""The connection that a plain function of a transaction, or of a reaction's handler, is given on PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motet.store.borrowing.kinds import Asking, Rows, classes

if TYPE_CHECKING:
    from motet.store.postgres.borrowed import Statement


def borrow(connection: Any) -> Asking | None:
    """None: it is something else of ours."""
    if "BlockingConnection" not in classes(connection, "motet"):
        return None

    def execute(statement: Statement) -> Rows:
        rows: Rows = connection.fetch(statement.sql, *statement.values)
        return rows

    return Asking(execute)
