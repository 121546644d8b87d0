"""The app that the campaign's workers drive (`working.py` is their program); what it has of loose edges is in `edges/`.

Every step asks the outside ledger, and tells it what was recorded. There is a workflow for each promise.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from motet import App, Flow, Retry, Settings, attempt

SOCKET = os.environ.get("CHAOS_LEDGER", "")
LEASE_SECONDS = 2.0
PLACES = 3
BATCH_ROWS = "CHAOS_BATCH_ROWS"
SAID = "word.said"
WORDS = 6

app = App(
    "chaos",
    settings=Settings(
        lease_seconds=LEASE_SECONDS, idle_seconds=0.3, poll_seconds=0.3, drain_seconds=2.0,
        batch_rows=int(os.environ.get(BATCH_ROWS, "1000")),
    ),
)  # fmt: skip
app.queue("few", concurrency=PLACES)

BRIEFLY = Retry(attempts=4, first=0.03, cap=0.2)
FOR_LONG = Retry(attempts=None, first=0.05, cap=0.5)


class Refused(Exception):
    """An answer of the service: nothing was done."""


@dataclass
class Order:
    """What is bought, and what it will meet: `pay:flaky`, `enroll:always_lost`, `slow` ..., or nothing."""

    id: str
    trouble: str = ""
    seconds: float = 0.0
    left: int = 0


async def tell(line: dict[str, Any]) -> dict[str, Any]:
    """Ask the ledger. Raises ConnectionError: no reply, whatever was done."""
    reader, writer = await asyncio.open_unix_connection(SOCKET)
    try:
        writer.write(json.dumps(line).encode() + b"\n")
        reply = await reader.readline()
    finally:
        writer.close()
    if not reply:
        raise ConnectionError("the reply was lost")
    answer: dict[str, Any] = json.loads(reply)
    return answer


async def do(did: str, whom: str, trouble: str = "") -> str:
    """One effect outside, as a part of the running attempt. Raises Refused, or OSError: worth another attempt."""
    now = attempt()
    line = {"kind": "attempt", "did": did, "whom": whom, "trouble": trouble, "pid": os.getpid(), "key": now.key}
    answer = (await tell({**line, "token": now.token, "run": now.run, "operation": now.operation}))["answer"]
    if answer == "refused":
        raise Refused(f"{did} for {whom}")
    if answer in ("down", "stale"):
        raise OSError(answer)
    return str(answer)


@app.step(retry=BRIEFLY, timeout=5, raises=[Refused])
async def pay(order: Order) -> str:
    return await do("pay", order.id, order.trouble)


@pay.compensation(retry=FOR_LONG)
async def refund(paid: str | None, order: Order) -> None:
    await do("refund", order.id)


@app.step(retry=BRIEFLY, timeout=5, raises=[Refused])
async def enroll(order: Order) -> str:
    return await do("enroll", order.id, order.trouble)


@enroll.compensation(retry=FOR_LONG)
async def remove(seat: str | None, order: Order) -> None:
    await do("remove", order.id)


@app.step(retry=FOR_LONG)
async def note(whom: str, what: str) -> str:
    return await do(what, whom)


@app.step(retry=FOR_LONG)
def note_in_thread(whom: str, what: str) -> str:
    now = attempt()
    line = {"kind": "attempt", "did": what, "whom": whom, "trouble": "", "pid": os.getpid(), "key": now.key}
    told = tell({**line, "token": now.token, "run": now.run, "operation": now.operation})
    answer = asyncio.run(told)["answer"]
    if answer == "stale":
        raise OSError(answer)
    return str(answer)


@app.workflow(raises=[Refused])
async def purchase(flow: Flow, order: Order) -> str:
    """Charged and enrolled, or neither; and its event exactly if it has completed."""
    paid = await flow.step(pay, order)
    seat = await flow.step(enroll, order)
    flow.publish("purchase.completed", {"paid": paid, "seat": seat}, key=order.id)
    return seat


@app.workflow(raises=[Refused])
async def impatient(flow: Flow, order: Order) -> str:
    """The sibling of a refused step still charges: unwinding waits for it."""
    await asyncio.gather(flow.step(pay, Order(order.id, "slow")), flow.step(enroll, Order(order.id, "enroll:refused")))
    raise AssertionError("nobody is enrolled here")


async def _through(layers: int, step: Coroutine[Any, Any, str]) -> str:
    return await (asyncio.create_task(_through(layers - 1, step)) if layers else step)


@app.workflow
async def race(flow: Flow, order: Order) -> list[str]:
    """What is done next depends on the order in which results came: replay has to repeat it.

    Each leg takes the loop another number of rounds to go on.
    """
    came: list[str] = []

    async def leg(name: str, layers: int) -> None:
        await _through(layers, flow.step(note, order.id, f"first {name}"))
        came.append(name)
        await flow.step(note, order.id, f"{name} as number {len(came)}")

    await asyncio.gather(leg("a", 3), leg("b", 1), leg("c", 0))
    await flow.sleep(order.seconds)
    await flow.step(note_in_thread, order.id, "end " + "".join(came))
    flow.publish("race.ended", {"came": came}, key=order.id)
    return came


@app.workflow
async def nap(flow: Flow, order: Order) -> None:
    """Leaves memory while it sleeps, and never wakes up early."""
    await flow.step(note, order.id, "lie down")
    flow.note("asleep")
    await flow.sleep(order.seconds)
    await flow.step(note, order.id, "get up")


@app.workflow
async def rounds(flow: Flow, order: Order) -> str:
    """Each generation pays once: the business id is nobody's identity."""
    await flow.step(pay, Order(f"{order.id}/{order.left}"))
    if order.left:
        flow.restart(Order(order.id, left=order.left - 1))
    return "done"


@app.workflow(raises=[Refused])
async def family(flow: Flow, order: Order) -> list[str]:
    """Children are runs of their own; one that is refused undoes what its parent has paid."""
    await flow.step(pay, order)
    first = await flow.child(purchase, Order(f"{order.id}/a"))
    second = await flow.child(purchase, Order(f"{order.id}/b", order.trouble))
    return [first, second]


@app.step(retry=FOR_LONG)
async def stay(seconds: float) -> None:
    await asyncio.sleep(seconds)  # tidy: work that takes time


@app.workflow(queue="few")
async def careful(flow: Flow, order: Order) -> None:
    """Three at a time, in all processes together."""
    await flow.step(note, order.id, "enter")
    await flow.step(stay, order.seconds / 4)
    await flow.step(note, order.id, "leave")


@app.workflow(raises=[Refused])
async def second_try(flow: Flow, order: Order) -> str:
    return await flow.step(pay, order)


@app.step(retry=FOR_LONG)
async def try_again(order: Order) -> str:
    """Starts a run that is refused, and then the same id again."""
    while True:
        run = await app.start(second_try, order, id=f"{order.id}-inner", reuse="after_failure")
        try:
            return await run.result()
        except Refused:
            continue


@app.workflow
async def again(flow: Flow, order: Order) -> str:
    return await flow.step(try_again.options(timeout=30), order)


@app.workflow
async def hear(flow: Flow, order: Order) -> list[int]:
    """Waits for one word after the other; where in the log each was."""
    return [(await flow.wait(SAID)).position for _ in range(WORDS)]
