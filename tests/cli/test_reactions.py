"""`motet reactions`, `pause`, `resume`, `replay`, over a store whose worker has gone, and beside one that lives."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from motet import App, Event, Retry
from motet.cli import exits
from motet.testing import virtual
from tests.cli.commanding import Command, Terminal, WorkerProcess, eventually

seen: list[Any] = []


def make() -> App:
    app = App("shop")

    @app.on("order.*", start="beginning", retry=Retry(attempts=1))
    async def bill(event: Event) -> None:
        if event.data == "poison":
            raise ValueError("cannot read it")
        seen.append(event.data)

    @app.on("order.placed", "parcel.sent", start="beginning", hold=True)
    async def page(event: Event) -> None: ...

    return app


def live(path: Path, *published: Any) -> list[Any]:
    """What is delivered to `bill` while these are published as well."""
    app = make()

    async def run() -> None:
        async with virtual(app, store=f"sqlite:///{path}") as kit:
            for data in published:
                await app.publish("order.placed", data, key="o")
            await kit.advance(60)

    seen.clear()
    asyncio.run(run())
    return list(seen)


def publish(path: Path, *names: str) -> None:
    async def run() -> None:
        app = App("other", store=f"sqlite:///{path}")
        async with app.connect():
            for name in names:
                await app.publish(name)

    asyncio.run(run())


@pytest.fixture
def store(folder: Path) -> Path:
    """Three orders have been dealt with, the second of which one reaction cannot read."""
    path = folder / "motet.db"
    assert live(path, 1, "poison", 3) == [1, 3]
    return path


def test_how_they_stand(motet: Command, store: Path) -> None:
    publish(store, "order.placed", "else")
    bill, page = motet("reactions", "--json").json["reactions"]
    assert (bill["name"], bill["events"], bill["state"], bill["worker"]) == (
        "shop/bill",
        ["order.*"],
        "unattended",
        None,
    )
    assert (bill["delivered"], bill["failed"], bill["dead"], bill["behind"]) == (2, 1, 1, 2)
    assert bill["position"] == page["position"]
    assert bill["lag_seconds"] >= 0
    assert (page["dead"], page["hold"], page["per_second"]) == (0, True, 0)
    place, _, line = page["declared_at"].rpartition(":")
    assert Path(place).name == "test_reactions.py"
    assert int(line) > 0
    lines = motet("reactions", "bill").stdout.splitlines()
    assert len(lines) == 2
    heads, row = lines[0].split(), lines[1].split()
    assert (row[0], row[heads.index("STATE")], row[heads.index("BEHIND")], row[-1]) == (
        "shop/bill", "unattended", "2", "1"
    )  # fmt: skip


def test_pausing_and_going_on(motet: Command, store: Path) -> None:
    assert motet("pause", "bill", "--json").json == {"reaction": "shop/bill", "paused": True}
    assert motet("reactions", "bill", "--json").json["reactions"][0]["state"] == "paused"
    assert live(store, 4) == []
    assert motet("resume", "shop/bill").stdout == "shop/bill goes on\n"
    assert live(store) == [4]


def test_a_replay_from_a_position_from_a_time_and_from_the_beginning(motet: Command, store: Path) -> None:
    events = motet("events", "--type", "order.*", "--json").json["events"]
    third = events[2]["position"]
    outcome = motet("replay", "bill", "--from", str(third))
    assert (outcome.code, outcome.stdout) == (exits.USAGE, "")
    assert "would deliver 1 event to shop/bill anew" in " ".join(outcome.stderr.split())
    assert live(store) == []
    assert motet("replay", "bill", "--from", str(third), "--yes", "--json").json == {
        "reaction": "shop/bill", "from": third, "events": 1
    }  # fmt: skip
    assert live(store) == [3]
    assert motet("replay", "bill", "--from", events[0]["recordedtime"], "--yes", "--json").json["events"] == 3
    assert live(store) == [1, 3]
    assert "3 events once more" in motet("replay", "bill", "--from", "beginning", "--yes").stdout
    assert motet("dead-letters", "--json").json["count"] == 0, "they are delivered anew, too"
    assert live(store) == [1, 3]
    assert motet("dead-letters", "--json").json["count"] == 1


def test_a_replay_is_asked_about_on_a_terminal(motet: Command, store: Path) -> None:
    terminal = Terminal("replay", "bill", "--from", "1")
    terminal.until("This will deliver 3 events to shop/bill anew. Go on? [y/N]")
    terminal.type("\n")
    assert terminal.ended() == exits.INTERRUPTED
    assert live(store) == []


def test_one_that_no_code_declares_is_forgotten(motet: Command, store: Path) -> None:
    outcome = motet("reactions", "forget", "bill")
    assert outcome.code == exits.USAGE
    assert "would forget reaction shop/bill and its 1 dead letter" in " ".join(outcome.stderr.split())
    assert motet("reactions", "forget", "bill", "--yes", "--json").json == {
        "reaction": "shop/bill", "forgotten": True, "dead_letters": 1
    }  # fmt: skip
    assert [one["name"] for one in motet("reactions", "--json").json["reactions"]] == ["shop/page"]
    assert motet("dead-letters", "--json").json["count"] == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["reactions", "pack"], exits.NOT_FOUND, "there is no reaction 'pack'"),
        (["pause", "pack"], exits.NOT_FOUND, "known: shop/bill, shop/page"),
        (["resume", "other/bill"], exits.NOT_FOUND, "there is no reaction 'other/bill'"),
        (["replay", "bill", "--from", "noon"], exits.USAGE, "give a time with its zone"),
        (["replay", "bill", "--from", "2026-01-01T00:00"], exits.USAGE, "give a time with its zone"),
        (["replay", "bill", "--from", "0"], exits.USAGE, "give a position from 1"),
        (["replay", "bill", "--from", "999"], exits.NOT_POSSIBLE, "has not come to 999 yet"),
    ],
)
def test_what_is_refused(motet: Command, store: Path, words: list[str], code: int, said: str) -> None:
    outcome = motet(*words)
    assert (outcome.code, outcome.stdout) == (code, "")
    assert said in " ".join(outcome.stderr.split())


def test_of_two_apps_the_full_name_is_needed(motet: Command, store: Path) -> None:
    other = App("campus")

    @other.on("order.*")
    async def bill(event: Event) -> None: ...

    async def run() -> None:
        async with virtual(other, store=f"sqlite:///{store}"):
            pass

    asyncio.run(run())
    outcome = motet("pause", "bill")
    assert outcome.code == exits.NOT_POSSIBLE
    assert "choose one: campus/bill, shop/bill" in " ".join(outcome.stderr.split())
    assert motet("pause", "campus/bill").code == exits.OK


def test_a_store_without_any(motet: Command, folder: Path) -> None:
    publish(folder / "motet.db", "e")
    assert motet("reactions").stdout.startswith("There are no reactions. They are declared with @app.on(...)")
    assert motet("reactions", "--json").json == {"reactions": []}


def test_beside_a_living_worker(motet: Command, folder: Path) -> None:
    """It is seen at work, paused and forgotten only when it is gone."""
    text = (folder / "shop.py").read_text()
    code = "\n\n@shop.on('order.*')\nasync def bill(event):\n    Path('billed').open('a').write(f'{event.key}\\n')\n"
    (folder / "shop.py").write_text(text + code)
    worker = WorkerProcess(folder)
    try:

        def one() -> Any:
            return motet("reactions", "bill", "--json").json["reactions"][0]

        eventually(lambda: one()["state"] == "running", "the worker to own it")
        assert one()["worker"]
        outcome = motet("reactions", "forget", "bill", "--yes")
        assert outcome.code == exits.NOT_POSSIBLE
        billed = folder / "billed"
        assert motet("publish", "order.placed", "--key", "o1").code == exits.OK
        eventually(lambda: billed.exists() and billed.read_text() == "o1\n", "the first delivery")
        motet("pause", "bill")
        assert one()["state"] == "paused"
        motet("resume", "bill")
        motet("publish", "order.placed", "--key", "o2")
        eventually(lambda: billed.read_text() == "o1\no2\n", "the second delivery")
        motet("replay", "bill", "--from", "1", "--yes")
        eventually(lambda: billed.read_text() == "o1\no2\n" * 2, "the replay")
    finally:
        worker.kill()


def test_the_verbs_of_an_app_and_without_async(folder: Path, store: Path) -> None:
    app = App("shop", store=f"sqlite:///{store}")

    @app.on("order.*")
    async def bill(event: Event) -> None: ...

    sync = app.sync
    (letter,) = sync.dead_letters(reaction=bill)
    assert (letter.data, letter.error) == ("poison", "cannot read it")
    sync.edit(bill, letter.position, {"cured": True})
    assert sync.dead_letters()[0].data == {"cured": True}
    sync.pause(bill)
    assert {one.name: one.state for one in sync.reaction_status()} == {"shop/bill": "paused", "shop/page": "unattended"}
    sync.resume("bill")
    assert sync.redrive("bill", letter.position) == 1
    assert sync.dead_letters() == []
    assert sync.discard(type="order.*") == 0
    assert sync.replay("page", "beginning") == 3
    sync.forget("page")
    assert [one.name for one in sync.reaction_status()] == ["shop/bill"]
    sync.close()
