"""Commands that only read never create a store, or any file beside one."""

from pathlib import Path

import pytest

from motet.cli import exits
from tests.cli.commanding import Command

READ_ONLY = [
    *(["status", "p"], ["runs"], ["workers"], ["queues"], ["expectations"], ["watch"], ["watch", "p"]),
    *(["conversation", "p"], ["map"], ["doctor"], ["backup", "copy.db"]),
    *(["events"], ["reactions"], ["dead-letters"]),
]
STEERING = [
    *(["cancel", "p"], ["retry", "p"], ["skip", "p", "--note", "n"], ["publish", "e"], ["pause", "r"], ["resume", "r"]),
    *(["replay", "r", "--from", "1"], ["dead-letters", "redrive", "r", "1"], ["reactions", "forget", "r"]),
]


def listing(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("arguments", [*READ_ONLY, *STEERING], ids=" ".join)
@pytest.mark.parametrize("json", [[], ["--json"]], ids=["", "json"])
def test_an_empty_folder_stays_empty(motet: Command, folder: Path, arguments: list[str], json: list[str]) -> None:
    before = listing(folder)
    assert motet(*arguments, *json).code == exits.NOT_FOUND
    assert listing(folder) == before


@pytest.mark.parametrize(
    "arguments",
    [
        *(["status", "purchase-fine"], ["runs"], ["workers"], ["watch", "purchase-fine"], ["queues"]),
        *(["expectations"], ["conversation", "purchase-fine"], ["map"], ["doctor"]),
        *(["events"], ["reactions"], ["dead-letters"]),
    ],
)
def test_a_store_that_is_read_stays_as_it_is(motet: Command, stories: Path, arguments: list[str]) -> None:
    before = listing(stories.parent)
    motet(*arguments)
    motet(*arguments, "--json")
    assert listing(stories.parent) == before


@pytest.mark.parametrize("arguments", [["status", "p"], ["runs"], ["doctor"], ["backup", "copy.db"]], ids=" ".join)
def test_an_empty_file_is_no_store_and_stays_empty(motet: Command, folder: Path, arguments: list[str]) -> None:
    (folder / "motet.db").touch()
    before = listing(folder)
    assert motet(*arguments).code == exits.NOT_FOUND
    assert listing(folder) == before


def test_help_and_version_need_nothing(motet: Command, folder: Path) -> None:
    before = listing(folder)
    assert motet("--help").code == motet("--version").code == motet("status", "--help").code == exits.OK
    assert motet("--version").stdout.startswith("motet 0.")
    assert motet().code == exits.USAGE
    assert listing(folder) == before
