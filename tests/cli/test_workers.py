"""`motet workers`: who drives runs here; and what a worker answers over HTTP, with real processes."""

import contextlib
import json
import random
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from motet.cli import exits
from motet.cli.workers import condition
from motet.model.clock import SECOND, SYSTEM
from motet.store.protocol import WorkerRow
from tests.cli.commanding import Command, WorkerProcess, eventually

StartWorker = Callable[..., WorkerProcess]
LINGER = '{"id": "p", "mode": "lingering"}'


def listed(motet: Command) -> list[dict[str, Any]]:
    found = motet("workers", "--json")
    assert found.code == exits.OK
    workers: list[dict[str, Any]] = found.json["workers"]
    return workers


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def test_no_store_and_no_workers(motet: Command, folder: Path) -> None:
    assert motet("workers").code == exits.NOT_FOUND
    assert list(folder.glob("motet.db*")) == []
    motet("start", "shop", "buy_two", "--id", "two")
    assert listed(motet) == []
    assert motet("workers").stdout == "No worker is running here; start one with motet worker MODULE.\n"


def test_each_with_its_load_until_it_is_gone(worker: StartWorker, motet: Command, folder: Path) -> None:
    (folder / "linger").touch()
    serving = worker()
    for number in range(3):
        motet("start", "shop", "run_purchase", "--id", f"p{number}", "--input", LINGER)
    (one,) = eventually(lambda: found if (found := listed(motet))[0]["load"] == 3 else None, "the worker to take them")
    assert (one["state"], one["pid"], one["program"]) == ("running", serving.ready["pid"], "motet 0.1.0")
    assert one["name"] == f"{one['host']}:{one['pid']}"
    assert one["started_at"] <= one["seen_at"]
    shown = motet("workers").stdout.splitlines()
    assert shown[0].split() == ["WORKER", "STATE", "RUNS", "LAST", "SEEN", "STARTED", "CODE", "PROGRAM"]
    assert shown[1].split()[:3] == [one["name"], "running", "3"]
    serving.kill()
    (one,) = listed(motet)
    assert (one["state"], one["load"]) == ("gone", 3)
    worker()
    eventually(lambda: [found["state"] for found in listed(motet)] == ["running"], "the dead one to be buried")
    (folder / "linger").unlink()


def test_one_that_was_asked_to_stop_is_draining(worker: StartWorker, motet: Command, folder: Path) -> None:
    (folder / "linger").touch()
    serving = worker()
    motet("start", "shop", "run_purchase", "--id", "p", "--input", LINGER)
    eventually((folder / "begun").exists, "the step to begin")
    serving.signal(signal.SIGTERM)
    eventually(lambda: [found["state"] for found in listed(motet)] == ["draining"], "others to see that it drains")
    (folder / "linger").unlink()
    assert serving.ended() == exits.OK
    assert listed(motet) == []


def test_what_state_a_worker_is_in() -> None:
    now = SYSTEM.now()
    # A host that is not this one: whether its process runs cannot be seen from here.
    well = WorkerRow(1, "i", "elsewhere:7", "", 7, 0, "motet 1", "f", 0, False, now, now)
    assert condition(well, now + 14 * SECOND, shared=False) == "running"
    assert condition(well._replace(state="draining"), now, shared=False) == "draining"
    assert condition(well, now + 16 * SECOND, shared=False) == condition(
        well._replace(state="draining"), now + 16 * SECOND, shared=False
    )
    assert condition(well, now + 16 * SECOND, shared=False) == "silent"


@pytest.mark.parametrize("processes", [1, 2])
def test_workers_answer_over_http_while_they_live_and_drain(
    worker: StartWorker, motet: Command, folder: Path, processes: int
) -> None:
    (folder / "linger").touch()
    serving = worker("--port", "0", "--processes", str(processes))
    ports: list[int] = [one["port"] for one in serving.ready.get("workers", [serving.ready])]
    assert len(set(ports)) == processes
    for port in ports:
        assert f"http://127.0.0.1:{port} answers /health, /ready and /metrics" in serving.log.read_text()
        assert ask(port, "/health") == (200, '{"healthy":true}')
        assert ask(port, "/ready") == (200, '{"ready":true}')
    motet("start", "shop", "run_purchase", "--id", "p", "--input", LINGER)
    eventually((folder / "begun").exists, "the step to begin")
    for port in ports:
        code, text = ask(port, "/metrics")
        samples = {
            (sample.name, sample.labels.get("state")): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        assert (code, samples["motet_runs", "running"], samples["motet_store_answers", None]) == (200, 1, 1)
    serving.signal(signal.SIGTERM)
    for port in ports:
        # One that has nothing to finish may have ended already.
        eventually(lambda port=port: not_ready(port), "each to say that it stops")
    (folder / "linger").unlink()
    assert serving.ended() == exits.OK


def not_ready(port: int) -> bool:
    try:
        return ask(port, "/ready")[0] == 503
    except OSError:
        return True


def two_free_ports() -> int:
    """The first of two, where the system gives no port to anybody by itself."""
    for first in random.Random().sample(range(20_000, 30_000), 100):
        with socket.socket() as one, socket.socket() as other, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", first))
            other.bind(("127.0.0.1", first + 1))
            return first
    raise AssertionError("no two ports are free")


def test_ports_follow_one_another(worker: StartWorker, motet: Command) -> None:
    free = two_free_ports()
    serving = worker("--port", str(free), "--processes", "2")
    assert [one["port"] for one in serving.ready["workers"]] == [free, free + 1]
    taken = motet("worker", "shop", "--port", str(free), "--json")
    assert (taken.code, taken.error["type"]) == (exits.USAGE, "ConfigError")
    assert f"cannot listen on 127.0.0.1:{free}" in taken.error["message"]
    many = motet("worker", "shop", "--port", "65000", "--processes", "600", "--json")
    assert many.code == exits.USAGE
    assert json.loads(many.stderr)["error"]["message"].startswith("600 workers need 600 ports from 65000 on")
