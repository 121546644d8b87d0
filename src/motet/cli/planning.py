"""`motet plan`: what a workflow's source can do, as a tree or a chart, lit with a run; reading only."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from rich.text import Text

from motet.app import App
from motet.catalog import catalog_of
from motet.cli.branches import drawing
from motet.cli.group import run_async
from motet.cli.layout import clean, flowing, hanging
from motet.cli.opening import ModuleProblem, existing_store, load_app
from motet.cli.options import JsonOption, StoreOption, argument, chosen_store, option
from motet.cli.plan_mermaid import mermaid
from motet.cli.plan_tree import legend, tree
from motet.cli.sites import shortener
from motet.cli.terminal import out, say, say_json, width_of
from motet.cli.view import short
from motet.coming import LitPlan, known_plan
from motet.errors import ConfigError, UnknownWorkflow
from motet.orchestration.plan.nodes import walk

PlanTarget = Annotated[
    str | None,
    argument(
        metavar="[MODULE[:WORKFLOW]]",
        about="package.module:workflow, whose code is read; package.module or package.module:app shows all workflows. "
        "With --run, by default what workers' code has told the store.",
    ),
]
RunOption = Annotated[str | None, option("--run", metavar="ID", about="Light the plan with what this run has done.")]
MermaidOption = Annotated[bool, option("--mermaid", about="Print a Mermaid flowchart, and nothing else, on stdout.")]


def add_to(app: typer.Typer) -> None:
    app.command("plan", rich_help_panel="Look")(plan)


def plan(
    target: PlanTarget = None, run: RunOption = None, mermaid: MermaidOption = False, store: StoreOption = None,
    json: JsonOption = False,
) -> None:  # fmt: skip
    """What a workflow can do, read from its source: steps, branches, loops, what runs together, waits, compensations.

    With --run, what the run has done of it, what it is at, what is ahead, and what cannot come any more. Where the
    source is too dynamic to read, the plan says so.
    """
    run_async(_plan(target, run, chosen_store(store), as_chart=mermaid, as_json=json))


async def _plan(target: str | None, run: str | None, address: str | None, *, as_chart: bool, as_json: bool) -> None:
    if target is None and run is None:
        raise ConfigError("say whose plan: motet plan MODULE:WORKFLOW, or motet plan --run ID")
    texts = _texts(target) if target is not None else {}
    if run is not None:
        async with existing_store(address) as app:
            lit = [await _of_run(app, run, texts)]
    else:
        lit = [_unlit(name, text) for name, text in texts.items()]
    if as_json:
        say_json({"plans": lit})
    elif as_chart:
        say([line for one in lit for line in _chart(one)])
    else:
        console = out()
        say([line for one in lit for line in [*_drawn(one, width_of(console)), Text()]][:-1], console)


def _texts(target: str) -> dict[str, str]:
    """By `workflow@version`, the entries that the code makes. Raises ModuleProblem, UnknownWorkflow."""
    app, name = _found(target)
    app.registry.prepare()
    entries = catalog_of(app.registry)
    if name is None:
        return entries
    wanted = app.registry.workflow(name).name
    return {key: text for key, text in entries.items() if key.rpartition("@")[0] == wanted}


def _found(target: str) -> tuple[App, str | None]:
    """The app, and which of its workflows is meant."""
    module, _, name = target.rpartition(":")
    if not module:
        return load_app(target, None), None
    try:
        return load_app(target, None), None  # the name is that of an app
    except ModuleProblem as problem:
        app = load_app(module, None)
        try:
            app.registry.workflow(name)
        except UnknownWorkflow as unknown:
            raise unknown from problem
        return app, name


async def _of_run(app: App, run: str, texts: dict[str, str]) -> LitPlan:
    return await app.client.plan(run, texts)


def _unlit(name: str, text: str) -> LitPlan:
    workflow, _, version = name.rpartition("@")
    entry = msgspec.json.decode(text, type=dict[str, object])
    known = known_plan(text)
    place = entry.get("place")
    nodes = list(known.nodes) if known is not None else None
    return LitPlan(workflow, int(version), None, place if isinstance(place, str) else None, nodes)


def _chart(lit: LitPlan) -> list[str]:
    known = lit.known
    return mermaid(known, lit.lights if lit.run is not None else None) if known is not None else ["flowchart TD"]


def _drawn(lit: LitPlan, width: int) -> list[Text]:
    files = [node.file for node in walk(lit.plan or ()) if node.file is not None]
    shown = shortener([*files, *([lit.place] if lit.place else [])])
    head = [Text(f"{clean(short(lit.workflow))} v{lit.version}", style="bold")]
    if lit.run is not None:
        head.append(Text(f"run {clean(lit.run)}"))
    if lit.place is not None:
        head.append(Text(clean(shown(lit.place)), style="dim"))
    lines = flowing(head, width)
    if lit.plan is None:
        why = "cannot be known: its source could not be read, or no worker of this version has told the store of it"
        return [*lines, *hanging(Text("  "), Text(why), width)]
    lines += tree(lit.plan, width, drawing(), shown, lit.lights if lit.run is not None else None)
    if not lit.plan:
        lines.append(Text("  It does nothing durable."))
    if lit.run is not None:
        lines += legend(width)
    if lit.elsewhere:
        text = f"{', '.join(clean(one) for one in lit.elsewhere)}: done, and nowhere on this plan; the code has changed"
        lines += hanging(Text("  "), Text(text), width)
    return lines
