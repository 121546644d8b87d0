"""`motet dead-letters`: seeing, curing, trying again and giving up what failed for good."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motet import App, Event, Retry
from motet.cli import exits
from motet.testing import virtual
from tests.cli.commanding import Command, Terminal

seen: list[tuple[str, Any]] = []


def make() -> App:
    """Two reactions that cannot read `poison`; one holds the key."""
    app = App("shop")

    @app.on("order.*", retry=Retry(attempts=2, first=0.01, cap=0.01), start="beginning")
    async def bill(event: Event) -> None:
        refuse("bill", event)

    @app.on("order.placed", retry=Retry(attempts=1), hold=True, start="beginning")
    async def ship(event: Event) -> None:
        refuse("ship", event)

    def refuse(name: str, event: Event) -> None:
        if event.data == "poison":
            raise ValueError("cannot read\n\x1b[31mit")
        seen.append((name, event.data))

    return app


def deliver(path: Path) -> list[tuple[str, Any]]:
    """What is delivered when a worker has done all there is to do."""

    async def live() -> None:
        async with virtual(make(), store=f"sqlite:///{path}") as kit:
            await kit.advance(60)

    seen.clear()
    asyncio.run(live())
    return sorted(seen, key=str)


@pytest.fixture
def filled(folder: Path) -> Callable[[], list[tuple[str, Any]]]:
    """Event 1 is poison for both, 2 comes behind it, 3 is poison for one."""
    path = folder / "motet.db"

    async def publish() -> None:
        app = App("shop", store=f"sqlite:///{path}")
        async with app.connect():
            await app.publish("order.placed", "poison", key="o1")
            await app.publish("order.placed", "fine", key="o1")
            await app.publish("order.paid", "poison", key="o2", conversation="talk")

    asyncio.run(publish())
    deliver(path)
    return lambda: deliver(path)


def named(outcome: Any) -> list[tuple[str, int]]:
    """The dead letters that a document lists."""
    return [(one["reaction"], one["position"]) for one in outcome.json["dead_letters"]]


def test_they_are_listed_and_counted(motet: Command, filled: object) -> None:
    said = motet("dead-letters", "--json").json
    assert [(one["reaction"], one["position"], one["held"], one["key"]) for one in said["dead_letters"]] == [
        ("shop/bill", 1, False, "o1"), ("shop/bill", 3, False, "o2"), ("shop/ship", 1, True, "o1"),
    ]  # fmt: skip
    assert said["count"] == 3
    assert (said["dead_letters"][0]["attempts"], said["dead_letters"][2]["attempts"]) == (2, 1)
    shown = motet("dead-letters", "list", "--limit", "2").stdout
    assert shown.split()[:3] == ["REACTION", "POSITION", "TYPE"]
    assert shown.splitlines()[-1].strip() == "3 dead letters, of which 2 are shown"
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--reaction", "bill"], [("shop/bill", 1), ("shop/bill", 3)]),
        (["--type", "order.pa*"], [("shop/bill", 3)]),
        (["--type", "order.placed"], [("shop/bill", 1), ("shop/ship", 1)]),
        (["--key", "o1", "--reaction", "shop/ship"], [("shop/ship", 1)]),
        (["--conversation", "talk"], [("shop/bill", 3)]),
        (["--key", "o9"], []),
    ],
)
def test_filters(motet: Command, filled: object, options: list[str], expected: list[tuple[str, int]]) -> None:
    assert named(motet("dead-letters", *options, "--json")) == expected


def test_one_is_shown_with_all_that_is_known(motet: Command, filled: object) -> None:
    said = motet("dead-letters", "show", "ship", "1", "--json").json
    assert (said["type"], said["data"], said["error_type"], said["behind"]) == (
        "order.placed",
        "poison",
        "ValueError",
        [2],
    )
    assert "in ship" in said["trace"]
    shown = motet("dead-letters", "show", "ship", "1").stdout
    assert "ValueError: cannot read" in shown
    assert "1 later event of its key wait" in " ".join(shown.split())
    assert "\x1b" not in shown


def test_one_is_edited_and_redriven(motet: Command, filled: Callable[[], Any]) -> None:
    outcome = motet("dead-letters", "edit", "ship", "1", "--data", "{poison")
    assert outcome.code == exits.USAGE
    assert "--data is not JSON" in outcome.stderr
    assert motet("dead-letters", "edit", "ship", "1", "--data", '"cured"', "--json").json["edited"] is True
    assert motet("dead-letters", "redrive", "shop/ship", "1", "--json").json == {"redriven": 1}
    assert filled() == [("ship", "cured"), ("ship", "fine")], "in order of its key"
    assert named(motet("dead-letters", "--json")) == [("shop/bill", 1), ("shop/bill", 3)]
    assert motet("events", "--json").json["events"][0]["data"] == "poison", "the log stays as it is"


def test_one_is_discarded_and_what_it_held_goes_on(motet: Command, filled: Callable[[], Any]) -> None:
    assert motet("dead-letters", "discard", "ship", "1").stdout == "1 dead letter discarded\n"
    assert filled() == [("ship", "fine")]


def test_many_are_counted_first(motet: Command, filled: Callable[[], Any]) -> None:
    outcome = motet("dead-letters", "redrive", "--reaction", "bill")
    assert (outcome.code, outcome.stdout) == (exits.USAGE, "")
    assert "would redrive 2 dead letters" in " ".join(outcome.stderr.split())
    assert motet("dead-letters", "redrive", "--reaction", "bill", "--yes").stdout == "2 dead letters redriven\n"
    assert motet("dead-letters", "--json").json["count"] == 1
    filled()
    assert motet("dead-letters", "--json").json["count"] == 3, "they are poison still"
    assert motet("dead-letters", "discard", "--all", "--yes", "--json").json == {"discarded": 3}
    assert motet("dead-letters").stdout == "There are no dead letters.\n"
    assert motet("dead-letters", "redrive", "--all").stdout == "0 dead letters redriven\n"


def test_a_terminal_is_asked(motet: Command, filled: object) -> None:
    terminal = Terminal("dead-letters", "discard", "--all")
    terminal.until("This will discard 3 dead letters. Go on? [y/N]")
    terminal.type("n\n")
    assert terminal.ended() == exits.INTERRUPTED
    assert motet("dead-letters", "--json").json["count"] == 3
    terminal = Terminal("dead-letters", "discard", "--all")
    terminal.until("[y/N]")
    terminal.type("y\n")
    assert terminal.ended() == exits.OK
    assert motet("dead-letters", "--json").json["count"] == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["redrive"], exits.USAGE, "which ones?"),
        (["redrive", "bill"], exits.USAGE, "Add its POSITION"),
        (["redrive", "bill", "1", "--all"], exits.USAGE, "leave the other options away"),
        (["discard", "--all", "--key", "o1"], exits.USAGE, "--all is all dead letters"),
        (["redrive", "bill", "2"], exits.NOT_FOUND, "shop/bill has no dead letter at position 2"),
        (["show", "bill", "99"], exits.NOT_FOUND, "no dead letter at position 99"),
        (["edit", "bill", "2", "--data", "1"], exits.NOT_FOUND, "no dead letter at position 2"),
        (["edit", "bill", "1"], exits.USAGE, "give the new data"),
        (["show", "pack", "1"], exits.NOT_FOUND, "there is no reaction 'pack'"),
        (["--reaction", "pack"], exits.NOT_FOUND, "known: shop/bill, shop/ship"),
    ],
)
def test_what_is_refused(motet: Command, filled: object, words: list[str], code: int, said: str) -> None:
    outcome = motet("dead-letters", *words)
    assert (outcome.code, outcome.stdout) == (code, "")
    assert said in " ".join(outcome.stderr.split())
    assert motet("dead-letters", "--json").json["count"] == 3
