"""A PostgreSQL of the benchmarks' own: fsync and `synchronous_commit` on, its data on a real disk.

One server for each benchmark, and a new database for each measurement. With MOTET_TEST_POSTGRES, the one that it names.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from benchmarks.frame import Frame
from tests.postgres_server import OUTSIDE, Databases, PostgresServer, run

SETTINGS = {
    "fsync": "on", "synchronous_commit": "on", "shared_buffers": "512MB", "max_wal_size": "4GB",
    "checkpoint_timeout": "30min", "max_connections": "100",
}  # fmt: skip
"""What a small server has, beside what PostgreSQL has by itself."""


class Fresh:
    """Makes databases that are empty, and forgets them."""

    def __init__(self, databases: Databases, pid: int | None = None) -> None:
        """`pid`: of the server's first process, if the server is ours."""
        self._databases = databases
        self.pid = pid

    @contextmanager
    def __call__(self) -> Iterator[str]:
        """The address of one."""
        try:
            yield self._databases.make()
        finally:
            self._databases.drop_all()

    def beside(self) -> str:
        """The address of another, which ends with the one that is there."""
        return self._databases.make()


@contextmanager
def served(frame: Frame) -> Iterator[Fresh]:
    """A server for as long as the context lasts."""
    if outside := os.environ.get(OUTSIDE):
        yield Fresh(Databases(outside))
        return
    frame.folder.chmod(0o755)  # the server may run as another user
    server = PostgresServer(Path(frame.folder) / "postgres", SETTINGS)
    try:
        server.start()
        yield Fresh(Databases(server.address()), server.pid)
    finally:
        server.remove()


def version(address: str) -> str:
    """The server's own words."""

    async def ask() -> str:
        connection = await asyncpg.connect(address)
        try:
            words: str = await connection.fetchval("SHOW server_version")
            return words
        finally:
            await connection.close()

    return run(ask())
