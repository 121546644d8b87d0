"""`motet rerun`: a new run that keeps what another one has done before a step."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from motet.app import App
from motet.cli.group import run_async
from motet.cli.inputs import given_json
from motet.cli.opening import existing_store, load_app
from motet.cli.options import JsonOption, RunArgument, StoreOption, chosen_store, option
from motet.cli.terminal import err, say, say_json


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Steer")(rerun)


def rerun(
    id: RunArgument,
    step: Annotated[
        str,
        option("--from", metavar="STEP", about="The first operation to do anew, as charge, or charge#2."),
    ],
    input: Annotated[
        str | None, option("--input", metavar="JSON", about="Another input, as JSON; by default the same.")
    ] = None,
    input_file: Annotated[
        str | None, option("--input-file", metavar="FILE", about="Another input from a JSON file; - is stdin.")
    ] = None,
    new_id: Annotated[
        str | None, option("--id", metavar="NEW", about="The new run's id; by default ID/rerun-1, and so on.")
    ] = None,
    module: Annotated[
        str | None,
        option("--module", metavar="MODULE", about="The code, which is then asked first whether what is kept fits it."),
    ] = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Start a new run that keeps a run's history before a step, and does everything from there on anew.

    What is kept is not done again; the new run undoes it if it fails. So the old run must have ended without undoing
    it: a step that was undone, or that another run may still undo, is never kept.
    """
    given: Any = given_json(input, input_file, "--input", "the input") if input is not None or input_file else ...
    app = load_app(module, chosen_store(store)) if module is not None else None
    run_async(_rerun(app, chosen_store(store), id, step, given, new_id, as_json=json))


async def _rerun(
    app: App | None, store: str | None, id: str, step: str, input: Any, new_id: str | None, *, as_json: bool
) -> None:
    async with existing_store(store) if app is None else app.connect(create=False) as connected:
        run = await connected.rerun(id, from_step=step, input=input, id=new_id)
        status = await connected.status(run.id)
    if as_json:
        say_json({"id": status.id, "uid": status.uid, "rerun_of": id, "kept": len(status.done), "from": step})
        return
    if app is None:
        say(["no code was asked whether what is kept fits: with --module MODULE it is"], err())
    say([f"{status.id} begins at {step} of {id}, and keeps what was recorded before it"])
