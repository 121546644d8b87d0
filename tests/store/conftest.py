"""Fixtures for the tests of the committer."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from motet.runtime import committer
from tests.store.between import Rig, rig


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests wait for the thing: a store that is away is asked again at once."""
    monkeypatch.setattr(committer, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(committer, "LONGEST_WAIT", 0.01)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncGenerator[Rig]:
    """A client's committer."""
    async with rig(tmp_path) as found:
        yield found


@pytest.fixture
async def worker(client: Rig) -> Rig:
    """A worker's committer."""
    await client.register()
    return client
