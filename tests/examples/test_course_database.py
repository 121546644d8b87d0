"""The demo on PostgreSQL: its server is crashed on the way, where nobody else is harmed, and nothing is lost by it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import asyncpg
import pytest

from examples.course_purchase.database import Database, OutOfReach
from tests.postgres_server import Databases, PostgresServer, temporary_server

ROOT = Path(__file__).parent.parent.parent
CRASHED = "was terminated by signal 9"


@pytest.fixture(scope="module")
def server() -> Generator[PostgresServer]:
    with temporary_server() as running:
        yield running


@pytest.fixture
def address(server: PostgresServer) -> Generator[str]:
    made = Databases(server.address())
    yield made.make()
    made.drop_all()


def crashes(server: PostgresServer) -> int:
    return server.log.read_text().count(CRASHED)


async def test_a_crash_is_one_and_what_was_committed_is_there(server: PostgresServer, address: str) -> None:
    before = crashes(server)
    connection = await asyncpg.connect(address)
    await connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    await Database(address).crash()
    assert crashes(server) == before + 1
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)):
        await connection.fetchval("SELECT 1")
    connection.terminate()
    again = await asyncpg.connect(address)
    assert await again.fetchval("SELECT number FROM kept") == 7
    await again.close()


async def test_nobody_elses_work_is_crashed(server: PostgresServer, address: str) -> None:
    before = crashes(server)
    others = await asyncpg.connect(server.address())
    try:
        with pytest.raises(OutOfReach, match="others are at work in postgres"):
            await Database(address).crash()
    finally:
        await others.close()
    assert crashes(server) == before


@pytest.mark.timeout(300)
def test_the_demo_keeps_its_promises_through_a_crash_of_the_database(server: PostgresServer, address: str) -> None:
    before = crashes(server)
    command = [sys.executable, "-m", "motet", "demo", "--store", address, "--workers", "2", "--purchases", "40",
               "--headless", "--json"]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert (report["purchases"], report["lost"], report["duplicate_effects"]) == (40, 0, 0)
    assert crashes(server) == before + 1
