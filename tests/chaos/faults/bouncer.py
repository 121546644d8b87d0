"""A real PgBouncer before a PostgreSQL server, in transaction mode: the system's own package.

Each transaction may get another connection of the server's, so that nothing of a session holds: LISTEN, SET, session
advisory locks, prepared statements.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.postgres_server import NOBODY, _die_with_parent, _free_port

STARTING_SECONDS = 30
SEARCHED = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))


def missing() -> str | None:
    """None, or why there is none."""
    return None if shutil.which("pgbouncer", path=SEARCHED) else "PgBouncer is missing: apt-get install pgbouncer"


class PgBouncer:
    """One PgBouncer; `address` is what its clients use."""

    def __init__(self, folder: Path, target: int, pool: int) -> None:
        self.port = _free_port()
        self._folder = folder
        self._log = folder / "log"
        settings = folder / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host=127.0.0.1 port={target} user=postgres\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            "auth_type = any\npool_mode = transaction\nmax_client_conn = 500\n"
            f"default_pool_size = {pool}\nserver_lifetime = 3600\nadmin_users = postgres\n"
            "server_round_robin = 1\n"  # else a client that is alone would keep its connection
        )
        program = shutil.which("pgbouncer", path=SEARCHED)
        assert program is not None, missing()
        is_root = os.geteuid() == 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, str(settings)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - it calls one function of the system
                **({"user": NOBODY, "group": NOBODY, "extra_groups": []} if is_root else {}),
            )  # fmt: skip
        self._wait()

    def address(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _wait(self) -> None:
        until = time.monotonic() + STARTING_SECONDS  # tidy: a limit
        while True:
            if self._process.poll() is not None:
                raise RuntimeError(f"PgBouncer has not started:\n{self._log.read_text()[-2000:]}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return
            except OSError:
                if time.monotonic() > until:  # tidy: a limit
                    raise
                time.sleep(0.02)  # tidy: between two looks at another process


@contextmanager
def bouncing(target: int, *, pool: int = 8) -> Iterator[PgBouncer]:
    """One before the server on this port, gone in the end; `pool`: how many connections it has to a database."""
    folder = Path(tempfile.mkdtemp(prefix="motet-pgbouncer-"))
    folder.chmod(0o755)
    bouncer: PgBouncer | None = None
    try:
        bouncer = PgBouncer(folder, target, pool)
        yield bouncer
    finally:
        if bouncer is not None:
            bouncer.stop()
        shutil.rmtree(folder, ignore_errors=True)
