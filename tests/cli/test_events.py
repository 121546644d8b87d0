"""`motet publish` and `motet events`: into the log from a shell, and out of it."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from motet import App, Flow
from motet.cli import exits
from tests.cli.commanding import MOTET, Command


@pytest.fixture
def store(folder: Path) -> Path:
    """An empty one, and a run that nobody drives."""
    path = folder / "motet.db"
    app = App("shop", store=f"sqlite:///{path}")

    @app.workflow
    async def buy(flow: Flow) -> None: ...

    async def make() -> None:
        async with app.connect():
            await app.start(buy, id="purchase-42")

    asyncio.run(make())
    return path


def logged(motet: Command, *options: str) -> list[Any]:
    found: list[Any] = motet("events", *options, "--json").json["events"]
    return found


def test_an_event_is_published_with_all_that_can_be_said_of_it(motet: Command, store: Path) -> None:
    outcome = motet(
        "publish", "order.placed", "--data", '{"n":1}', "--key", "o1", "--id", "mine", "--time",
        "2026-03-01T12:00:00+01:00", "--conversation", "talk", "--to", "purchase-42",
    )  # fmt: skip
    assert (outcome.code, outcome.stdout) == (exits.OK, "order.placed is published as mine\n")
    (event,) = logged(motet)
    assert {name: value for name, value in event.items() if name not in ("recordedtime", "position")} == {
        "specversion": "1.0", "id": "mine", "source": "cli", "type": "order.placed", "subject": "o1",
        "time": "2026-03-01T11:00:00Z", "datacontenttype": "application/json", "correlationid": "talk",
        "recipient": "purchase-42", "dataversion": 1, "data": {"n": 1},
    }  # fmt: skip
    assert motet("publish", "order.placed", "--id", "mine", "--json").json == {"published": ["mine"]}
    assert len(logged(motet)) == 1, "the same again publishes nothing"


def test_data_from_a_file_from_stdin_and_none(process: Command, store: Path) -> None:
    (store.parent / "data.json").write_text('["é"]')
    process("publish", "a", "--data-file", "data.json")
    process("publish", "b", "--data-file", "-", input='{"x": null}')
    process("publish", "c")
    assert [event["data"] for event in logged(process)] == [["é"], {"x": None}, None]


def test_cloudevents_go_out_and_come_in_again(motet: Command, process: Command, store: Path) -> None:
    for number in range(3):
        motet("publish", f"n.{number}", "--key", "k", "--id", f"id-{number}", "--data", str(number))
    lines = motet("events", "--cloudevents").stdout
    assert [json.loads(line)["id"] for line in lines.splitlines()] == ["id-0", "id-1", "id-2"]
    other = store.parent / "other.db"
    asyncio.run(_create(other))
    there = ("--store", f"sqlite:///{other}")
    assert process("publish", "--cloudevent", "-", *there, "--json", input=lines).json["published"] == [
        "id-0", "id-1", "id-2"
    ]  # fmt: skip
    (store.parent / "one.json").write_text(json.dumps(json.loads(lines.splitlines()[1]), indent=2))
    (store.parent / "many.json").write_text(json.dumps([json.loads(line) for line in lines.splitlines()]))
    for file in ("one.json", "many.json"):
        assert motet("publish", "--cloudevent", file, *there).code == exits.OK
    came = logged(motet, *there)
    assert [(event["id"], event["source"], event["data"]) for event in came] == [
        ("id-0", "cli", 0), ("id-1", "cli", 1), ("id-2", "cli", 2)
    ]  # fmt: skip


async def _create(path: Path) -> None:
    async with App("other", store=f"sqlite:///{path}").connect():
        pass


def fill(motet: Command) -> None:
    for number, (name, key, talk) in enumerate([
        ("order.placed", "o1", "t1"), ("order.paid", "o1", "t1"), ("orderXpaid", "o2", "t2"), ("a?[b]", "o2", "t1"),
    ]):  # fmt: skip
        motet("publish", name, "--key", key, "--conversation", talk, "--data", str(number))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], [0, 1, 2, 3]),
        (["--type", "order.*"], [0, 1]),
        (["--type", "ORDER.*"], []),
        (["--type", "order.placed", "--type", "*b]"], [0, 3]),
        (["--type", "a?[*"], [3]),
        (["--type", "*"], [0, 1, 2, 3]),
        (["--type", "order.pa"], []),
        (["--key", "o1"], [0, 1]),
        (["--conversation", "t1", "--key", "o2"], [3]),
        (["--source", "cli", "--type", "order*"], [0, 1, 2]),
        (["--source", "shop"], []),
        (["--limit", "2"], [2, 3]),
        (["--after", "0", "--limit", "2"], [0, 1]),
        (["--after", "3"], [3]),
        (["--conversation", "t1", "--limit", "1"], [3]),
    ],
)
def test_filters(motet: Command, store: Path, options: list[str], expected: list[int]) -> None:
    fill(motet)
    assert [event["data"] for event in logged(motet, *options)] == expected


def test_the_list_for_people(motet: Command, store: Path) -> None:
    assert motet("events").stdout == "There are no such events.\n"
    motet("publish", "order.placed", "--key", "o1", "--data", '"\\u001b[31mred"')
    heads, row = motet("events").stdout.splitlines()
    assert heads.split()[:2] == ["POSITION", "TIME"]
    assert [word for word in row.split() if ":" not in word][2:] == [
        "order.placed",
        "o1",
        "o1",
        "cli",
        '"\\u001b[31mred"',
    ]


def test_following_goes_on_with_what_comes(motet: Command, store: Path) -> None:
    motet("publish", "n", "--data", "1")
    motet("publish", "else", "--data", "2")
    command = [MOTET, "events", "--follow", "--cloudevents", "--type", "n"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=store.parent) as following:
        assert following.stdout is not None
        try:
            assert json.loads(following.stdout.readline())["data"] == 1
            for number in (3, 4):
                motet("publish", "n", "--data", str(number))
                assert json.loads(following.stdout.readline())["data"] == number
        finally:
            following.kill()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["publish"], exits.USAGE, "name the event's TYPE"),
        (["publish", "a", "--cloudevent", "x"], exits.USAGE, "--cloudevent is the whole event"),
        (["publish", "a", "--data", "{"], exits.USAGE, "--data is not JSON"),
        (["publish", "a", "--data", "1", "--data-file", "x"], exits.USAGE, "choose one"),
        (["publish", "a", "--data-file", "nowhere"], exits.USAGE, "cannot read nowhere"),
        (["publish", "a", "--time", "2026-03-01T12:00:00"], exits.USAGE, "--time 2026-03-01T12:00:00: give a time"),
        (["publish", "a", "--to", "purchase-43"], exits.NOT_FOUND, "there is no run 'purchase-43'"),
        (["publish", "--cloudevent", "bad.json"], exits.USAGE, "bad.json is no JSON"),
        (["publish", "--cloudevent", "list.json"], exits.USAGE, "a CloudEvent is a JSON object"),
        (["publish", "--cloudevent", "half.json"], exits.USAGE, "the attribute 'source' is missing"),
        (["events", "--json", "--follow"], exits.USAGE, "use --cloudevents alone"),
        (["events", "--after", "-1"], exits.USAGE, "--after"),
    ],
)
def test_what_is_refused(motet: Command, store: Path, words: list[str], code: int, said: str) -> None:
    for name, text in {"bad": "{,}", "list": "[1]", "half": '{"specversion":"1.0","id":"i","type":"t"}'}.items():
        (store.parent / f"{name}.json").write_text(text)
    outcome = motet(*words)
    assert (outcome.code, outcome.stdout) == (code, "")
    assert said in " ".join(outcome.stderr.split())
    assert logged(motet) == []


def test_no_store_is_ever_made(motet: Command, folder: Path) -> None:
    for words in (["publish", "a"], ["events"], ["reactions"], ["dead-letters"], ["pause", "x"]):
        assert motet(*words).code == exits.NOT_FOUND
    assert not (folder / "motet.db").exists()
