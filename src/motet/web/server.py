"""A web application on an event loop that is not the server's own: it takes no signals and ends when it is told to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import uvicorn
from starlette.applications import Starlette

from motet.errors import ConfigError

CLOSING_SECONDS: Final = 2
BACKLOG: Final = 128


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals are for the worker: it drains, and the server goes on answering meanwhile."""
        yield


@asynccontextmanager
async def serving(app: Starlette, host: str, port: int) -> AsyncGenerator[int]:
    """Serve while the block lasts; gives the port, which for 0 is a free one.

    Raises:
        ConfigError: nobody can listen there.
    """
    listening = _listen(host, port)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", ws="none", server_header=False,
        timeout_graceful_shutdown=CLOSING_SECONDS,
    )  # fmt: skip
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]), name="motet-web")
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await task
        listening.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --port, or 0 for a free one"
        ) from error
