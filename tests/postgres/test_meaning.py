"""What errors of the driver mean, and what the server is told of who asks."""

from __future__ import annotations

import asyncpg
import pytest

from motet.errors import StoreUnavailable
from motet.store.postgres.meaning import is_trouble, is_unclear, told
from motet.store.postgres_address import parse


@pytest.mark.parametrize("error", [
    asyncpg.InternalClientError("cannot switch to state 11; another operation (2) is in progress"),
    asyncpg.InterfaceError("connection is closed"), asyncpg.ConnectionDoesNotExistError("closed"),
    ConnectionResetError(104, "reset"), TimeoutError(),
])  # fmt: skip
def test_whatever_a_broken_connection_makes_the_driver_say_is_the_stores_trouble(error: Exception) -> None:
    """Who asks catches errors of the store's only, such as the thread that keeps a worker alive."""
    assert is_trouble(error)
    assert is_unclear(error), "and the connection is not used again"
    assert isinstance(told(error, "here"), StoreUnavailable)


def test_the_server_is_told_who_asks_as_the_address_says() -> None:
    assert "application_name=motet" in parse("postgresql://user@host/base").dsn
    assert "application_name=billing" in parse("postgresql://user@host/base?application_name=billing").dsn
