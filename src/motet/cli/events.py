"""`motet publish` and `motet events`: facts from outside into the log, and the log as it is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Annotated, Any, cast

import msgspec
import typer
from rich.text import Text

from motet.app import App
from motet.cli.group import UsageError, run_async
from motet.cli.inputs import content, given_json, moment_of
from motet.cli.layout import clean, table
from motet.cli.opening import existing_store
from motet.cli.options import JsonOption, StoreOption, argument, chosen_store, option
from motet.cli.terminal import out, say, say_json, width_of
from motet.errors import NotPossible, RunNotFound
from motet.model.clock import as_datetime
from motet.model.cloudevents import to_document
from motet.model.event import LoggedEvent
from motet.model.run import ENDED, Run
from motet.store.protocol import EventFilter

PAGE = 500


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Begin")(publish)
    app.command(rich_help_panel="Look")(events)


# --- publish ---------------------------------------------------------------------------------------------------


def publish(
    type: Annotated[str | None, argument(metavar="[TYPE]", about="The event's name, as order.placed.")] = None,
    data: Annotated[str | None, option("--data", metavar="JSON", about="What it says, as JSON.")] = None,
    data_file: Annotated[
        str | None, option("--data-file", metavar="FILE", about="What it says, from a JSON file; - is stdin.")
    ] = None,
    key: Annotated[str | None, option("--key", metavar="KEY", about="What it is about.")] = None,
    id: Annotated[
        str | None,
        option("--id", metavar="ID", about="Your own id: the same again within 7 days publishes nothing."),
    ] = None,
    to: Annotated[str | None, option("--to", metavar="RUN", about="The only run that may hear of it.")] = None,
    time: Annotated[
        str | None, option("--time", metavar="TIME", about="When it happened, ISO 8601 with its zone; by default now.")
    ] = None,
    conversation: Annotated[
        str | None,
        option("--conversation", metavar="ID", about="What it belongs to; by default that of its run, else its key."),
    ] = None,
    cloudevent: Annotated[
        str | None,
        option(
            "--cloudevent", metavar="FILE",
            about="Publish CloudEvents from a file instead: one as JSON, a JSON array, or one per line; - is stdin.",
        ),
    ] = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:  # fmt: skip
    """Publish an event; when this returns, it is durable, and whoever reacts to it or waits for it hears of it."""
    others = (type, data, data_file, key, id, to, time, conversation)
    if cloudevent is not None:
        if any(other is not None for other in others):
            raise UsageError("--cloudevent is the whole event: leave TYPE and the other options away")
        run_async(_publish_received(_documents(cloudevent), chosen_store(store), json))
        return
    if type is None:
        raise UsageError("name the event's TYPE, as in: motet publish order.placed --key 42; or use --cloudevent FILE")
    given = given_json(data, data_file, "--data", "the data")
    at = None if time is None else moment_of(time, "--time")

    async def work() -> None:
        about = conversation
        async with existing_store(chosen_store(store)) as app:
            if to is not None:
                run = await _check_listens(app, to)
                about = about or run.conversation
            published = await app.publish(type, given, key=key, id=id, to=to, time=at, conversation=about)
        if json:
            say_json({"published": [published]})
        else:
            say([clean(f"{type} is published as {published}")])

    run_async(work())


async def _check_listens(app: App, id: str) -> Run:
    """An event for a run that is not there would never be heard of by anybody."""
    run = await app.client.store.run(id)
    if run is None:
        raise RunNotFound(f"there is no run '{id}' in {app.client.store.address}, so nobody would hear of the event")
    if run.state in ENDED:
        raise NotPossible(f"run '{id}' has ended as {run.state}, so nobody would hear of the event")
    return run


async def _publish_received(documents: Sequence[dict[str, Any]], address: str | None, as_json: bool) -> None:
    async with existing_store(address) as app:
        published = [await app.publish_cloudevent(document) for document in documents]
    if as_json:
        say_json({"published": published})
    else:
        say(
            [
                clean(f"{document['type']} is published as {id}")
                for document, id in zip(documents, published, strict=True)
            ]
        )


def _documents(file: str) -> list[dict[str, Any]]:
    """CloudEvents, checked when they are published."""
    text = content(file)
    try:
        found: object = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        try:
            found = msgspec.json.Decoder(dict[str, Any]).decode_lines(text)
        except msgspec.DecodeError:
            raise UsageError(f"{'stdin' if file == '-' else file} is no JSON: {error}") from error
    many = cast("list[dict[str, Any]]", found if isinstance(found, list) else [found])
    for one in many:
        if not isinstance(cast("object", one), dict):
            raise UsageError(
                f"a CloudEvent is a JSON object, and this is none: {msgspec.json.encode(one).decode()[:60]}"
            )
    return many


# --- events ----------------------------------------------------------------------------------------------------


def events(
    type: Annotated[
        list[str] | None,
        option("--type", metavar="PATTERN", about="Only of this type, * standing for any characters; several times for "
               "several. The engine's own begin with motet. and are shown too unless types are chosen."),
    ] = None,
    key: Annotated[str | None, option("--key", metavar="KEY", about="Only about this key.")] = None,
    conversation: Annotated[str | None, option("--conversation", metavar="ID", about="Only of this one.")] = None,
    source: Annotated[str | None, option("--source", metavar="NAME", about="Only published by this one.")] = None,
    after: Annotated[
        int | None,
        option("--after", metavar="POSITION", min=0, about="Begin behind this position; by default, the last ones."),
    ] = None,
    limit: Annotated[int, option("--limit", metavar="NUMBER", min=0, about="At most so many.")] = 20,
    follow: Annotated[bool, option("--follow", "-f", about="Go on with what is published from now on.")] = False,
    cloudevents: Annotated[bool, option("--cloudevents", about="Print one CloudEvent per line, as JSON.")] = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:  # fmt: skip
    """List events in the order of the log: the last ones, or those behind a position."""
    if json and (follow or cloudevents):
        raise UsageError(
            "--json is one document; with --follow, or for one CloudEvent per line, use --cloudevents alone"
        )
    wanted = EventFilter(tuple(type or ()), key, conversation, source, after, limit=limit)
    if follow:
        run_async(_follow(wanted, chosen_store(store), cloudevents))
    else:
        run_async(_events(wanted, chosen_store(store), json, cloudevents))


async def _events(wanted: EventFilter, address: str | None, as_json: bool, as_lines: bool) -> None:
    async with existing_store(address) as app:
        found = await app.client.store.events_found(wanted)
    if as_json:
        say_json({"events": [to_document(row) for row in found]})
    elif as_lines:
        _say_lines(found)
    elif found:
        console = out()
        say(_listed(found, width_of(console)), console)
    else:
        say(["There are no such events."])


async def _follow(wanted: EventFilter, address: str | None, as_lines: bool) -> None:
    async with existing_store(address) as app:
        async for page in _pages(app, wanted):
            if as_lines:
                _say_lines(page)
            else:
                say([_line(row) for row in page])


async def _pages(app: App, wanted: EventFilter) -> AsyncGenerator[list[LoggedEvent]]:
    """What there is, then what comes, until whoever reads has enough."""
    store = app.client.store
    heard = app.client.listen()
    head = await store.head()
    page = await store.events_found(wanted._replace(until=head))
    cut = wanted.after is not None and len(page) == wanted.limit > 0
    after = page[-1].position if cut else head
    while True:
        if page:
            yield page
        heard.clear()
        page = await store.events_found(wanted._replace(after=after, limit=PAGE))
        if page:
            after = page[-1].position
        else:
            await heard.wait()


def _say_lines(found: Sequence[LoggedEvent]) -> None:
    for row in found:
        say_json(to_document(row))


def _time(row: LoggedEvent) -> str:
    return f"{as_datetime(row.time):%Y-%m-%d %H:%M:%S}"


def _about(row: LoggedEvent) -> str:
    return row.subject or ""


def _line(row: LoggedEvent) -> Text:
    """For a list that has no end, and so no columns."""
    words = [str(row.position), _time(row), row.type, _about(row), row.data]
    return Text("  ".join(clean(word) for word in words if word))


def _listed(found: Sequence[LoggedEvent], width: int) -> list[Text]:
    rows = [
        [
            Text(clean(word))
            for word in (
                str(row.position), _time(row), row.type, _about(row), row.correlationid, row.source, row.data
            )
        ]
        for row in found
    ]  # fmt: skip
    heads = ("POSITION", "TIME (UTC)", "TYPE", "KEY", "CONVERSATION", "SOURCE", "DATA")
    return table(heads, rows, width, dispensable=(4, 5, 1))
