"""What type checkers know inside a workflow, and of runs: checked by mypy and pyright in strict mode, never run."""

import asyncio
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, assert_type

from motet import App, Attempt, Event, Flow, RunHandle, RunStatus, RunSummary, Workflow, attempt

app = App("typing")


@app.event("approval.given", key="document")
@dataclass
class Approved:
    document: str


@app.event("approval.refused", key="document")
@dataclass
class Refused:
    document: str
    reason: str


@app.step
async def count(text: str, *, times: int = 1) -> int:
    return len(text) * times


@app.step
def shout(text: str) -> str:
    return text.upper()


class Connection: ...


@app.transaction
def book(connection: Connection, text: str, *, seats: int = 1) -> list[int]:
    return [seats]


@app.transaction(timeout=3)
async def look(connection: Connection) -> str:
    return ""


@app.workflow
async def child(flow: Flow, number: int) -> list[int]:
    return [number]


@app.workflow
async def childless(flow: Flow) -> str:
    return ""


@app.workflow
async def body(flow: Flow, text: str) -> str:
    assert_type(await flow.step(count, text), int)
    assert_type(await flow.step(count, text, times=2), int)
    assert_type(await flow.step(shout, text), str)
    assert_type(await flow.step(shout.options(timeout=3), text), str)
    assert_type(await asyncio.gather(flow.step(count, "a"), flow.step(shout, "b")), tuple[int, str])
    assert_type(await flow.transaction(book, text), list[int])
    assert_type(await flow.transaction(book.options(timeout=None), text, seats=2), list[int])
    assert_type(await flow.transaction(look), str)
    await flow.transaction(book, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await flow.transaction(book)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await flow.transaction(count, text)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert_type(await flow.child(child, 1), list[int])
    assert_type(await flow.child(child, 1, id="one", detached=True), str)
    assert_type(await flow.child(childless), str)
    assert_type(flow.now(), datetime)
    assert_type(flow.random(), float)
    assert_type(flow.uuid(), uuid.UUID)
    assert_type(flow.changed("more-checks"), bool)
    async with flow.scope():
        flow.note("here")
    flow.publish("something.happened", {"text": text})
    assert_type(await flow.wait(Approved), Event[Approved])
    assert_type((await flow.wait(Approved, key=text, timeout=timedelta(days=30))).data, Approved)
    assert_type((await flow.wait(Approved, Refused)).data, Approved | Refused)
    assert_type(await flow.wait("approval.given", timeout=3), Event[Any])
    assert_type(await flow.wait(Approved, "approval.refused", Refused), Event[Any])
    assert_type(
        await asyncio.gather(flow.wait(Approved), flow.step(shout, "b")),
        tuple[Event[Approved], str],
    )
    # What must be refused.
    await flow.step(count, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await flow.step(count)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await flow.step(len, text)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await flow.child(child, "x")  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await flow.wait(Approved("document"))  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await flow.wait(Approved, key=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    flow.restart("again")


async def runs() -> None:
    async with app.worker() as worker:
        assert_type(worker, App)
    handle = await app.start(body, "text", id="1")
    assert_type(handle, RunHandle[str])
    assert_type(await handle.result(), str)
    assert_type(await app.start(childless, id="2"), RunHandle[str])
    assert_type(await app.start("body", {"any": "thing"}, id="3"), RunHandle[Any])
    assert_type(await app.status("1"), RunStatus)
    assert_type(await app.runs(state="blocked"), list[RunSummary])
    assert_type(app.sync.start(body, "text", id="4"), str)
    # What must be refused.
    await app.start(body, 5, id="5")  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await app.start(body, "text")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await app.runs(state="sleeping")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


assert_type(attempt(), Attempt)
assert_type(attempt().number, int)
assert_type(body, Workflow[str, str])


@app.workflow(name="body", version=2)
async def newer_body(flow: Flow, text: list[str]) -> int:
    return len(text)


async def reruns() -> None:
    """By a step or its name, with another input or the same."""
    assert_type(newer_body, Workflow[list[str], int])
    assert_type(await app.start(newer_body, ["a"], id="v2"), RunHandle[int])
    await app.start(newer_body, "not its input", id="wrong")  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert_type(await app.rerun("run", from_step=count), RunHandle[Any])
    assert_type(await app.rerun("run", from_step="count#2", input={"a": 1}, id="again"), RunHandle[Any])
    assert_type(app.sync.rerun("run", from_step=count, input=None), str)
    await app.rerun("run", from_step=newer_body)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
