"""`motet check` and `motet versions` over a store with runs in each state."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commanding import Command, WorkerProcess, eventually


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


# --- a run in a file -------------------------------------------------------------------------------------------


def test_an_exported_run_is_replayed_without_its_store(motet: Command, stories: Path, folder: Path) -> None:
    done = motet("export", "purchase-stuck", "run.json")
    assert "with the payloads that it has recorded" in done.stdout
    stories.unlink()
    lines = motet("replay", "run.json", "--module", "shop").stdout.splitlines()
    assert lines[0].split() == ["purchase-stuck", "run_purchase", "v1", "BLOCKED"]
    assert any(line.split()[0] == "1" and "step authorize_payment#1 completed" in line for line in lines)
    assert "      -> run step authorize_payment#1" in lines
    assert not list(folder.glob("*.db")), "nothing is written"


def test_the_code_is_found_where_the_runs_was(motet: Command, stories: Path, folder: Path) -> None:
    motet("export", "purchase-fine", "run.json")
    text = (folder / "run.json").read_text().replace(str(Path(__file__).parent), str(folder))
    (folder / "run.json").write_text(text)
    assert "The history ends here." in motet("replay", "run.json").stdout
    refused = motet("replay", "run.json", "--from", "beginning", "--module", "shop")
    assert (refused.code, "--from is for reactions" in refused.stderr) == (2, True)


def test_it_stops_where_it_is_asked_to(motet: Command, stories: Path, folder: Path) -> None:
    motet("export", "purchase-fine", "run.json")
    shown = motet("replay", "run.json", "--module", "shop", "--to", "authorize_payment").stdout
    assert "Here you wanted to stop. Next:" in shown
    assert "create_enrollment#1 completed" not in shown
    unknown = motet("replay", "run.json", "--module", "shop", "--to", "nothing")
    assert (unknown.code, "there is no record of 'nothing'" in unknown.stderr) == (7, True)


def test_where_the_code_does_something_else_it_says_so(motet: Command, stories: Path, folder: Path) -> None:
    motet("export", "purchase-fine", "run.json")
    deploy(folder, ("authorize_payment", "take_money"))
    done = motet("replay", "run.json", "--module", "shop_next")
    assert done.code == 1
    assert "The code does something else:" in done.stdout
    assert "the code at this point waits for step take_money#1" in " ".join(done.stdout.split())
    assert motet("replay", "run.json", "--module", "shop_next", "--json").json["differences"][0]["kind"] == "divergence"
    assert motet("check", "shop_next", "run.json").code == 1
    assert motet("check", "shop", "run.json").code == 0


def test_a_breakpoint_in_the_body_works(process: Command, stories: Path, folder: Path) -> None:
    deploy(folder, ("    enrollment = await", "    breakpoint()\n    enrollment = await"))
    assert process("export", "purchase-fine", "run.json").code == 0
    done = process("replay", "run.json", "--module", "shop_next", input="p purchase.id\nc\n")
    assert "(Pdb) 'p-fine'" in done.stdout, done.stdout + done.stderr
    assert "The history ends here." in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("export", "nobody"), 3, "no run 'nobody'"),
        (("export", "purchase-fine", "shop.py"), 2, "shop.py exists already"),
        (("replay", "nothing.json"), 2, "there is no file 'nothing.json'"),
        (("replay", "shop.py", "--module", "shop"), 2, "shop.py is no exported run"),
        (("check", "shop", "nothing.json"), 2, "cannot read nothing.json"),
    ],
)
def test_what_cannot_be_is_refused(
    motet: Command, stories: Path, arguments: tuple[str, ...], code: int, told: str
) -> None:
    done = motet(*arguments)
    assert (done.code, told in done.stderr) == (code, True), done.stderr


# --- a rerun ---------------------------------------------------------------------------------------------------


def test_a_rerun_is_started_and_told(motet: Command, stories: Path) -> None:
    done = motet("rerun", "purchase-fine", "--from", "create_enrollment", "--module", "shop")
    assert done.stdout == (
        "purchase-fine/rerun-1 begins at create_enrollment of purchase-fine, and keeps what was recorded before it\n"
    )
    status = " ".join(motet("status", "purchase-fine/rerun-1").stdout.split())
    assert "Rerun: of purchase-fine from create_enrollment#1 on" in status
    told = motet("rerun", "purchase-fine", "--from", "authorize_payment", "--id", "new", "--json").json
    assert (told["id"], told["kept"], told["rerun_of"]) == ("new", 0, "purchase-fine")


def test_a_rerun_that_would_undo_twice_is_refused(motet: Command, stories: Path) -> None:
    done = motet("rerun", "purchase-failing", "--from", "check_prerequisites")
    assert done.code == 7
    assert "was undone by run 'purchase-failing'" in done.stderr


# --- the wrong code, and then the right one --------------------------------------------------------------------


def test_a_blocked_run_goes_on_by_itself_under_the_right_code_in_another_process(
    motet: Command, stories: Path, folder: Path, worker: Callable[..., WorkerProcess]
) -> None:
    """What it was told while it was blocked waits with it; and `check` had said so before."""
    right = (folder / "shop.py").read_text()
    deploy(folder, ("authorize_payment", "take_money"))
    assert motet("check", "shop_next").code == 1
    (folder / "shop.py").write_text((folder / "shop_next.py").read_text())
    wrong_one = worker()
    assert motet("cancel", "purchase-waiting").code == 0
    blocked = eventually(lambda: _in_state(motet, "purchase-waiting", "blocked"), "the wrong code to be noticed")
    assert "the code at this point waits for step take_money#1" in blocked["incidents"][0]["reason"]
    wrong_one.kill()
    (folder / "shop.py").write_text(right)
    assert motet("check", "shop").code == 0
    worker()
    ended = eventually(lambda: _in_state(motet, "purchase-waiting", "cancelled"), "the right code to take it")
    undone = [done["operation"] for done in ended["done"] if done["kind"] == "compensation"]
    assert undone == ["remove_enrollment#1", "refund_payment#1"]


def _in_state(motet: Command, id: str, state: str) -> Any:
    found = motet("status", id, "--json").json
    return found if found["state"] == state else None
