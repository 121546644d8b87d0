"""What tests of several folders share: a PostgreSQL server, started when the first test asks for it."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.postgres_server import Databases, databases


@pytest.fixture(scope="session")
def postgres() -> Generator[Databases]:
    """Makes databases on the session's server."""
    with databases() as made:
        yield made


@pytest.fixture
def postgres_address(postgres: Databases) -> Generator[str]:
    """A database of the test's own, empty."""
    yield postgres.make()
    postgres.drop_all()
