"""`motet map` of a module, of a store, and of both."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from textwrap import dedent

import pytest

from motet.cli import exits
from motet.cli.opening import load_app
from motet.testing import virtual
from tests.cli.commanding import Command

CODE = """
    from datetime import timedelta

    from motet import App, Event, Flow, Missed, Retry

    edges = App("edges")

    @edges.event("paid", key="order")
    class Paid:
        order: str

    @edges.step(timeout=5)
    async def charge(order: str) -> None:
        await edges.publish("charge.noted", key=order)

    @charge.compensation
    async def refund(payment: None) -> None: ...

    @edges.step
    async def mail(order: str) -> None: ...

    @edges.workflow(deadline=timedelta(hours=1))
    async def buy(flow: Flow, order: str) -> None:
        await flow.step(charge, order)
        flow.publish("paid", {"order": order}, key=order)
        await flow.wait("receipt.sent", key=order, timeout=timedelta(days=2))
        await flow.step(mail, order)

    @edges.on("paid", retry=Retry(attempts=3), timeout=7)
    async def receipt(event: Event) -> None:
        event.publish("receipt.sent", {})

    @edges.on("never.*")
    async def never(event: Event) -> None: ...

    @edges.workflow
    async def remedy(flow: Flow, missed: Missed) -> None: ...

    edges.expect("seat.taken", after="paid", within=900, name="seat", on_missed=remedy)
"""


@pytest.fixture
def module(folder: Path) -> Iterator[Path]:
    path = folder / "edges.py"
    path.write_text(dedent(CODE).lstrip().replace("class Paid:", "class Paid(__import__('msgspec').Struct):"))
    yield path
    sys.modules.pop("edges", None)


def live(folder: Path) -> None:
    app = load_app("edges", None)

    async def days() -> None:
        async with virtual(app, store=f"sqlite:///{folder}/motet.db") as kit:
            for number in range(3):
                await app.start("edges/buy", f"{number}", id=f"p-{number}")
            await kit.advance(timedelta(minutes=30))

    asyncio.run(days())


def line_of(module: Path, text: str) -> str:
    lines = module.read_text().splitlines()
    return f"{module}:{next(number for number, line in enumerate(lines, 1) if text in line)}"


def test_a_module_without_a_store(motet: Command, module: Path, folder: Path) -> None:
    said = motet("map", "edges", "--json").json
    events = {event["name"]: event for event in said["events"]}
    assert set(events) == {"paid", "charge.noted", "receipt.sent", "seat.taken"}
    (publisher,) = events["paid"]["publishers"]
    assert (publisher["name"], publisher["declared"], publisher["seen"]) == ("edges/buy", True, 0)
    assert publisher["place"] == line_of(module, "flow.publish")
    assert (events["paid"]["reactions"], events["paid"]["triggers"]) == (["edges/receipt"], ["edges/seat"])
    assert events["receipt.sent"]["waits"] == ["edges/buy"]
    assert {(finding["kind"], finding["subject"]) for finding in said["findings"]} == {
        ("nobody-reacts", "charge.noted"), ("nobody-publishes", "never.*"), ("nobody-publishes", "seat.taken"),
        ("core-waits-for-edge", "edges/buy"), ("could-be-a-reaction", "edges/buy"),
    }  # fmt: skip
    policies = {(policy["owner"], policy["kind"]): policy["value"] for policy in said["policies"]}
    assert (policies["edges/charge", "timeout"], policies["edges/receipt", "retry"]) == (5.0, 3.0)
    assert policies["edges/buy", "timeout"] == 172_800.0
    assert policies["edges/receipt", "timeout"] == 7.0
    assert (policies["edges/seat", "remedy"], policies["edges/buy", "deadline"]) == ("edges/remedy", 3600.0)
    assert not (folder / "motet.db").exists()


def test_a_store_tells_the_same_and_what_was_seen(motet: Command, module: Path, folder: Path) -> None:
    live(folder)
    declared, stored = motet("map", "edges", "--json").json, motet("map", "--json").json
    assert stored == declared
    events = {event["name"]: event for event in stored["events"]}
    seen = {name: {one["name"]: one["seen"] for one in event["publishers"]} for name, event in events.items()}
    assert seen["paid"] == {"edges/buy": 3}
    assert seen["receipt.sent"] == {"edges/receipt": 3}
    assert {"cause": "paid", "effect": "receipt.sent", "by": "edges/receipt", "count": 3} in stored["seen"]
    started = {"cause": "motet.expectation.missed", "effect": "edges/remedy", "by": None, "count": 3}
    assert started in stored["seen"]
    fewer = motet("map", "--last", "0", "--json").json
    assert fewer["seen"] == [] and fewer["policies"] == stored["policies"]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_for_people(motet: Command, module: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    live(folder)
    monkeypatch.setenv("COLUMNS", str(width))
    said = motet("map").stdout
    assert max(map(len, said.splitlines())) <= width
    told = " ".join(said.split())
    number = line_of(module, "flow.publish").rpartition(":")[2]
    for expected in (
        f"paid <── edges/buy edges.py:{number} 3 seen ╌╌> edges/receipt ╌╌> expectation edges/seat begins",
        "Events that nobody reacts to charge.noted: ",
        "Could be a reaction edges/buy ends with mail, which nothing undoes",
    ):
        assert expected in told


def test_what_there_is_not(motet: Command, module: Path) -> None:
    assert motet("map").code == exits.NOT_FOUND
    assert motet("map", "nowhere").code == exits.USAGE


def test_policies_of_a_shared_function_stand_where_it_is_made_a_step(motet: Command, folder: Path) -> None:
    (folder / "shared.py").write_text("async def charge(order: str) -> None: ...\n")
    source = dedent("""
        from motet import App, Flow, Retry
        from shared import charge

        edges = App("edges")
        charging = edges.step(retry=Retry(attempts=3), timeout=5)(charge)

        @edges.step(
            timeout=7,
        )
        async def mail(order: str) -> None: ...

        @edges.workflow
        async def buy(flow: Flow, order: str) -> None:
            await flow.step(charging, order)
            await flow.step(mail, order)
    """).lstrip()
    path = folder / "sharing.py"
    path.write_text(source)
    policies = motet("map", "sharing", "--json").json["policies"]
    places = {(one["owner"], one["kind"]): one["place"] for one in policies}
    assert places["edges/charge", "retry"] == places["edges/charge", "timeout"] == line_of(path, "charging =")
    assert places["edges/mail", "timeout"] == line_of(path, "@edges.step(")
