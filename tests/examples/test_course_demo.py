"""The demo as a person or CI runs it: processes, a real kill, an exit code, nothing left behind."""

import json
import os
import pty
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from examples.course_purchase.entries import Attempt, Mark
from examples.course_purchase.ledger_file import read_ledger
from examples.course_purchase.options import BadOptions, DemoOptions, choose_purchases, prepare_folder
from tests.examples.ledger_process import ROOT

DEMO = [sys.executable, "-m", "examples.course_purchase"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
ENVIRONMENT.pop("FORCE_COLOR", None)  # some CI systems set it; here it matters what a plain pipe gets

KEYS = (
    "purchases completed declined compensated blocked charged enrolled removed refunded duplicate_effects"
    " repeated_steps lost worker_kills in_flight_at_kill unanswered_at_kill seconds"
    " events reactions dead_letters expectations_missed noticed"
)


def run(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*DEMO, *options], capture_output=True, text=True, cwd=folder, env=ENVIRONMENT, check=False)


@pytest.mark.parametrize("purchases", [10, 20, 100])
def test_every_promise_is_kept_and_told_in_one_json_object(tmp_path: Path, purchases: int) -> None:
    done = run(tmp_path, "--headless", "--json", "--purchases", str(purchases), "--keep", "kept")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    report = json.loads(done.stdout)
    assert " ".join(report) == KEYS
    assert report["purchases"] == purchases
    assert report["completed"] + report["declined"] + report["compensated"] == purchases
    assert report["charged"] - report["refunded"] == report["completed"] > 0
    assert report["enrolled"] - report["removed"] == report["completed"]
    assert report["in_flight_at_kill"] >= 10
    assert report["unanswered_at_kill"] >= 1
    assert [report[name] for name in ("worker_kills", "blocked", "lost", "repeated_steps")] == [1, 0, 0, 0]
    entries = read_ledger(tmp_path / "kept" / "ledger.jsonl")
    assert sum(isinstance(entry, Mark) and entry.event == "worker_killed" for entry in entries) == 1
    assert len({entry.purchase for entry in entries if isinstance(entry, Attempt)}) == purchases


@pytest.mark.parametrize(("workers", "purchases"), [(2, 40), (4, 100)])
def test_several_workers_are_killed_and_paused_all_through(tmp_path: Path, workers: int, purchases: int) -> None:
    seed = random.randrange(10_000)
    print(f"seed {seed}")
    asked = ("--workers", str(workers), "--purchases", str(purchases), "--seed", str(seed))
    done = run(tmp_path, "--headless", "--json", *asked, "--keep", "kept")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert " ".join(report) == f"{KEYS} workers worker_pauses"
    assert (report["workers"], report["purchases"]) == (workers, purchases)
    assert report["completed"] + report["declined"] + report["compensated"] == purchases
    assert report["charged"] - report["refunded"] == report["enrolled"] - report["removed"] == report["completed"] > 0
    broken = ("blocked", "lost", "repeated_steps", "duplicate_effects")
    assert [report[name] for name in broken] == [0, 0, 0, 0]
    assert report["worker_kills"] > workers, "all at the worst moment, and then single ones"
    assert report["worker_pauses"] >= 1
    assert report["in_flight_at_kill"] >= 10 and report["unanswered_at_kill"] >= 1
    entries = read_ledger(tmp_path / "kept" / "ledger.jsonl")
    marks = [entry.event for entry in entries if isinstance(entry, Mark)]
    assert marks.count("worker_killed") == report["worker_kills"]
    assert marks.count("worker_paused") == report["worker_pauses"]
    stale = [log for log in (tmp_path / "kept").glob("worker-*.log") if "declared dead" in log.read_text()]
    assert stale, "a worker that stood still hears of it when it goes on"


def test_people_read_what_is_done_to_the_workers(tmp_path: Path) -> None:
    done = run(tmp_path, "--workers", "3", "--purchases", "30")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"Workers \d+, \d+, \d+ drive 30 purchases\.", done.stdout)
    assert re.search(r"kill -9 \d+ \d+ \d+: \d+ purchases were in flight", done.stdout)
    assert re.search(r"kill -9 \d+; worker \d+ takes its place\.", done.stdout)
    assert re.search(r"Worker \d+ stood still for \d+\.\d s and was declared dead; now it goes on\.", done.stdout)
    assert "Every promise was kept" in done.stdout


def test_purchases_come_from_a_file_and_people_read_tables(tmp_path: Path) -> None:
    example = ROOT / "examples" / "course_purchase" / "purchases.jsonl"
    done = run(tmp_path, "--input", str(example))
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout, "no bar and no colours where no terminal is"
    for expected in (
        "kill -9",
        "$ motet status purchase-",
        "enroll reply always lost",
        "Every promise was kept",
    ):
        assert expected in done.stdout
    assert done.stdout.count("run_purchase") >= 3, "what motet status says of three runs"
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_shows_a_bar_with_rate_and_time_left(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*DEMO, "--purchases", "60"], stdout=theirs, cwd=tmp_path, env={**ENVIRONMENT, "TERM": "xterm"}
    ) as demo:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65_536):
                shown += piece
        except OSError:  # how Linux tells that nobody has the other side open any more
            pass
        os.close(ours)
    assert demo.returncode == 0
    assert re.search(rb"\d+/60.*\d+/s.*\d:\d\d:\d\d", shown)


def test_keys_that_are_ignored_are_found_out(tmp_path: Path) -> None:
    done = run(tmp_path, "--headless", "--json", "--ignore-keys", "--keep", "kept")
    assert done.returncode == 1
    assert json.loads(done.stdout)["duplicate_effects"] > 0
    assert "effects were made twice outside" in done.stderr


def test_ctrl_c_leaves_no_process_and_no_folder_behind(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*DEMO, "--purchases", "2000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**ENVIRONMENT, "TMPDIR": str(tmp_path)},
    ) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        assert "ledger" in demo.stdout.readline()
        worker = re.match(r"Worker (\d+) drives", demo.stdout.readline())
        assert worker is not None
        demo.send_signal(signal.SIGINT)
        assert demo.wait() == 130
        assert "stopped" in demo.stderr.read()
    with pytest.raises(ProcessLookupError):
        os.kill(int(worker[1]), 0)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_holds_runs_is_refused(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'shop.db'}"
    assert run(tmp_path, "--headless", "--json", "--purchases", "10", "--store", store).returncode == 0
    again = run(tmp_path, "--headless", "--json", "--purchases", "10", "--store", store)
    assert (again.returncode, again.stdout) == (2, "")
    assert "the store holds runs already" in again.stderr


def test_what_cannot_work_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(BadOptions, match="9 purchases are too few"):
        choose_purchases(DemoOptions(purchases=9))
    with pytest.raises(BadOptions, match="0 workers can do nothing"):
        choose_purchases(DemoOptions(workers=0))
    with pytest.raises(BadOptions, match="cannot read"):
        choose_purchases(DemoOptions(input=tmp_path / "missing.jsonl"))
    declined = {"learner": "a", "course": "b", "card": "c", "price_cents": 1, "trouble": "card_declined"}
    lines = "\n".join(json.dumps({"id": f"p{number}", **declined}) for number in range(20))
    (tmp_path / "declined.jsonl").write_text(lines)
    with pytest.raises(BadOptions, match="every card is declined"):
        choose_purchases(DemoOptions(input=tmp_path / "declined.jsonl"))
    with pytest.raises(BadOptions, match="is not empty"):
        prepare_folder(tmp_path)
    assert run(tmp_path, "--purchases", "3").returncode == 2
