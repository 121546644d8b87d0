"""`motet backup` and `motet doctor`."""

from pathlib import Path

import pytest

from motet.cli import exits
from motet.cli.care import in_bytes
from motet.cli.examining import LITTLE_SPACE, NO_SPACE
from tests.cli.commanding import Command

OLD_SQLITE = "can corrupt a file when checkpoints race"


def test_a_backup_is_a_store_like_any_other(motet: Command, stories: Path) -> None:
    made = motet("backup", "copy.db", "--json")
    assert made.code == 0
    document = made.json
    assert (document["store"], document["backup"]) == ("sqlite:///motet.db", "copy.db")
    assert document["bytes"] == Path("copy.db").stat().st_size
    assert motet("--store", "sqlite:///copy.db", "runs", "--json").json == motet("runs", "--json").json


def test_a_backup_says_what_it_did(motet: Command, stories: Path) -> None:
    assert motet("backup", "copy.db").stdout.startswith("sqlite:///motet.db is copied to copy.db: ")
    before = Path("copy.db").read_bytes()
    assert motet("backup", "copy.db").code == exits.STORE
    assert Path("copy.db").read_bytes() == before


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (94_208, "94.2 KB"), (5e6, "5.0 MB"), (3e9, "3.0 GB"), (4e12, "4.0 TB")],
)
def test_sizes(size: float, text: str) -> None:
    assert in_bytes(size) == text


def test_doctor_finds_what_needs_a_person(motet: Command, stories: Path) -> None:
    found = motet("doctor", "--json")
    assert found.code == exits.FAILED
    document = found.json
    assert (document["ok"], document["blocked"], document["overdue"]) == (False, 1, 0)
    assert set(document["versions"]) == {"Motet", "Python", "SQLite", "asyncpg"}
    assert document["counts"]["blocked"] == 1
    assert document["free_bytes"] > 0 and document["bytes"] > 0
    (error,) = [finding for finding in document["findings"] if finding["level"] == "error"]
    assert error["about"] == "run"
    assert error["text"].startswith("run 'purchase-stuck' is blocked (refund_payment#1: ConnectionError: ")
    said = motet("doctor").stdout
    assert "error     run 'purchase-stuck' is blocked" in said
    assert said.splitlines()[-1].startswith("1 error, ")


def test_a_healthy_store_has_nothing_wrong(motet: Command, folder: Path) -> None:
    motet("start", "shop", "buy_two", "--id", "two")
    found = motet("doctor", "--json")
    assert found.code == exits.OK
    assert [finding["text"] for finding in found.json["findings"] if OLD_SQLITE not in finding["text"]] == []
    said = motet("doctor").stdout
    assert "Store     sqlite:///motet.db\n" in said
    assert "Workers   none\n" in said


def test_what_is_due_and_not_driven_is_an_error(motet: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    motet("start", "shop", "buy_two", "--id", "two")
    monkeypatch.setattr("motet.cli.examining.LATE_SECONDS", -1.0)
    found = motet("doctor", "--json")
    assert (found.code, found.json["overdue"]) == (exits.FAILED, 1)
    said = " ".join(motet("doctor").stdout.split())
    assert "1 run is due and no worker is running, for up to " in said
    assert "(shop/buy_two); start one with motet worker MODULE" in said


@pytest.mark.parametrize(
    ("free", "level", "code"), [(LITTLE_SPACE - 1, "warning", exits.OK), (NO_SPACE - 1, "error", exits.FAILED)]
)
def test_little_space_is_said_in_time(
    motet: Command, folder: Path, monkeypatch: pytest.MonkeyPatch, free: int, level: str, code: int
) -> None:
    motet("start", "shop", "buy_two", "--id", "two")
    monkeypatch.setattr("motet.cli.examining._space", lambda _: (1, free))
    found = motet("doctor", "--json")
    assert found.code == code
    assert [finding["level"] for finding in found.json["findings"] if finding["about"] == "disk"] == [level]


def test_a_damaged_store_is_an_error(motet: Command, stories: Path) -> None:
    data = bytearray(stories.read_bytes())
    page = 4096
    for number in range(3, len(data) // page):
        data[number * page + 100 : number * page + 600] = b"\xff" * 500
    stories.write_bytes(bytes(data))
    found = motet("doctor")
    assert found.code in (exits.FAILED, exits.STORE)
    assert found.code != exits.STORE or "error: " in found.stderr
