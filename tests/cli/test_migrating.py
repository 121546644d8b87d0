"""`motet migrate`: looking at the store's schema, and bringing it up to date."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from motet.store.postgres.schema import SCHEMA_VERSION as POSTGRES_SCHEMA
from motet.store.sqlite.schema import SCHEMA_VERSION, migrations
from tests.cli.commanding import Command


@pytest.fixture
def old(tmp_path: Path) -> str:
    """A store of the first schema."""
    connection = sqlite3.connect(tmp_path / "old.db")
    connection.executescript(migrations()[0])
    connection.execute("INSERT INTO schema VALUES (1)")
    connection.execute(f"PRAGMA application_id = {0x4D6F7465}")
    connection.commit()
    connection.close()
    return f"sqlite:///{tmp_path}/old.db"


def test_a_look_changes_nothing_and_tells_by_its_exit(motet: Command, old: str, tmp_path: Path) -> None:
    before = (tmp_path / "old.db").read_bytes()
    for _ in range(2):
        result = motet("migrate", "--check", "--store", old)
        assert result.code == 1
        assert f"has schema 1, this program speaks {SCHEMA_VERSION}: run motet migrate" in result.stdout
    assert (tmp_path / "old.db").read_bytes() == before


def test_it_is_brought_up_to_date_once(motet: Command, old: str) -> None:
    result = motet("migrate", "--store", old)
    assert result.code == 0
    assert f"was brought from schema 1 to {SCHEMA_VERSION}" in result.stdout
    assert "there is nothing to do" in motet("migrate", "--store", old).stdout
    assert motet("migrate", "--check", "--store", old).code == 0


def test_where_there_is_none_one_is_made_but_not_by_a_look(motet: Command, tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/new.db"
    assert motet("migrate", "--check", "--store", address).code == 3
    assert not (tmp_path / "new.db").exists()
    assert motet("migrate", "--store", address).code == 0
    assert (tmp_path / "new.db").exists()


def test_in_postgresql(motet: Command, postgres_address: str) -> None:
    assert motet("migrate", "--check", "--store", postgres_address).code == 3
    made = motet("migrate", "--store", postgres_address, "--json").json
    assert (made["before"], made["schema"], made["pending"]) == (None, POSTGRES_SCHEMA, False)
    assert motet("migrate", "--check", "--store", postgres_address).code == 0
