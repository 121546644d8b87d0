"""`motet migrate`: the store's schema, brought up to date before workers of a new version start; or only looked at."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from motet.app import App
from motet.cli import exits
from motet.cli.group import leave, run_async
from motet.cli.options import JsonOption, StoreOption, chosen_store, option
from motet.cli.terminal import say, say_json
from motet.errors import StoreMissing
from motet.model.clock import SYSTEM
from motet.store.open import store_at
from motet.store.protocol import Schemas


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Care")(migrate)


def migrate(
    check: Annotated[bool, option("--check", about="Change nothing; exit with 1 if there is something to do.")] = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Bring the store's schema up to date, or make a store where there is none.

    A worker that starts does the same. Where several are rolled out, do it once before: workers of the version before
    go on meanwhile if the step allows it, and say so if it does not.
    """
    address, before, after = run_async(_migrated(chosen_store(store), check))
    pending = after.found is None or after.found < after.spoken
    if json:
        say_json(_told(address, before, after, pending))
    else:
        say([_words(address, before, after)])
    leave(exits.FAILED if pending else exits.OK)


async def _migrated(given: str | None, check: bool) -> tuple[str, Schemas, Schemas]:
    app = App("cli", store=given)
    store = store_at(app.settings.store, SYSTEM, app.settings)
    before = await store.schemas()
    if check:
        if before.found is None:
            raise StoreMissing(f"there is no store at {store.address} yet; 'motet migrate' makes one")
        return store.address, before, before
    await store.open(create=True)
    await store.close()
    return store.address, before, await store.schemas()


def _told(address: str, before: Schemas, after: Schemas, pending: bool) -> dict[str, Any]:
    return {
        "store": address, "before": before.found, "schema": after.found, "spoken": after.spoken,
        "oldest": after.oldest, "pending": pending,
    }  # fmt: skip


def _words(address: str, before: Schemas, after: Schemas) -> str:
    found, spoken = after.found or 0, after.spoken
    if before.found is None:
        return f"{address} is a new store, with schema {found}."
    if found != before.found:
        return f"{address} was brought from schema {before.found} to {found}; programs of {after.oldest} go on."
    if found < spoken:
        return f"{address} has schema {found}, this program speaks {spoken}: run motet migrate."
    if found == spoken:
        return f"{address} has schema {found}, as this program: there is nothing to do."
    return f"{address} has schema {found}, which programs of {after.oldest} and later understand; this speaks {spoken}."
