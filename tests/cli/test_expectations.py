"""`motet expectations` over a store in which something has come, something is late, and something has not come."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from motet import App, Flow
from motet.cli import exits
from motet.model.clock import SYSTEM, as_datetime
from motet.testing import virtual
from tests.cli.commanding import Command


def fill(path: Path) -> None:
    """Of two expectations one has been through everything; the other waits. Its time ended an hour ago."""
    app = App("shop")

    @app.workflow
    async def call_somebody(flow: Flow) -> None: ...

    app.expect("seat.taken", after="purchase.paid", within=900, name="seat", on_missed=call_somebody)
    app.expect("receipt.sent", after="purchase.paid", within=timedelta(days=30), name="receipt", each=True)

    async def live() -> None:
        start = as_datetime(SYSTEM.now()) - timedelta(hours=1, minutes=30)
        async with virtual(app, store=f"sqlite:///{path}", start=start) as kit:
            await app.publish("seat.taken", key="p-early")
            for key in ("p-met", "p-late", "p-never", "p-early"):
                await app.publish("purchase.paid", key=key)
            await app.publish("seat.taken", key="p-met")
            await kit.advance(timedelta(minutes=30))
            await app.publish("seat.taken", key="p-late")
            await app.publish("purchase.paid", key="p-met")
            await kit.advance(timedelta(hours=1))
            await app.publish("purchase.paid", key="p-open")
            await kit.idle()

    asyncio.run(live())


@pytest.fixture
def filled(folder: Path) -> Path:
    fill(folder / "motet.db")
    return folder


def test_they_are_counted_and_what_has_not_come_is_listed(motet: Command, filled: Path) -> None:
    lines = [line.split() for line in motet("expectations", "seat").stdout.splitlines()]
    assert lines[0] == ["EXPECTATION", "EXPECTED", "OPEN", "MET", "MISSED", "LATE", "BEHIND"]
    about = "shop/seat seat.taken in 15 min after purchase.paid"
    assert " ".join(lines[1]) == f"{about} 1 1 2 1 unwatched"
    assert lines[2] == []
    assert lines[3] == ["KEY", "EXPECTATION", "STATE", "SINCE", "DUE", "EARLY", "CONVERSATION"]
    listed = {line[0]: " ".join(line[1:]) for line in lines[4:]}
    assert list(listed)[-1] == "p-open", "the oldest first"
    assert listed["p-never"] == "shop/seat missed 1 h 30 min ago 1 h 15 min ago p-never"
    assert listed["p-early"] == "shop/seat missed 1 h 30 min ago 1 h 15 min ago 1 p-early"
    assert listed["p-open"].startswith("shop/seat open ")
    assert "in 14 min" in listed["p-open"] or "in 15 min" in listed["p-open"]


def test_as_json(motet: Command, filled: Path) -> None:
    said = motet("expectations", "--json").json
    receipt, seat = said["expectations"]
    assert {state: seat[state] for state in ("met", "late", "missed", "open")} == {
        "met": 1, "late": 1, "missed": 2, "open": 1
    }  # fmt: skip
    assert (receipt["open"], receipt["each"], receipt["within_seconds"]) == (6, True, 30 * 24 * 3600)
    assert (seat["name"], seat["expected"], seat["after"]) == ("shop/seat", "seat.taken", "purchase.paid")
    assert (seat["remedy"], seat["owner"], seat["paused"], seat["behind"]) == ("shop/call_somebody", None, False, 0)
    place, _, line = seat["declared_at"].rpartition(":")
    assert Path(place).read_text().splitlines()[int(line) - 1].strip().startswith('app.expect("seat.taken"')
    rows = {(row["expectation"], row["key"]): row for row in said["listed"]}
    assert len(said["listed"]) == 9
    missed = rows["shop/seat", "p-early"]
    assert (missed["state"], missed["early"], missed["triggers"], missed["came"]) == ("missed", 1, 1, None)
    assert missed["armed_at"] < missed["due"] <= missed["missed_at"]
    assert rows["shop/seat", "p-open"]["due"] > rows["shop/seat", "p-open"]["armed_at"]


def test_other_states_and_fewer_lines(motet: Command, filled: Path) -> None:
    found = motet("expectations", "shop/seat", "--state", "met", "--state", "late", "--json").json["listed"]
    listed = {row["key"]: (row["state"], row["triggers"]) for row in found}
    assert listed == {"p-late": ("late", 1), "p-met": ("met", 2)}
    assert all(row["came_at"] is not None for row in found)
    assert len(motet("expectations", "--limit", "2", "--json").json["listed"]) == 2
    assert motet("expectations", "--limit", "0").stdout.count("\n") == 3


def test_what_there_is_not(motet: Command, filled: Path) -> None:
    outcome = motet("expectations", "sat")
    assert (outcome.code, outcome.stdout) == (exits.USAGE, "")
    assert "there is no expectation 'sat' in this store; known: shop/receipt, shop/seat" in " ".join(
        outcome.stderr.split()
    )
    outcome = motet("expectations", "--state", "gone")
    assert outcome.code == exits.USAGE
    assert "use one of open, met, missed, late" in " ".join(outcome.stderr.split())


def test_a_store_without_any(motet: Command, folder: Path) -> None:
    async def make() -> None:
        async with App("shop", store=f"sqlite:///{folder}/motet.db").connect():
            pass

    asyncio.run(make())
    assert motet("expectations").stdout.startswith("There are no expectations. They are declared with app.expect(...)")
    assert motet("expectations", "--json").json == {"expectations": [], "listed": []}
