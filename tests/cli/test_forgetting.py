"""`motet forget`: refused while something is open, asked about first, and then only the shape is left."""

import json
import sqlite3
from pathlib import Path

from tests.cli.commanding import Command


def test_a_conversation_is_forgotten(motet: Command, stories: Path) -> None:
    before = json.loads(motet("conversation", "purchase-fine", "--json").stdout)
    result = motet("forget", "purchase-fine")
    assert result.code == 2
    assert "this would erase the content of conversation purchase-fine for good" in " ".join(result.stderr.split())
    result = motet("forget", "purchase-fine", "--yes")
    assert result.code == 0
    text = " ".join(result.stdout.split())
    assert text.startswith("Conversation purchase-fine is forgotten: 1 run, ")
    assert "--compact writes it anew" in text and "backups" in text

    after = json.loads(motet("conversation", "purchase-fine", "--json").stdout)
    assert [(node["kind"], node["name"], node["state"]) for node in after["nodes"]] == [
        (node["kind"], node["name"], node["state"]) for node in before["nodes"]
    ]
    shown = motet("status", "purchase-fine").stdout
    assert "COMPLETED" in shown and "(forgotten)" in shown and "authorize_payment" in shown
    connection = sqlite3.connect(stories)
    assert not [line for line in connection.iterdump() if '"mode":"fine"' in line]
    connection.close()

    document = json.loads(motet("forget", "purchase-fine", "--yes", "--compact", "--json").stdout)
    assert document["forgotten"]["runs"] == 0 and document["compacted"]["after"] > 0


def test_what_is_open_is_named(motet: Command, stories: Path) -> None:
    for id, state in (("purchase-stuck", "blocked"), ("purchase-waiting", "(waiting|running)")):
        result = motet("forget", id, "--force", "--yes")
        assert result.code == 7
        assert f"run '{id}' is" in result.stderr and "cancel it, or wait for its end" in result.stderr, state
    assert motet("forget", "nobody", "--yes").code == 3
