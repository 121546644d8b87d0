"""`motet cancel`, `retry` and `skip`: a person's word reaches the run, now or when a worker comes."""

from collections.abc import Callable
from pathlib import Path

from motet.cli import exits
from tests.cli.commanding import Command, WorkerProcess, eventually


def test_without_a_worker_it_is_written_down_and_said_so(motet: Command, stories: Path) -> None:
    asked = motet("retry", "purchase-stuck", "--note", "the bank is back")
    assert (asked.code, asked.stdout) == (
        0,
        "purchase-stuck tries what blocks it again; no worker is running here, so nothing moves before one does\n",
    )
    asked = motet("skip", "purchase-stuck", "--operation", "refund_payment#1", "--note", "by hand")
    assert asked.stdout.startswith("purchase-stuck goes on without refund_payment#1; ")
    assert motet("cancel", "purchase-waiting", "--no-compensate").stdout.startswith(
        "purchase-waiting is asked to stop; "
    )
    for command in ("cancel", "retry", "skip"):
        options = ["--note", "n", "--json"] if command == "skip" else ["--json"]
        id = "purchase-retrying" if command == "cancel" else "purchase-stuck"
        assert motet(command, id, *options).json == {"id": id, "asked": command, "driven": False}


def test_a_worker_does_what_a_person_says(motet: Command, stories: Path, worker: Callable[..., WorkerProcess]) -> None:
    (before,) = motet("status", "purchase-stuck", "--json").json["current"]
    worker()
    assert motet("retry", "purchase-stuck").stdout.endswith("; see it with motet watch purchase-stuck\n")

    def blocked_anew() -> bool:
        status = motet("status", "purchase-stuck", "--json").json
        return status["state"] == "blocked" and status["current"][0]["failed_at"] > before["failed_at"]

    assert eventually(blocked_anew, "the run to be blocked again")

    motet("cancel", "purchase-waiting", "--no-compensate", "--reason", "keep it")
    seen = motet("watch", "purchase-waiting")
    assert seen.code == exits.CANCELLED
    assert "Cancelled:  keep it" in seen.stdout
    assert "Undone:  nothing" in seen.stdout


def test_a_person_helps_a_blocked_run_to_its_end(
    motet: Command, stories: Path, worker: Callable[..., WorkerProcess]
) -> None:
    assert motet("skip", "purchase-stuck", "--note", "refunded by hand").code == 0
    worker()
    eventually(lambda: motet("watch", "purchase-stuck", "--json").code == exits.FAILED, "the run to end")
    said = motet("status", "purchase-stuck").stdout
    assert "  --  refund_payment " in said
    assert "skipped by a person: refunded by hand" in " ".join(said.split())
