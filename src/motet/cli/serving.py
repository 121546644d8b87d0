"""`motet worker`: one worker, or a number of them under a supervisor."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Annotated

import click
import msgspec
import typer

from motet.app import App
from motet.cli import exits
from motet.cli.group import UsageError, leave, run_async
from motet.cli.logs import LEVELS, log_to_stderr
from motet.cli.opening import load_app
from motet.cli.options import JsonOption, ModuleArgument, StoreOption, chosen_store, option
from motet.cli.terminal import say_json
from motet.config import Settings
from motet.runtime.lifeline import Lifeline, lifeline
from motet.runtime.supervisor import Document, Supervisor

log = logging.getLogger("motet.worker")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Begin")(worker)


def worker(
    module: ModuleArgument,
    processes: Annotated[
        int, option(min=1, max=1_000, metavar="N", about="How many worker processes to run; one that dies is replaced.")
    ] = 1,
    port: Annotated[
        int | None,
        option(
            min=0,
            max=65_535,
            metavar="PORT",
            about="Serve /health, /ready and /metrics here; 0 takes a free port. Of several workers, the second takes "
            "the next port, and so on.",
        ),
    ] = None,
    host: Annotated[
        str, option(metavar="ADDRESS", about="Where --port listens; 0.0.0.0 is every address of this machine.")
    ] = "127.0.0.1",
    store: StoreOption = None,
    log_level: Annotated[
        str, option("--log-level", click_type=click.Choice(LEVELS), about="The least that is logged to stderr.")
    ] = "info",
    json: JsonOption = False,
) -> None:
    """Drive the runs of an app until SIGINT or SIGTERM; then let running steps finish, and hand over the rest.

    A second signal stops at once. With --processes, each worker is an interpreter of its own; they are told apart by
    their numbers in the logs, and end when the supervisor does. With --json, the document says what is served, and
    comes when the worker is ready, or all are.
    """
    line = lifeline()
    address = chosen_store(store)
    found = load_app(module, address)
    if not found.registry.workflows:
        raise UsageError(f"app '{found.name}' has no workflow to drive; declare one with @{found.name}.workflow")
    log_to_stderr(log_level, line.number if line is not None else None)
    if processes == 1:
        run_async(_serve(found, line, None if port is None else (host, port), as_json=json))
        return
    if port is not None and port + processes > 65_536:
        raise UsageError(f"{processes} workers need {processes} ports from {port} on, and the last port is 65535")
    command = [sys.executable, "-m", "motet", "worker", module, "--log-level", log_level]
    if address is not None:
        command += ["--store", address]
    commands = [[*command, *_place(host, port, index)] for index in range(processes)]
    leave(run_async(_supervise(found, commands, as_json=json)))


def _place(host: str, port: int | None, index: int) -> list[str]:
    """Where a worker among several listens."""
    return [] if port is None else ["--host", host, "--port", str(port + index if port else 0)]


# --- one worker ------------------------------------------------------------------------------------------------


async def _serve(app: App, line: Lifeline | None, place: tuple[str, int] | None, *, as_json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, stop.set)

    def abandoned() -> None:
        loop.call_soon_threadsafe(stop.set)

    if line is not None:
        line.on_gone(abandoned, _longest_stop(app.settings))
    # Around the worker, so that it can be asked whether it is ready from its first moment to its last.
    async with _answering(app, place) as port:
        async with app.worker():
            _say_ready(app, line, port, as_json=as_json)
            await stop.wait()
            for number in SIGNALS:
                loop.remove_signal_handler(number)
            seconds = app.settings.drain_seconds
            log.info("stopping: running steps may finish for %g s; the same signal again stops at once", seconds)
        log.info("stopped; what was not finished goes on with the next worker")


def _say_ready(app: App, line: Lifeline | None, port: int | None, *, as_json: bool) -> None:
    workflows = ", ".join(sorted(app.registry.workflows))
    log.info("worker %d drives app '%s' on %s: %s", os.getpid(), app.name, app.client.store.address, workflows)
    process: Document = {"pid": os.getpid()} if port is None else {"pid": os.getpid(), "port": port}
    if line is not None:
        line.tell_ready(msgspec.json.encode(process))
    elif as_json:
        say_json({**_served(app), **process})


@asynccontextmanager
async def _answering(app: App, place: tuple[str, int] | None) -> AsyncGenerator[int | None]:
    """Answer probes over HTTP, if a place is given; gives the port."""
    if place is None:
        yield None
        return
    # Only who asks for it pays for loading a web server.
    from motet.web.probes import Probes  # noqa: PLC0415
    from motet.web.server import serving  # noqa: PLC0415

    probes = Probes(app)
    probes.ticks.start()
    try:
        async with serving(probes.routes(), *place) as port:
            log.info("http://%s:%d answers /health, /ready and /metrics", place[0], port)
            yield port
    finally:
        probes.ticks.stop()


def _served(app: App) -> Document:
    return {"app": app.name, "workflows": sorted(app.registry.workflows), "store": app.settings.store}


def _longest_stop(settings: Settings) -> float:
    """How long a worker may take from being asked to its end: its steps, then what they lead to, twice."""
    return 4 * settings.drain_seconds + 10


# --- several ---------------------------------------------------------------------------------------------------


async def _supervise(app: App, commands: list[list[str]], *, as_json: bool) -> int:
    def ready(workers: list[Document]) -> None:
        log.info("all %d workers are ready", len(workers))
        if as_json:
            numbered = [{"number": number, **said} for number, said in enumerate(workers, start=1)]
            say_json({**_served(app), "pid": os.getpid(), "workers": numbered})

    # With --json, stdout is for the one document: what steps print goes to where the logs go.
    supervisor = Supervisor(
        commands, patience_seconds=_longest_stop(app.settings), on_ready=ready,
        stdout=sys.stderr.fileno() if as_json else None,
    )  # fmt: skip
    stopped_at_once = False

    def stop_at_once() -> None:
        nonlocal stopped_at_once
        stopped_at_once = True
        supervisor.stop_at_once()

    _on_signals(supervisor.stop, stop_at_once)
    await supervisor.run()
    log.info("all workers have stopped")
    return exits.INTERRUPTED if stopped_at_once else exits.OK


def _on_signals(first: Callable[[], None], second: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def asked() -> None:
        log.info("stopping all workers; another signal stops them at once")
        for number in SIGNALS:
            loop.add_signal_handler(number, second)
        first()

    for number in SIGNALS:
        loop.add_signal_handler(number, asked)
