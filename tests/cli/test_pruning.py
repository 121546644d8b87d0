"""`motet prune`: what would go is said first, what is open stays, and ids stay taken."""

import json
import sqlite3
from pathlib import Path

import pytest

from tests.cli.commanding import Command, Terminal


def ids(store: Path) -> list[str]:
    connection = sqlite3.connect(store)
    found = [id for (id,) in connection.execute("SELECT id FROM run ORDER BY id")]
    connection.close()
    return found


OVER = {"purchase-declined", "purchase-failing", "purchase-fine", "purchase-stopped"}


def test_a_dry_run_changes_nothing(motet: Command, stories: Path) -> None:
    before = ids(stories)
    result = motet("prune", "--older-than", "0s", "--dry-run")
    assert result.code == 0
    assert result.stdout.startswith("To prune: 4 runs, ")
    assert ids(stories) == before
    document = json.loads(motet("prune", "--older-than", "0s", "--dry-run", "--json").stdout)
    assert (document["found"]["runs"], document["dry_run"], document["pruned"]["runs"]) == (4, True, 0)
    assert json.loads(motet("prune", "--older-than", "1h", "--dry-run", "--json").stdout)["found"]["runs"] == 0


def test_what_is_over_goes_and_its_id_stays(motet: Command, stories: Path) -> None:
    result = motet("prune", "--older-than", "0s")
    assert result.code == 2
    assert "this would remove 4 runs and" in result.stderr and "add --yes to do it" in result.stderr
    result = motet("prune", "--older-than", "0s", "--yes", "--compact")
    assert result.code == 0
    assert "Pruned: 4 runs with " in result.stdout and "The store takes " in result.stdout
    assert not OVER & {*ids(stories)}
    assert {*ids(stories)} == {"purchase-retrying", "purchase-stuck", "purchase-waiting"}

    result = motet("status", "purchase-fine")
    assert result.code == 0
    assert "COMPLETED" in result.stdout
    assert "Pruned: " in " ".join(result.stdout.split()) and "is not kept any more" in " ".join(result.stdout.split())
    assert json.loads(motet("status", "purchase-fine", "--json").stdout)["pruned_at"] is not None
    assert "pruned " in motet("conversation", "purchase-fine").stdout
    result = motet("cancel", "purchase-fine")
    assert result.code == 3
    assert "run 'purchase-fine' ended as completed on" in result.stderr
    again = motet(
        "start", "shop", "run_purchase", "--id", "purchase-fine", "--input", '{"id": "other", "mode": "fine"}'
    )
    assert again.code == 7
    assert "had another input" in again.stderr
    document = json.loads(motet("prune", "--older-than", "0s", "--yes", "--json").stdout)
    assert document["pruned"] == {"runs": 0, "facts": 0, "events": 0, "expected": 0, "workers": 0}
    assert document["compacted"] is None


def test_the_reaction_that_holds_the_log_back_is_named(motet: Command, stories: Path) -> None:
    connection = sqlite3.connect(stories)
    for name, kind, paused in (
        ("shop/slow", "reaction", 0),
        ("shop/asleep", "reaction", 1),
        ("shop/x", "expectation", 0),
    ):
        connection.execute(
            "INSERT INTO cursor (name, kind, position, definition, paused, created_at, moved_at) "
            "VALUES (?, ?, 0, '{}', ?, 0, 0)", (name, kind, paused),
        )  # fmt: skip
    connection.commit()
    connection.close()
    result = motet("prune", "--older-than", "0s", "--dry-run")
    text = " ".join(result.stdout.split())
    assert "0 events" in text
    assert "reaction shop/slow holds the log back at position 0; start a worker that delivers to it, or motet" in text
    assert "reaction shop/asleep holds the log back at position 0; it is paused: motet reactions resume" in text
    assert "expectation shop/x holds the log back at position 0;" in text
    for name in ("slow", "asleep", "x"):
        assert motet("reactions", "forget", name, "--yes").code == 0
    assert "holds the log back" not in motet("prune", "--older-than", "0s", "--dry-run").stdout


@pytest.mark.parametrize("age", ["30", "d", "-1d", "1y", "soon"])
def test_an_age_that_is_none(motet: Command, stories: Path, age: str) -> None:
    result = motet("prune", f"--older-than={age}")
    assert result.code == 2
    assert "give a number and a unit, as 30d" in result.stderr


def test_somebody_at_a_terminal_is_asked(stories: Path) -> None:
    terminal = Terminal("prune", "--older-than", "0s")
    terminal.until("Go on?")
    terminal.type("y\n")
    assert terminal.ended() == 0
    assert "Pruned: 4 runs" in terminal.written
