"""`motet check` and `motet versions` over a store with runs in each state."""

from pathlib import Path

import pytest

from tests.cli.commanding import Command


def deploy(folder: Path, *changes: tuple[str, str]) -> None:
    """Another module beside the one whose runs are in the store: its source with these changes."""
    source = (folder / "shop.py").read_text()
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    (folder / "shop_next.py").write_text(source)


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module is read anew by each test."""
    import sys

    monkeypatch.delitem(sys.modules, "shop_next", raising=False)


def test_the_same_code_fits(motet: Command, stories: Path, folder: Path) -> None:
    before = stories.read_bytes()
    done = motet("check", "shop")
    assert done.code == 0, done.stdout
    assert done.stdout == "3 runs in flight: all fit.\n"
    assert stories.read_bytes() == before
    assert motet("check", "shop", "--json").json == {"checked": 3, "fit": 3, "of_other_apps": 0, "runs": []}


def test_what_would_block_is_told_with_both_sides(motet: Command, stories: Path, folder: Path) -> None:
    deploy(folder, ("async def authorize_payment(", "async def take_money("), ("authorize_payment", "take_money"))
    done = motet("check", "shop_next", "--json")
    assert done.code == 1
    told = done.json
    assert (told["checked"], told["fit"] < 3) == (3, True)
    stuck = next(run for run in told["runs"] if run["id"] == "purchase-stuck")
    assert stuck["differences"][0]["kind"] == "divergence"
    text = motet("check", "shop_next").stdout
    assert "recorded: position 1 is about step authorize_payment#1 (completed)" in text
    assert "the code at this point waits for step take_money#1" in " ".join(text.split())
    assert "would block or lose something with this code." in text


def test_which_version_nobody_has(motet: Command, stories: Path) -> None:
    done = motet("versions")
    assert [line.split()[:3] for line in done.stdout.splitlines()[:2]] == [
        ["WORKFLOW", "VERSION", "RUNS"], ["shop/run_purchase", "v1", "3"],
    ]  # fmt: skip
    assert "Nobody drives shop/run_purchase v1" in done.stdout
    (line,) = motet("versions", "--json").json["versions"]
    assert (line["version"], line["workers"], sum(line["runs"].values())) == (1, 0, 3)
