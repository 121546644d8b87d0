"""`motet worker` and `motet start`, with real processes: drained by SIGTERM, killed, taken over."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from motet.cli import exits
from tests.cli.commanding import Command, WorkerProcess, eventually

StartWorker = Callable[..., WorkerProcess]


def test_a_worker_says_what_it_serves(worker: StartWorker, folder: Path) -> None:
    serving = worker("--store", "sqlite:///my.db")
    pid = serving.ready.pop("pid")
    assert serving.ready == {
        "app": "shop",
        "workflows": ["shop/buy_two", "shop/run_purchase"],
        "store": "sqlite:///my.db",
    }
    assert (
        f"worker {pid} drives app 'shop' on sqlite:///my.db: shop/buy_two, shop/run_purchase" in serving.log.read_text()
    )
    assert (folder / "my.db").exists()


def test_a_worker_that_is_asked_to_stop_lets_steps_finish(worker: StartWorker, motet: Command, folder: Path) -> None:
    (folder / "linger").touch()
    serving = worker()
    started = motet("start", "shop", "run_purchase", "--id", "p", "--input", '{"id": "p", "mode": "lingering"}')
    states = {"PENDING", "RUNNING"}  # the worker may have been quicker than the command's own look
    assert (started.code, started.stderr) == (0, "")
    assert started.stdout in {f"p   run_purchase v1   {state}\n" for state in states}
    eventually((folder / "begun").exists, "the step to begin")
    serving.signal(signal.SIGTERM)
    eventually(lambda: "stopping: running steps may finish" in serving.log.read_text(), "the worker to drain")
    (folder / "linger").unlink()
    assert serving.ended() == exits.OK
    assert (folder / "ended").exists()
    assert "stopped; what was not finished goes on with the next worker" in serving.log.read_text()
    (done,) = [item for item in motet("status", "p", "--json").json["done"] if item["name"] == "linger"]
    assert done["result"] == "lingered", "the step that could finish is recorded"
    assert motet("doctor", "--json").json["workers"] == []


def test_the_same_signal_again_stops_at_once(worker: StartWorker, motet: Command, folder: Path) -> None:
    (folder / "linger").touch()
    serving = worker()
    motet("start", "shop", "run_purchase", "--id", "p", "--input", '{"id": "p", "mode": "lingering"}')
    eventually((folder / "begun").exists, "the step to begin")
    serving.signal(signal.SIGINT)
    eventually(lambda: "stopping" in serving.log.read_text(), "the worker to drain")
    serving.signal(signal.SIGINT)
    assert serving.ended() == exits.INTERRUPTED
    assert not (folder / "ended").exists()


def test_a_killed_worker_is_noticed_and_taken_over(worker: StartWorker, motet: Command, folder: Path) -> None:
    (folder / "linger").touch()
    serving = worker()
    motet("start", "shop", "run_purchase", "--id", "p", "--input", '{"id": "p", "mode": "lingering"}')
    eventually((folder / "begun").exists, "the step to begin")
    serving.kill()
    examined = motet("doctor", "--json")
    assert [one["alive"] for one in examined.json["workers"]] == [False]
    assert "is gone without a word" in " ".join(motet("doctor").stdout.split())
    assert "Waits:  no worker is running here" in motet("status", "p").stdout
    (folder / "linger").unlink()
    worker()
    seen = motet("watch", "p", "--json")
    assert (seen.code, seen.json["state"], seen.json["crashes"]) == (exits.OK, "completed", 1)
    assert [item["name"] for item in seen.json["done"]] == [
        "authorize_payment", "create_enrollment", "linger", "purchase.completed",
    ]  # fmt: skip


def test_start_and_wait_tells_how_it_ended(worker: StartWorker, motet: Command, process: Command) -> None:
    ends = {
        "fine": (exits.OK, "Result:  Receipt(purchase_id='p', seat=7)"),
        "declined": (exits.FAILED, "Failed:  CardDeclined: insufficient funds"),
        "failing": (exits.FAILED, "Undone:  create_enrollment, then authorize_payment"),
        "stuck": (exits.BLOCKED, "It needs a person:"),
    }
    serving = worker("--log-level", "debug")
    for mode, (code, said) in ends.items():
        run = ["start", "shop", "run_purchase", "--wait", "--id", mode, "--input", f'{{"id":"p","mode":"{mode}"}}']
        waited = (process if mode == "fine" else motet)(*run)
        assert (waited.code, waited.stderr) == (code, "")
        assert said in waited.stdout
        again = motet(*run, "--json")
        assert (again.code, again.json["id"]) == (code, mode), "the same id again is the same run"
    for line in serving.log.read_text().splitlines():
        assert line[2] == line[5] == ":" and line.split()[1] in ("debug", "info", "warning", "error")


def test_a_cancelled_run_has_its_own_code(worker: StartWorker, motet: Command, folder: Path) -> None:
    worker()
    motet("start", "shop", "run_purchase", "--id", "p", "--input", '{"id": "p", "mode": "waiting"}')
    eventually(lambda: motet("status", "p", "--json").json["note"], "the run to wait")
    asked = motet("cancel", "p", "--reason", "no time", "--json")
    assert (asked.code, asked.json) == (0, {"id": "p", "asked": "cancel", "driven": True})
    assert motet("watch", "p").code == exits.CANCELLED
    waited = motet("start", "shop", "run_purchase", "--id", "p", "--wait", "--input", '{"id": "p", "mode": "waiting"}')
    assert waited.code == exits.CANCELLED


def test_start_reads_its_input_from_everywhere(motet: Command, folder: Path) -> None:
    (folder / "input.json").write_text('{"id": "from a file"}')
    ways = {
        "option": motet("start", "shop", "run_purchase", "--id", "option", "--input", '{"id": "given"}'),
        "file": motet("start", "shop", "shop/run_purchase", "--id", "file", "--input-file", "input.json"),
        "stdin": motet("start", "shop", "run_purchase", "--id", "stdin", "--input-file=-", input='{"id": "piped"}'),
        "none": motet("start", "shop:shop", "buy_two", "--id", "none", "--attributes", '{"region": "eu"}'),
    }
    assert {name: outcome.code for name, outcome in ways.items()} == dict.fromkeys(ways, 0)
    assert ways["option"].stderr == "no worker is running here yet; start one with motet worker MODULE\n"
    again = motet("start", "shop", "run_purchase", "--id", "stdin", "--input", '{"mode": "fine", "id": "piped"}')
    assert again.code == 0, "the same input is the same input, however it is written"
    assert motet("status", "none", "--json").json["attributes"] == {"region": "eu"}


def test_start_as_json(motet: Command) -> None:
    started = motet("start", "shop", "buy_two", "--id", "two", "--json")
    document = started.json
    assert len(document.pop("uid")) == 26
    assert document == {"id": "two", "workflow": "shop/buy_two", "state": "pending"}


def test_the_store_can_be_named_in_four_ways(motet: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the command, before it, in the environment, or not at all: in this order."""
    monkeypatch.setenv("MOTET_STORE", "sqlite:///environment.db")
    start = ["start", "shop", "buy_two", "--id", "two"]
    motet("--store", "sqlite:///before.db", *start, "--store", "sqlite:///after.db")
    assert {file.name for file in folder.glob("*.db")} == {"after.db"}
    motet("--store", "sqlite:///before.db", *start)
    assert {file.name for file in folder.glob("*.db")} == {"after.db", "before.db"}
    del sys.modules["shop"]
    motet(*start)
    assert {file.name for file in folder.glob("*.db")} == {"after.db", "before.db", "environment.db"}
    monkeypatch.delenv("MOTET_STORE")
    motet(*start)
    assert (folder / "motet.db").exists()
