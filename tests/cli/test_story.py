"""How a status looks, letter by letter: the files in `golden` are what people see.

After a change that is meant, write them anew with `REWRITE_GOLDEN=1 pytest tests/cli/test_story.py` and read the
difference.
"""

import os
from pathlib import Path

import pytest
from rich.console import Console

from motet.cli.operations import changes
from motet.cli.story import story
from motet.cli.view import View
from motet.status import RunStatus
from tests.cli import statuses

GOLDEN = Path(__file__).parent / "golden"
SHOWN = {name.lower(): value for name, value in vars(statuses).items() if isinstance(value, RunStatus)}


def rendered(status: RunStatus, width: int, **settings: bool) -> str:
    lines = story(status, View(statuses.NOW, width, **settings))
    return "".join(f"{line.plain}\n" for line in lines)


@pytest.mark.parametrize("name", SHOWN)
def test_what_people_see(name: str) -> None:
    seen = "\n".join(f"{width} columns\n\n{rendered(SHOWN[name], width)}" for width in (100, 60))
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("REWRITE_GOLDEN"):
        file.write_text(seen)
    assert seen == file.read_text()


def test_there_is_no_golden_file_too_many() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == set(SHOWN)


@pytest.mark.parametrize("name", SHOWN)
@pytest.mark.parametrize("width", [40, 52, 60, 72, 80, 100, 160])
def test_every_width_holds(name: str, width: int) -> None:
    assert [line for line in rendered(SHOWN[name], width).splitlines() if len(line) > width] == []


def test_the_example_that_the_design_gives() -> None:
    assert rendered(SHOWN["retrying"], 100) == (
        "purchase-42   run_purchase v1   RUNNING   for 41 s   conversation purchase-42\n"
        "  ok  authorize_payment   1 attempt   38 ms   Payment(id='pay_1')\n"
        "  >>  create_enrollment   attempt 3 of 5 failed 2 s ago: EnrollmentDown: 503; next attempt in 6 s\n"
        "  ..  publish purchase.completed\n"
        "  ..  done\n"
        "Next:  publish purchase.completed; if something fails: praise (except CourseFull)\n"
        "If it fails now:  remove_enrollment (outcome unknown), then refund_payment(pay_1)\n"
    )


def test_a_run_that_nobody_drives_says_what_to_do() -> None:
    assert rendered(SHOWN["retrying"], 100, driven=False).endswith(
        "\nWaits:  no worker is running here; start one with motet worker MODULE\n"
    )


def test_colour_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    (header, *_) = story(SHOWN["completed"], View(statuses.NOW, 100))

    def printed(**settings: bool) -> str:
        console = Console(width=100, color_system="standard", **settings)
        with console.capture() as capture:
            console.print(header)
        return capture.get()

    assert "\x1b[32mCOMPLETED" in printed(force_terminal=True)
    assert "\x1b[3" not in printed(force_terminal=True, no_color=True)


def test_wide_characters_count_as_what_they_take() -> None:
    done = statuses.step("authorize_payment", 1, result={"name": "合唱" * 60}, result_type="歌")
    (line,) = [
        line for line in story(statuses.made("running", done=[done]), View(statuses.NOW, 60)) if "ok" in line.plain
    ]
    assert line.cell_len <= 60
    assert line.plain.endswith("...")


def test_changes_are_told_one_by_one_and_known_again() -> None:
    view = View(statuses.NOW, 100)
    told = dict(changes(statuses.PENDING, view))
    new = {key: line for key, line in changes(statuses.RETRYING, view) if key not in told}
    assert [line.plain for line in new.values()] == [
        "RUNNING",
        "ok  authorize_payment   1 attempt   38 ms   Payment(id='pay_1')",
        ">>  create_enrollment   attempt 3 of 5 failed 2 s ago: EnrollmentDown: 503; next attempt in 6 s",
    ]
    later = View(statuses.NOW + 3_000_000, 100)
    assert [key for key, _ in changes(statuses.RETRYING, later) if key not in {**told, **new}] == []
