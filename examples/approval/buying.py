"""The workflow: money is set aside, somebody is asked, and only their answer, or two days of silence, lets it go on.

Nobody is called and nothing is polled: the answer is an event, published by whoever answers, to this run alone. Until
then the run is a row in the store, and it does not matter which processes live or die in the meantime.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from motet import App, Event, Flow, attempt

from .budget import enter

PATIENCE = timedelta(days=2)
GIVEN, REFUSED = "approval.given", "approval.refused"

buying = App("buying")


@dataclass
class Order:
    """What somebody wants to buy."""

    item: str
    cents: int


class Refused(Exception):
    """Whoever was asked said no."""


class NobodyAnswered(Exception):
    """The time for an answer is over."""


@buying.step
def reserve_budget(order: Order) -> None:
    """Set the money aside, once, however often this is tried."""
    enter(attempt().run, "reserved", order.cents)


@reserve_budget.compensation
def release_budget(_: None, order: Order) -> None:
    """Take it back."""
    enter(attempt().run, "released", order.cents)


@buying.step
def ask(order: Order) -> None:
    """Here it would be a mail or a message to whoever decides; this one prints how to answer."""
    run = attempt().run
    print(f"Somebody has to approve {order.item} for {order.cents / 100:.2f}. In another terminal:")
    print(f"""  motet publish {GIVEN} --to {run} --data '{{"by": "Ann"}}'""")
    print(f"  motet publish {REFUSED} --to {run}", flush=True)


@buying.step
def place_order(order: Order) -> None:
    """Spend what was set aside."""
    enter(attempt().run, "spent", order.cents)


@buying.workflow(raises=[Refused, NobodyAnswered])
async def buy(flow: Flow, order: Order) -> str:
    """Buy it if somebody approves; else the money is free again."""
    await flow.step(reserve_budget, order)
    await flow.step(ask, order)
    try:
        answer = await flow.wait(GIVEN, REFUSED, timeout=PATIENCE)
    except TimeoutError:
        raise NobodyAnswered(f"nobody answered within {PATIENCE.days} days") from None
    if answer.type == REFUSED:
        raise Refused(f"{who(answer)} refused")
    flow.pivot()  # approved is approved: should the order fail for good, a person decides, and nothing is undone
    await flow.step(place_order, order)
    return f"{order.item} is ordered; {who(answer)} approved"


def who(answer: Event[Any]) -> str:
    """People may leave out who they are, and anybody may publish anything."""
    match answer.data:
        case {"by": str(name)} if name:
            return name
        case _:
            return "somebody"
