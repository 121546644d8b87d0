"""What tests of several folders share: a PostgreSQL server, started when the first test asks for it; and which tests
keep to one process when several share the work.
"""

from __future__ import annotations

import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.postgres_server import Databases, databases

CHAOS = Path(__file__).parent / "chaos"


def pytest_configure() -> None:
    """A shell that has started us in the background has Ctrl-C ignored, by us and by all whom we start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before the groups are read
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Campaigns one after the other: each keeps several processes busy."""
    for item in items:
        if CHAOS in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("chaos"))


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
