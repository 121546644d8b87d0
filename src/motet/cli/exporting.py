"""`motet export` and the replay of what it has written: a production run on another machine; nothing has an effect."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from motet.app import App
from motet.catalog import read_entry
from motet.cli import exits
from motet.cli.checking import difference_lines, read_bytes
from motet.cli.group import UsageError, leave, run_async
from motet.cli.layout import clean, hanging
from motet.cli.opening import ModuleProblem, existing_store, load_app
from motet.cli.options import JsonOption, RunArgument, StoreOption, argument, chosen_store
from motet.cli.terminal import out, say, say_json, state_text, width_of
from motet.cli.view import short
from motet.errors import RunNotFound
from motet.model.clock import SYSTEM
from motet.orchestration.machine import Machine
from motet.orchestration.machines import machine_for
from motet.rehearsal.ahead import ahead
from motet.rehearsal.exported import Exported, read, write
from motet.rehearsal.rehearsing import NO_LIMIT, rehearse
from motet.rehearsal.walking import Moment, up_to, walk
from motet.status import iso


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Deploy")(export)


# --- export ----------------------------------------------------------------------------------------------------


def export(
    id: RunArgument,
    file: Annotated[
        Path | None, argument(metavar="[FILE]", about="Where to write it; one that exists is never touched.")
    ] = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Write a run into a JSON file (by default to stdout): its input, its history, and what its code said of itself.

    Payloads are in it as they were recorded: handle it as you handle the data in your runs. motet replay takes it.
    """
    if file is not None and file.exists():
        raise UsageError(f"{file} exists already; choose another name")
    data = run_async(_exported(id, chosen_store(store)))
    if file is None:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return
    try:
        file.write_bytes(data)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror or error}") from error
    if json:
        say_json({"run": id, "file": str(file), "bytes": len(data)})
    else:
        say([f"{id} is in {file}, with the payloads that it has recorded; go through it with motet replay {file}"])


async def _exported(id: str, address: str | None) -> bytes:
    async with existing_store(address) as app:
        store = app.client.store
        run = await store.run(id)
        if run is None:
            raise RunNotFound(f"there is no run '{id}' in {store.address}; 'motet runs' lists those that there are")
        histories = {
            generation: (await store.histories([(run.uid, generation)]))[run.uid]
            for generation in range(1, run.generation + 1)
        }
        return write(run, histories, await store.catalog(run.workflow, run.version), SYSTEM.now())


# --- replay ----------------------------------------------------------------------------------------------------


def replay_file(file: Path, module: str | None, to: str | None, *, as_json: bool) -> None:
    """Take the code through an exported run, and tell the story as it goes."""
    exported = read(read_bytes(file), str(file))
    app = _app_for(exported, module)
    app.registry.prepare()
    if as_json:
        rehearsal = rehearse(exported.run, up_to(exported.history, to), app.registry)
        say_json(rehearsal)
        leave(exits.OK if rehearsal.fits else exits.FAILED)
    leave(_told(exported, app, to))


def _told(exported: Exported, app: App, to: str | None) -> int:
    run = exported.run
    history = up_to(exported.history, to)
    width = width_of(out())
    machine = machine_for(run, app.registry, NO_LIMIT)
    head = Text.assemble((clean(run.id), "bold"), f"   {clean(short(run.workflow))} v{run.version}   ")
    say([head.append_text(state_text(run.state)), Text(f"  input {clean(run.input or 'none')}")])
    try:
        for moment in walk(machine, history, run.current if to is None else None):
            say(_moment(moment, width))
    except Exception:  # told with both sides, by those who know how
        found = rehearse(run, history, app.registry)
        machine.close()
        say([Text("The code does something else:", style="bold red")])
        for difference in found.differences:
            say(difference_lines(difference, width))
        return exits.FAILED
    _ending(machine, width, whole=len(history) == len(exported.history))
    machine.close()
    return exits.OK


def _ending(machine: Machine, width: int, *, whole: bool) -> None:
    words = "The history ends here." if whole else "Here you wanted to stop."
    following = ahead(machine.outstanding())
    say([Text(f"{words} Next:" if following else f"{words} Nothing would follow.", style="bold")])
    for text in following:
        say(hanging(Text("  .. "), Text(clean(text)), width))


def _moment(moment: Moment, width: int) -> list[Text]:
    row = moment.row
    if row is None:
        lines = [Text("  start")]
    else:
        what = f"{row.operation_kind} {row.op} {row.kind}" if row.op else f"the run: {row.kind}"
        payload = f"  {clean(row.payload)}" if row.payload is not None else ""
        head = Text(f"{row.position:>4}  {(iso(row.at) or '')[11:23]}  ")
        lines = hanging(head, Text(f"{clean(what)}{payload}"), width)
    for text in moment.did:
        lines += hanging(Text("      -> ", style="dim"), Text(clean(text)), width)
    return lines


def _app_for(exported: Exported, module: str | None) -> App:
    """The app of the named module, else of the one that the run's code says that it is in."""
    if module is not None:
        return load_app(module, None)
    place = read_entry(exported.catalog).place
    for name in _guesses(place):
        try:
            return load_app(name, None)
        except ModuleProblem:
            continue
    where = f"; the run's code stood in {place}" if place else ""
    raise UsageError(f"say where the code is: --module package.module{where}")


def _guesses(place: str | None) -> list[str]:
    """As modules: the file's path, from the current folder on."""
    if place is None:
        return []
    parts = Path(place.rpartition(":")[0]).with_suffix("").parts
    tails = [Path(*parts[index:]) for index in range(1, len(parts))]
    return [".".join(tail.parts) for tail in tails if tail.with_suffix(".py").is_file()]
