"""`motet start`: a run from the command line."""

from __future__ import annotations

from typing import Annotated, Any, cast

import typer

from motet.app import App
from motet.cli import exits
from motet.cli.group import UsageError, leave, run_async
from motet.cli.inputs import given_json, parsed
from motet.cli.opening import living_workers, load_app
from motet.cli.options import JsonOption, ModuleArgument, StoreOption, argument, chosen_store, option
from motet.cli.reading import look
from motet.cli.story import story
from motet.cli.terminal import err, out, say, say_json, state_text
from motet.cli.view import short
from motet.model.run import Run


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Begin")(start)


def start(
    module: ModuleArgument,
    workflow: Annotated[str, argument(metavar="WORKFLOW", about="Its name, with or without the app's in front.")],
    id: Annotated[str, option("--id", about="The run's id: your business key. The same again is the same run.")],
    input: Annotated[str | None, option("--input", metavar="JSON", about="The run's input, as JSON.")] = None,
    input_file: Annotated[
        str | None, option("--input-file", metavar="FILE", about="The run's input from a JSON file; - is stdin.")
    ] = None,
    attributes: Annotated[
        str | None, option("--attributes", metavar="JSON", about="A JSON object to find and show the run by.")
    ] = None,
    wait: Annotated[
        bool, option("--wait", about="Wait until it has ended or is blocked; the exit code tells how.")
    ] = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Start a run; when this returns, it is durable, and a worker drives it."""
    given = given_json(input, input_file, "--input", "the input")
    labels = _labels(attributes) if attributes is not None else None
    found = load_app(module, chosen_store(store))
    leave(run_async(_start(found, workflow, id, given, labels, wait=wait, as_json=json)))


async def _start(
    app: App, workflow: str, id: str, input: Any, attributes: dict[str, Any] | None, *, wait: bool, as_json: bool
) -> int:
    async with app.connect():
        handle = await app.start(workflow, input, id=id, attributes=attributes)
        if not await living_workers(app):
            say(["no worker is running here yet; start one with motet worker MODULE"], err())
        if wait:
            run = await _settled(app, handle.id, handle.uid)
            view = await look(app, out())
            status = await app.status(run.id)
            if as_json:
                say_json(status)
            else:
                say(story(status, view))
            return exits.code_of_state(run.state)
        status = await app.status(id)
    if as_json:
        say_json({"id": status.id, "uid": status.uid, "workflow": status.workflow, "state": status.state})
    else:
        line = state_text(status.state)
        say([line.assemble(f"{status.id}   {short(status.workflow)} v{status.version}   ", line)])
    return exits.OK


async def _settled(app: App, id: str, uid: str) -> Run:
    console = err()
    if not console.is_terminal:
        return await app.client.waiting.settled(id, uid)
    with console.status("waiting for its end"):
        return await app.client.waiting.settled(id, uid)


def _labels(text: str) -> dict[str, Any]:
    labels = parsed(text, "--attributes")
    if not isinstance(labels, dict):
        raise UsageError('--attributes is no JSON object; write for example \'{"region": "eu"}\'')
    return cast("dict[str, Any]", labels)
