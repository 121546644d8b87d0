"""A program that writes every kind of mutation, and that can be run again after a crash until all has ended.

`python -m tests.crash.scenario FOLDER STORE`: prints the outcome of each run as JSON. Armed by MOTET_FAILPOINT.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from motet import (
    App,
    Event,
    Flow,
    Missed,
    Retry,
    RunBlocked,
    RunCancelled,
    RunFailed,
    RunNotFound,
    RunStatus,
    Settings,
    attempt,
)
from motet.errors import NotPossible
from motet.runtime import worker
from motet.testing.faults import arm
from tests.crash.effects import Effects

worker.SWEEP_SECONDS = 0.02


class Declined(Exception):
    """An answer, not a fault."""


LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
FOLDER = Path(sys.argv[1])
app = App("shop", store=sys.argv[2], settings=Settings(idle_seconds=0.01, poll_seconds=0.05))
effects = Effects(FOLDER / "effects")


def happen() -> None:
    now = attempt()
    effects.write("effect", now.key, now.run, now.step, now.number)


app.hooks.step_recorded(lambda key, step, number: effects.write("acknowledged", key, "", step, number))


@app.step(raises=[Declined])
async def charge(amount: int) -> int:
    happen()
    if amount < 0:
        raise Declined(str(amount))
    return amount + 1


@charge.compensation
def refund(charged: int | None) -> None:
    happen()


@app.step(retry=Retry(attempts=1))
def break_down() -> None:
    happen()
    raise OSError("broken")


@app.step
async def engrave(name: str) -> str:
    happen()
    return name.upper()


@engrave.compensation(retry=Retry(attempts=1))
async def smooth(engraved: str | None) -> None:
    happen()
    raise OSError("too deep")


@app.workflow
async def buy(flow: Flow, amount: int) -> int:
    flow.note("charging")
    charged = await flow.step(charge, amount)
    flow.publish("purchase.charged", {"amount": charged})  # motet: ok the test wants it between the steps
    again = await flow.step(charge, charged)
    flow.publish("purchase.completed", {"amount": again})
    return again


@app.workflow(raises=[Declined])
async def decline(flow: Flow, amount: int) -> int:
    await flow.step(charge, amount)
    return await flow.step(charge, -amount)


@app.workflow
async def rounds(flow: Flow, number: int) -> int:
    total = await flow.step(charge, number)
    if number < 3:
        flow.publish("round.ended", {"number": number})
        flow.restart(number + 1)
    return total


@app.workflow
async def outer(flow: Flow, amount: int) -> int:
    first = await flow.child(buy, amount, id="outer-buy")
    try:
        await flow.child(decline, amount, id="outer-decline")
    except Declined:
        return first
    return 0


@app.workflow
async def wait(flow: Flow, amount: int) -> None:
    await flow.step(charge, amount)
    await flow.sleep(3600)


@app.workflow
async def engraving(flow: Flow, name: str) -> None:
    await flow.step(charge, 1)
    await flow.step(engrave, name)
    await flow.step(break_down)


@app.workflow
async def second_try(flow: Flow, good: bool) -> str:
    await flow.step(charge, 1)
    if not good:
        raise RuntimeError("not this time")
    return "done"


@app.workflow
async def look_for(flow: Flow, missed: Missed) -> str:
    await flow.step(charge, missed.data["amount"])
    return missed.key


app.expect("parcel.arrived", after="parcel.sent", within=60, name="parcel", on_missed=look_for)


async def ended(id: str) -> list[Any]:
    try:
        return ["completed", await app.result(id)]
    except (RunFailed, RunCancelled, Declined) as error:
        return [type(error).__name__, None]


async def seen(id: str, holds: Callable[[RunStatus], bool]) -> None:
    while not holds(await app.status(id)):
        await asyncio.sleep(0)


async def waiting() -> list[Any]:
    """Cancelled once it has left memory; what it has done is undone."""
    await app.start("wait", 5, id="waiting")
    await seen("waiting", lambda status: status.state not in ("pending", "running"))
    if (await app.status("waiting")).state == "waiting":
        await app.cancel("waiting", reason="enough")
    return await ended("waiting")


async def stuck() -> list[Any]:
    """Blocked by a compensation that fails for good, until a person skips it."""
    await app.start("engraving", "motet", id="stuck")
    try:
        await app.result("stuck")
    except RunBlocked:
        with suppress(NotPossible):  # it was skipped before the crash, and goes on just now
            await app.skip("stuck", note="polished by hand")
    except RunFailed:
        pass  # skipped before the crash
    await seen("stuck", lambda status: status.state != "blocked")
    return await ended("stuck")


async def second() -> list[Any]:
    """Fails, then its id is used again."""
    try:
        await app.status("second")
    except RunNotFound:
        await app.start("second_try", False, id="second")
    if await ended("second") != ["completed", "done"]:
        await app.start("second_try", True, id="second", reuse="after_failure")
    return await ended("second")


async def told() -> list[Any]:
    """Published from outside with an id of its own: however often, it is in the log once."""
    for _ in range(2):
        await app.publish("day.begun", {"day": 1}, id="day-1")
    return ["published", None]


tries: list[str] = []


@app.on("day.begun", start="beginning", retry=Retry(first=0.01))
async def thank(event: Event) -> None:
    """Fails once in each life, and publishes in the end."""
    tries.append(event.id)
    if len(tries) == 1:
        raise OSError("not awake yet")
    event.publish("day.thanked", event.data)


@app.on("day.thanked", start="beginning")
def echo(event: Event) -> None:
    event.publish("day.echoed", event.data)


async def reacted() -> list[Any]:
    """One reaction answers after a failure, and another answers to that: each once."""
    written = app.client.listen()
    while not any(row.type == "day.echoed" for row in await app.client.store.events(0, 1000)):
        await written.wait()
        written.clear()
    return ["reacted", None]


@app.workflow
async def asking(flow: Flow) -> list[Any]:
    """Two questions: the second answer may have come before it is waited for."""
    answers: list[Any] = []
    for number in (1, 2):
        flow.publish("question.asked", number)
        answers.append((await flow.wait("answer.given")).data)
    return answers


@app.on("question.asked", start="beginning")
async def answer(event: Event) -> None:
    event.publish("answer.given", event.data * 10, to=event.key)


async def asked() -> list[Any]:
    await app.start(asking, id="asking")
    return await ended("asking")


async def missed() -> list[Any]:
    """Two parcels were sent long ago, and one has arrived, which came to be known before it was sent."""
    for event, key, minute in (("arrived", "found", 1), ("sent", "found", 0), ("sent", "lost", 0)):
        at = LONG_AGO.replace(minute=minute)
        await app.publish(f"parcel.{event}", {"amount": 3}, key=key, id=f"{event}-{key}", time=at)
    written = app.client.listen()
    while True:
        with suppress(RunNotFound):
            return await ended("parcel:lost")
        await written.wait()
        written.clear()


async def plain(workflow: str, id: str) -> list[Any]:
    await app.start(workflow, 1, id=id)
    return await ended(id)


async def main() -> None:
    arm(app.hooks)
    async with app.worker():
        parts = {
            "buy": plain("buy", "buy"),
            "decline": plain("decline", "decline"),
            "rounds": plain("rounds", "rounds"),
            "outer": plain("outer", "outer"),
            "waiting": waiting(),
            "stuck": stuck(),
            "second": second(),
            "told": told(),
            "missed": missed(),
            "reacted": reacted(),
            "asked": asked(),
        }
        outcomes = await asyncio.gather(*parts.values())
    print(json.dumps(dict(zip(parts, outcomes, strict=True))))


if __name__ == "__main__":
    asyncio.run(main())
