"""`motet status` and `motet runs` over a store that a real worker has filled."""

import json
from pathlib import Path

import pytest

from tests.cli.commanding import Command

STATES = {
    "fine": "completed",
    "declined": "failed",
    "retrying": "waiting",
    "failing": "failed",
    "stuck": "blocked",
    "waiting": "waiting",
    "stopped": "cancelled",
}


@pytest.mark.parametrize(("mode", "state"), STATES.items())
def test_status_as_json_is_the_whole_struct(motet: Command, stories: Path, mode: str, state: str) -> None:
    found = motet("status", f"purchase-{mode}", "--json")
    assert (found.code, found.stderr) == (0, "")
    status = found.json
    assert {"id", "workflow", "version", "state", "current", "done", "failed", "undo", "events", "conversation"} <= set(
        status
    )
    assert (status["id"], status["workflow"], status["version"]) == (f"purchase-{mode}", "shop/run_purchase", 1)
    assert (status["state"], status["conversation"]) == (state, f"purchase-{mode}")
    assert status["attributes"] == {"region": "eu"}


def test_a_run_that_tries_again(motet: Command, stories: Path) -> None:
    lines = motet("status", "purchase-retrying").stdout.splitlines()
    assert lines[0].startswith("purchase-retrying   run_purchase v1   WAITING   for ")
    assert lines[2].startswith("  ok  authorize_payment     1 attempt") or "Payment(id='pay_1', cents=4200)" in lines[2]
    tried = next(line for line in lines if line.startswith("  >>  create_enrollment"))
    assert "attempt 1 of 5 failed" in tried
    assert "EnrollmentDown: 503; next attempt in " in " ".join(" ".join(lines).split())
    assert "  ..  publish purchase.completed" in lines
    assert "  ..  done" in lines
    assert "If it fails now:  remove_enrollment (outcome unknown), then refund_payment(pay_1)" in lines
    (current,) = motet("status", "purchase-retrying", "--json").json["current"]
    assert (current["name"], current["attempt"], current["attempts"]) == ("create_enrollment", 1, 5)
    assert current["last_error"] == "EnrollmentDown: 503"
    assert current["next_attempt_at"] > current["failed_at"]


def test_what_a_run_waits_for(motet: Command, stories: Path) -> None:
    lines = motet("status", "purchase-waiting").stdout.splitlines()
    assert "Note:  the term begins soon" in lines
    assert any(line.startswith("  >>  sleep") and "ends in " in line for line in lines)
    assert "If it fails now:  remove_enrollment(7), then refund_payment(pay_1)" in lines
    assert "Waits:  no worker is running here; start one with motet worker MODULE" in lines


def test_a_blocked_run_says_why_and_lists_the_ways_out(motet: Command, stories: Path) -> None:
    said = motet("status", "purchase-stuck").stdout
    assert "  !!  refund_payment " in said
    assert "refund_payment#1, which undoes authorize_payment#1: ConnectionError: the bank does not answer" in said
    assert "\n  motet retry purchase-stuck\n" in said
    assert '\n  motet skip purchase-stuck --note "..."\n' in said


def test_ways_out_name_the_store_that_was_named(motet: Command, stories: Path) -> None:
    stories.rename("other.db")
    said = motet("--store", "sqlite:///other.db", "status", "purchase-stuck").stdout
    assert "\n  motet retry purchase-stuck --store sqlite:///other.db\n" in said


def test_a_failure_that_was_undone(motet: Command, stories: Path) -> None:
    said = motet("status", "purchase-failing").stdout
    assert "Undone:  create_enrollment, then authorize_payment" in said
    assert "\x1b" not in said, "what a run records cannot control the terminal"
    assert "ValueError: no such course in \\x1b[31mthis term" in said


def test_who_cancelled_it_and_why(motet: Command, stories: Path) -> None:
    said = motet("status", "purchase-stopped").stdout
    assert "Cancelled:  the learner changed their mind" in said
    assert "  <<  refund_payment " in said
    assert motet("status", "purchase-stopped", "--json").json["stop"]["reason"] == "the learner changed their mind"


def test_the_result_of_a_completed_run(motet: Command, stories: Path) -> None:
    assert "Result:  Receipt(purchase_id='p-fine', seat=7)" in motet("status", "purchase-fine").stdout


@pytest.mark.parametrize("columns", [45, 60, 80, 100, 160])
@pytest.mark.parametrize("arguments", [["runs"], ["doctor"], *(["status", f"purchase-{mode}"] for mode in STATES)])
def test_no_line_is_wider_than_the_terminal(
    motet: Command, stories: Path, monkeypatch: pytest.MonkeyPatch, columns: int, arguments: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = motet(*arguments).stdout.splitlines()
    assert [line for line in lines if len(line) > columns] == []
    assert [line for line in lines if line != line.rstrip()] == []


# --- runs ----------------------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first_and_counted(
    motet: Command, stories: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")  # "59 s ago" is wider than "now"
    lines = motet("runs").stdout.splitlines()
    assert lines[0].split() == ["RUN", "WORKFLOW", "STATE", "STARTED", "TOOK", "ERROR", "OR", "NOTE"]
    assert [line.split()[0] for line in lines[1:8]] == [f"purchase-{mode}" for mode in reversed(STATES)]
    assert lines[8] == "2 waiting   1 completed   2 failed   1 cancelled   1 blocked   7 in all"
    assert "CardDeclined: insufficient funds" in lines[6]


def test_runs_as_json(motet: Command, stories: Path) -> None:
    document = motet("runs", "--json").json
    assert document["counts"] == {"waiting": 2, "completed": 1, "failed": 2, "cancelled": 1, "blocked": 1}
    assert document["next"] is None
    assert {run["id"]: run["state"] for run in document["runs"]} == {
        f"purchase-{mode}": state for mode, state in STATES.items()
    }


@pytest.mark.parametrize(
    ("options", "modes"),
    [
        (["--state", "blocked"], ["stuck"]),
        (["--state", "failed", "--state", "cancelled"], ["stopped", "failing", "declined"]),
        (["--conversation", "purchase-fine"], ["fine"]),
        (["--workflow", "run_purchase", "--limit", "1"], ["stopped"]),
        (["--workflow", "shop/run_purchase", "--state", "completed"], ["fine"]),
        (["--workflow", "purchase"], []),
    ],
)
def test_runs_can_be_chosen(motet: Command, stories: Path, options: list[str], modes: list[str]) -> None:
    assert [run["id"] for run in motet("runs", "--json", *options).json["runs"]] == [f"purchase-{m}" for m in modes]


def test_pages_follow_each_other(motet: Command, stories: Path) -> None:
    seen: list[str] = []
    more: list[str] = []
    while True:
        page = motet("runs", "--json", "--limit", "3", *more).json
        seen += [run["id"] for run in page["runs"]]
        if page["next"] is None:
            break
        more = ["--before", page["next"]]
    assert seen == [f"purchase-{mode}" for mode in reversed(STATES)]
    said = motet("runs", "--limit", "3").stdout.splitlines()[-1]
    assert said == f"More: add --before {json.loads(motet('runs', '--json', '--limit', '3').stdout)['next']}"


def test_an_empty_store_says_so(motet: Command, folder: Path) -> None:
    assert motet("start", "shop", "buy_two", "--id", "two").code == 0
    assert motet("runs", "--state", "blocked").stdout == "1 pending   1 in all\n"
