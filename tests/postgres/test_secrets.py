"""Encryption on a server that is watched: no word of a secret ever comes to it, neither to its disk nor to its log."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from motet import Event, Keyring
from tests.postgres_server import QUICK, PostgresServer, temporary_server
from tests.stories.conftest import Shop
from tests.stories.searching import sample, transaction
from tests.stories.test_forgetting import SECRET, Purchase, declare, live_through

TALKATIVE = {"log_statement": "all", "log_parameter_max_length": "-1", "log_parameter_max_length_on_error": "-1"}


@pytest.fixture
def watched() -> Generator[PostgresServer]:
    """It logs each statement with its values; nobody else uses it."""
    with temporary_server({**QUICK, **TALKATIVE}) as server:
        yield server


def found_in(server: PostgresServer, words: str) -> set[str]:
    """The kinds of files in which these words are: the tables', the write-ahead log, the server's own log."""
    files = [file for file in server.folder.rglob("*") if file.is_file() and "pginstall" not in file.parts]
    found = [file.relative_to(server.folder) for file in files if words.encode() in file.read_bytes()]
    return {file.parts[1] if file.parts[0] == "data" else file.parts[0] for file in found}


async def test_no_secret_reaches_the_server(tmp_path: Path, watched: PostgresServer) -> None:
    keys = Keyring({"one": os.urandom(32)}, current="one")
    shop = Shop(tmp_path, address=watched.address(), keys=keys)
    held = declare(shop)

    @shop.on("bought", transaction=True)
    async def within(event: Event, connection: Any) -> None:
        event.publish("noted", {"text": f"{SECRET}noted {event.data}"}, key="n")

    async with shop.worker():
        await live_through(shop, held)
        blocked = await shop.start("failing", Purchase(f"{SECRET}blocked"), id="p-3", attributes={"a": SECRET})
        with pytest.raises(Exception, match=f"{SECRET}{SECRET}blocked"):
            await blocked.result()
        async with transaction(shop.address) as connection:
            await shop.publish("mine", {"text": f"{SECRET}within"}, key="m", id="m-1", conn=connection)
            await shop.start("failing", Purchase(f"{SECRET}within"), id="p-5", conn=connection)
        with pytest.raises(Exception, match=f"{SECRET}{SECRET}within"):
            await shop.result("p-5")
        await shop.publish("approved", f"{SECRET}too early", key="nobody")
        await shop.forget_conversation("p-3")
        await sample(shop.address)
    watched.stop()  # with a checkpoint: all is in the files
    assert found_in(watched, SECRET) == set()
    assert found_in(watched, "sealed:1:one:") == {"base", "pg_wal", "log"}, "the search finds what is there"
    assert found_in(watched, "p-5") >= {"base", "pg_wal", "log"}
