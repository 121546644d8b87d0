"""`motet backup` and `motet doctor`: care for the store; reading only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from motet.cli import exits
from motet.cli.bars import bar
from motet.cli.examining import Examination, examine
from motet.cli.group import UsageError, leave, run_async
from motet.cli.layout import clean, hanging, table
from motet.cli.opening import existing_store
from motet.cli.options import JsonOption, StoreOption, argument, chosen_store
from motet.cli.reading import counted
from motet.cli.spans import ago, span
from motet.cli.terminal import err, out, say, say_json, width_of
from motet.model.clock import SYSTEM

LEVEL_STYLES = {"error": "bold red", "warning": "yellow"}


def add_to(app: typer.Typer) -> None:
    for command in (backup, doctor):
        app.command(rich_help_panel="Care")(command)


# --- backup ----------------------------------------------------------------------------------------------------


def backup(
    dest: Annotated[Path, argument(metavar="DEST", about="The file to write; one that exists is never touched.")],
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Copy the store as of now into a file, while everything goes on."""
    if not dest.parent.is_dir():
        raise UsageError(f"there is no folder {dest.parent} for the backup; create it first")
    address, seconds = run_async(_backup(dest, chosen_store(store)))
    size = dest.stat().st_size
    if json:
        say_json({"store": address, "backup": str(dest), "bytes": size, "seconds": round(seconds, 3)})
    else:
        say([f"{address} is copied to {dest}: {in_bytes(size)} in {span(seconds)}"])


async def _backup(dest: Path, store: str | None) -> tuple[str, float]:
    async with existing_store(store) as app:
        address = app.client.store.address
        began = SYSTEM.monotonic()
        with bar(err(), "copying", "pages") as report:
            await app.client.store.backup(str(dest), report)
        return address, SYSTEM.monotonic() - began


def in_bytes(size: float) -> str:
    """A size in the unit that suits it."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


# --- doctor ----------------------------------------------------------------------------------------------------


def doctor(store: StoreOption = None, json: JsonOption = False) -> None:
    """Look for what is wrong or risky: the store, blocked and overdue runs, workers, versions, disk space.

    Exits with 0 unless it finds an error; a warning alone is none.
    """
    found = run_async(_examined(chosen_store(store)))
    if json:
        say_json(found)
    else:
        console = out()
        say(_report(found, width_of(console)), console)
    leave(exits.OK if found.ok else exits.FAILED)


async def _examined(store: str | None) -> Examination:
    console = err()
    async with existing_store(store) as app:
        if not console.is_terminal:
            return await examine(app, SYSTEM.now())
        with console.status("reading the whole store"):
            return await examine(app, SYSTEM.now())


def _report(found: Examination, width: int) -> list[Text]:
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    facts: list[tuple[str, str]] = [("Store", found.store), ("Versions", versions)]
    if found.bytes is not None and found.free_bytes is not None:
        facts.insert(1, ("Size", f"{in_bytes(found.bytes)}, {in_bytes(found.free_bytes)} free on its disk"))
    lines: list[Text] = []
    for name, text in facts:
        lines += hanging(Text(f"{name:<10}", style="bold"), Text(clean(text)), width)
    counts = counted(found.counts, width - 10, indent=0)
    lines += [
        Text.assemble((f"{'Runs' if number == 0 else '':<10}", "bold"), line) for number, line in enumerate(counts)
    ]
    lines += _workers(found, width)
    lines.append(Text())
    for item in found.findings:
        label = Text(f"{item.level:<10}", style=LEVEL_STYLES[item.level])
        lines += hanging(label, Text(clean(item.text)), width)
    errors = sum(item.level == "error" for item in found.findings)
    warnings = len(found.findings) - errors
    if found.findings:
        lines.append(Text(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}."))
    else:
        lines.append(Text("Nothing is wrong.", style="green"))
    return lines


def _workers(found: Examination, width: int) -> list[Text]:
    if not found.workers:
        return [Text.assemble(("Workers   ", "bold"), "none")]
    now = SYSTEM.now()
    rows = [
        [Text(clean(one.name)), Text("alive" if one.alive else "gone"), Text(ago(one.seen_at, now)), Text(one.program)]
        for one in found.workers
    ]
    lines = table(("WORKER", "STATE", "LAST WROTE", "PROGRAM"), rows, width - 10, dispensable=(3, 2))
    return [
        Text.assemble((f"{'Workers' if number == 0 else '':<10}", "bold"), line) for number, line in enumerate(lines)
    ]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
