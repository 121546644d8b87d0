"""`motet conversation` over a story with steps, a child, reactions, a dead letter and a missing event in it."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from motet import App, Event, Flow, Missed, Retry
from motet.cli import exits
from motet.model.clock import SYSTEM, as_datetime
from motet.testing import virtual
from tests.cli.commanding import Command


def shop() -> App:
    app = App("shop")

    @app.step
    async def charge(order: str) -> str:
        await app.publish("charge.noted", key=order)
        return "pay-1"

    @app.workflow
    async def ship(flow: Flow, order: str) -> None:
        await flow.step(charge.options(timeout=5), order)

    @app.workflow
    async def buy(flow: Flow, order: str) -> None:
        await flow.step(charge, order)
        flow.publish("purchase.completed", {"order": order}, key=order)
        await flow.child(ship, order, id=f"ship-{order}")

    @app.on("purchase.*")
    async def send_receipt(event: Event) -> None:
        event.publish("receipt.sent", {"order": event.key})

    @app.on("purchase.completed", retry=Retry(attempts=2))
    async def tell_affiliate(event: Event) -> None:
        raise ValueError("no such affiliate")

    @app.on("receipt.sent", filter=lambda event: False)
    async def count(event: Event) -> None: ...

    @app.workflow(on="receipt.sent")
    async def archive(flow: Flow, event: Event) -> None:
        await flow.sleep(timedelta(days=2))

    @app.workflow
    async def refund(flow: Flow, missed: Missed) -> None: ...

    app.expect("seat.taken", after="purchase.completed", within=900, name="seat", on_missed=refund)
    app.expect("receipt.sent", after="purchase.completed", within=900, name="receipt")
    app.expect("thanks.sent", after="purchase.completed", within=timedelta(days=3), name="thanks")
    return app


@pytest.fixture
def lived(folder: Path) -> Path:
    app = shop()

    async def live() -> None:
        start = as_datetime(SYSTEM.now()) - timedelta(hours=1)
        async with virtual(app, store=f"sqlite:///{folder}/motet.db", start=start) as kit:
            await app.start("shop/buy", "42", id="purchase-42")
            await kit.advance(timedelta(minutes=59))

    asyncio.run(live())
    return folder


def test_the_story_as_a_tree(motet: Command, lived: Path) -> None:
    said = motet("conversation", "purchase-42").stdout
    head = " ".join(" ".join(said.splitlines()[:2]).split())
    assert head.startswith("conversation purchase-42 4 runs 9 events began ")
    assert "3 open 1 failed 1 missed" in head
    tree = [line[12:] for line in said.splitlines()]  # without the times
    assert any(line.startswith("│   │       ├╌╌ archive:") and "  archive  WAITING" in line for line in tree), said
    for expected in (
        "├── ok  charge  ",
        "│   └── *   charge.noted  42",
        "├── *   purchase.completed  42",
        "│   ├╌╌ ok  shop/send_receipt",
        "│   │   └╌╌ *   receipt.sent  42",
        "│   │       └╌╌ ok  shop/count  or filtered out",
        "│   ├╌╌ !!  shop/tell_affiliate  dead letter  after 2 attempts: ValueError",
        "│   ├╌╌ ok  shop/receipt  met  receipt.sent after purchase.completed",
        "│   ├╌╌ !!  shop/seat  missed  seat.taken after purchase.completed  was due 45 min ago",
        "│   │   └╌╌ seat:42  refund  COMPLETED",
        "│   └╌╌ ..  shop/thanks  open  thanks.sent after purchase.completed  due in 2 d 2",
        "└── ship-42  ship  COMPLETED",
        "    └── ok  charge  ",
    ):
        assert any(line.startswith(expected) for line in tree), f"{expected}\n{said}"
    assert "Missing:  seat.taken since 45 min; remedy: seat:42 (completed)" in said
    assert "Dead letters:  shop/tell_affiliate (parked)" in said


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_any_terminal(motet: Command, lived: Path, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    said = motet("conversation", "purchase-42").stdout
    assert max(map(len, said.splitlines())) <= width
    assert "+15 min" in said


def test_as_json(motet: Command, lived: Path) -> None:
    said = motet("conversation", "purchase-42", "--json").json
    assert (said["conversation"], said["runs"], said["events"]) == ("purchase-42", 4, 9)
    assert (said["open"], said["missed"], said["failed"], said["complete"]) == (3, 1, 2, True)
    nodes = {(node["kind"], node["name"]): node for node in said["nodes"]}
    dead = nodes["reaction", "shop/tell_affiliate"]
    assert (dead["state"], dead["attempts"], dead["edge"]) == ("parked", 2, "choreographed")
    assert dead["error"] == "ValueError: no such affiliate"
    assert nodes["event", "purchase.completed"]["edge"] == "orchestrated"
    assert nodes["event", "receipt.sent"]["edge"] == "choreographed"
    assert nodes["run", "purchase-42"]["depth"] == 0


def test_any_run_of_it_leads_there(motet: Command, lived: Path) -> None:
    assert motet("conversation", "ship-42", "--json").json["conversation"] == "purchase-42"


def test_there_is_none(motet: Command, lived: Path) -> None:
    outcome = motet("conversation", "purchase-43")
    assert (outcome.code, outcome.stdout) == (exits.NOT_FOUND, "")
    assert "there is no conversation 'purchase-43' in " in " ".join(outcome.stderr.split())


def test_the_same_from_python(lived: Path) -> None:
    app = App("other", store=f"sqlite:///{lived}/motet.db")
    found = app.sync.conversation("purchase-42")
    app.sync.close()
    assert [node.name for node in found.nodes if node.state == "missed"] == ["shop/seat"]


def test_a_remedy_that_is_a_function_is_named(motet: Command, folder: Path) -> None:
    app = App("desk")
    app.expect("seat.taken", after="paid", within=60, name="seat", on_missed=lambda missed: missed.publish("apology"))

    async def live() -> None:
        async with virtual(app, store=f"sqlite:///{folder}/motet.db") as kit:
            await app.publish("paid", key="42")
            await kit.advance(timedelta(minutes=2))

    asyncio.run(live())
    assert "; remedy: desk/seat.remedy (delivered)" in " ".join(motet("conversation", "42").stdout.split())
