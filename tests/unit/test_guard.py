"""The guard refuses blocking I/O inside a body, lets Python's own through, and does nothing else anywhere."""

from __future__ import annotations

import asyncio
import glob
import importlib
import linecache
import logging
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request
import warnings
import weakref
import zoneinfo
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from motet.errors import BlockingCallInWorkflow
from motet.orchestration import guard
from motet.orchestration.loop import DeterministicLoop


class NoTimers:
    def start_timer(self, due: float, fire: Callable[[], None], kind: str) -> Any:
        raise AssertionError


def in_body(function: Callable[[], Any]) -> Any:
    """Call the function as a workflow's body would."""
    loop = DeterministicLoop(float, NoTimers())

    async def body() -> Any:
        return function()

    main = loop.create_task(body())
    loop.drain()
    loop.close()
    return main.result()


@pytest.fixture
def guarded() -> Iterator[None]:
    guard.install_guard(lambda: isinstance(asyncio._get_running_loop(), DeterministicLoop))
    before = guard.set_guard(True)
    yield
    guard.set_guard(before)


def connect() -> None:
    with socket.socket() as made:
        made.connect(("127.0.0.1", 9))


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Path("somewhere").read_text(), r"open\('somewhere'\)"),
        (lambda: os.open("somewhere", os.O_RDONLY), r"open\('somewhere'\)"),
        (lambda: Path("somewhere").mkdir(), "os.mkdir"),
        (lambda: Path("somewhere").unlink(), "os.remove"),
        (lambda: Path("somewhere").rename("elsewhere"), "os.rename"),
        (lambda: os.listdir("."), "os.listdir"),
        (lambda: glob.glob("*"), "glob.glob"),
        (lambda: os.system("true"), "os.system"),
        (lambda: subprocess.run(["true"], check=True), "subprocess.Popen"),
        (connect, r"socket.connect\(\('127.0.0.1', 9\)\)"),
        (lambda: socket.getaddrinfo("localhost", 80), r"socket.getaddrinfo\('localhost'\)"),
        (lambda: socket.gethostbyname("localhost"), "socket.gethostbyname"),
        (lambda: sqlite3.connect(":memory:"), "sqlite3.connect"),
        (lambda: urllib.request.urlopen("http://localhost:9"), "urllib.Request"),
        (lambda: shutil.copyfile("a", "b"), "shutil.copyfile"),
        (tempfile.mkdtemp, "open|tempfile.mkdtemp"),
    ],
)
def test_blocking_calls_are_refused(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(BlockingCallInWorkflow, match=f"{words}.*do this in a step"):
        in_body(call)


@pytest.mark.usefixtures("guarded")
@pytest.mark.skipif(sys.version_info < (3, 13), reason="time.sleep raises an audit event since 3.13")
def test_sleep_is_refused() -> None:
    with pytest.raises(BlockingCallInWorkflow, match=r"time.sleep\(0.001\)"):
        in_body(lambda: time.sleep(0.001))  # tidy: refused before it begins


@pytest.mark.usefixtures("guarded")
def test_long_arguments_are_shortened() -> None:
    with pytest.raises(BlockingCallInWorkflow) as caught:
        in_body(lambda: Path("x" * 10_000).read_text())
    assert len(str(caught.value)) < 300


@pytest.mark.usefixtures("guarded")
def test_outside_a_body_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    assert os.listdir(tmp_path) == ["file"]


def test_switched_off_nothing_is_refused(tmp_path: Path) -> None:
    guard.install_guard(lambda: True)
    assert guard.set_guard(True) is False
    assert guard.set_guard(False) is True
    in_body(lambda: (tmp_path / "file").write_text("text"))


@pytest.mark.usefixtures("guarded")
def test_imports_go_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made_for_the_guard.py").write_text("from pathlib import Path\nTEXT = Path(__file__).read_text()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = in_body(lambda: importlib.import_module("made_for_the_guard"))
    assert module.TEXT.startswith("from pathlib")


@pytest.mark.usefixtures("guarded")
def test_source_lines_go_through() -> None:
    def call() -> tuple[str, str]:
        linecache.clearcache()
        warned = warnings.formatwarning("odd", UserWarning, __file__, 1)
        linecache.clearcache()
        try:
            int("x")
        except ValueError:
            return warned, traceback.format_exc()

    warned, trace = in_body(call)
    assert "The guard refuses" in warned
    assert 'int("x")' in trace


@pytest.mark.usefixtures("guarded")
def test_time_zones_and_log_files_go_through(tmp_path: Path) -> None:
    def call() -> None:
        zoneinfo.ZoneInfo.clear_cache()
        assert zoneinfo.ZoneInfo("UTC").key == "UTC"
        handler = logging.FileHandler(tmp_path / "log", delay=True)
        handler.emit(logging.LogRecord("name", logging.INFO, __file__, 1, "logged", (), None))
        handler.close()

    in_body(call)
    assert (tmp_path / "log").read_text() == "logged\n"


@pytest.mark.usefixtures("guarded")
def test_finalizers_of_others_go_through(tmp_path: Path) -> None:
    class Owner:
        def __init__(self, path: Path) -> None:
            self.path = path

        def __del__(self) -> None:
            self.path.unlink()

    class Watched: ...

    first, second = tmp_path / "first", tmp_path / "second"
    first.touch()
    second.touch()
    owners: list[object] = [Owner(first), Watched()]
    weakref.finalize(owners[1], second.unlink)
    in_body(owners.clear)
    assert list(tmp_path.iterdir()) == []


def test_it_is_installed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    guard.install_guard(lambda: False)
    added: list[object] = []
    monkeypatch.setattr(sys, "addaudithook", added.append)
    guard.install_guard(lambda: False)
    assert added == []


def test_every_event_is_one_that_python_documents() -> None:
    assert {"open", "socket.connect", "subprocess.Popen", "os.system", "shutil.rmtree"} <= guard.REFUSED
    assert all(" " not in event for event in guard.REFUSED)


def test_a_process_ends_quietly_with_the_guard_on() -> None:
    code = "from motet.orchestration import guard; guard.install_guard(lambda: True); guard.set_guard(True)"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
