"""The web examples as their READMEs tell: servers with several processes, real workers, real HTTP, on both stores."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psycopg
import pytest

from tests.cli.commanding import MOTET

ROOT = Path(__file__).parents[2]
SECRET = "a secret of the payment provider's"
PATIENCE_SECONDS = 60
PYTHON = [sys.executable, "-W", "ignore", "-m"]
GUNICORN = [*PYTHON, "gunicorn", "--bind", "127.0.0.1:0", "--workers", "2", "--threads", "2"]
LISTENING = re.compile(r"(?:running on|Listening at:) (http://127\.0\.0\.1:\d+)")
READY = re.compile(r"(all 2 workers are ready)")


class Shop(NamedTuple):
    """One of the examples: what its README says to start."""

    name: str
    web: list[str]
    serving: re.Pattern[str]
    worker: str
    prepare: list[str] | None = None

    def __str__(self) -> str:
        return self.name


SHOPS = [
    Shop(
        "fastapi", [*PYTHON, "uvicorn", "examples.web_fastapi.web:web", "--workers", "2", "--port", "0"],
        re.compile(r"(Application startup complete)"), "examples.web_fastapi.shop:shop",
    ),
    Shop("flask", [*GUNICORN, "examples.web_flask.web:web"], LISTENING, "examples.web_flask.shop:shop"),
    Shop(
        "django", [*GUNICORN, "examples.web_django.wsgi"], LISTENING, "examples.web_django.shop:shop",
        [*PYTHON, "django", "migrate", "--verbosity", "0"],
    ),
]  # fmt: skip


class Process:
    """A server or a supervisor, in a group of its own, so that none of its children outlives the test."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.said: list[str] = []
        self._more = threading.Condition()
        self._process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._more:
                self.said.append(line)
                self._more.notify_all()
        with self._more:
            self.said.append("(it has ended)")
            self._more.notify_all()

    def until_it_says(self, pattern: re.Pattern[str]) -> str:
        """The first group of the pattern."""
        with self._more:
            found = self._more.wait_for(lambda: self._find(pattern), PATIENCE_SECONDS)
        assert found, f"{pattern.pattern} was not said:\n{''.join(self.said)}"
        return found.group(1)

    def _find(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        text = "".join(self.said)
        found = pattern.search(text)
        assert found is not None or not text.endswith("(it has ended)"), text
        return found

    def kill(self) -> None:
        """With all of its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


class Street(NamedTuple):
    """A shop that is open."""

    shop: Shop
    http: httpx.Client
    address: str

    def order(self, id: str, cents: int = 4900) -> httpx.Response:
        return self.http.post("/orders", json={"id": id, "item": "a lamp", "cents": cents})

    def pay(self, payment: str, order: str, secret: str = SECRET) -> httpx.Response:
        body = json.dumps({"id": payment, "order": order, "cents": 4900}).encode()
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"Payment-Signature": signature, "Content-Type": "application/json"}
        return self.http.post("/webhooks/payments", content=body, headers=headers)

    def show(self, id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"/orders/{id}").raise_for_status().json()
        return found

    def until_ended(self, id: str) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE_SECONDS
        while (found := self.show(id))["state"] in ("pending", "running", "waiting"):
            assert time.monotonic() < end, found
        return found

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """The database itself, from outside."""
        if self.address.startswith("sqlite"):
            with contextlib.closing(sqlite3.connect(self.address.removeprefix("sqlite:///"))) as file:
                return file.execute(sql).fetchall()
        with psycopg.connect(self.address) as server:
            return server.execute(sql).fetchall()


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "SQLite":
        return f"sqlite:///{tmp_path / 'motet.db'}"
    found: str = request.getfixturevalue("postgres_address")
    return found


@pytest.fixture
def street(request: pytest.FixtureRequest, address: str, tmp_path: Path) -> Generator[Street]:
    """The shop with two web processes and two workers."""
    shop: Shop = request.param
    environment = {
        **os.environ, "MOTET_STORE": address, "PAYMENT_SECRET": SECRET, "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": "examples.web_django.settings", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    if shop.prepare is not None:
        subprocess.run(shop.prepare, cwd=tmp_path, env=environment, check=True, timeout=PATIENCE_SECONDS)
    started: list[Process] = []
    try:
        workers = Process([MOTET, "worker", shop.worker, "--processes", "2"], tmp_path, environment)
        started.append(workers)
        workers.until_it_says(READY)
        web = Process(shop.web, tmp_path, environment)
        started.append(web)
        web.until_it_says(shop.serving)
        base = web.until_it_says(LISTENING)
        with httpx.Client(base_url=base, timeout=PATIENCE_SECONDS) as http:
            yield Street(shop, http, address)
    finally:
        for process in reversed(started):
            process.kill()
        if request.session.testsfailed:
            for process in started:
                print("".join(process.said))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("street", SHOPS, indirect=True, ids=str)
def test_a_day_in_the_shop(street: Street) -> None:
    placed = street.order("o-1")
    assert (placed.status_code, placed.headers["Location"]) == (202, "/orders/o-1")
    assert street.order("o-1").status_code == 202, "the same request twice is one order"
    assert street.order("o-1", cents=1).status_code == 409
    assert street.order("free", cents=0).status_code == 422
    assert street.http.get("/orders/free").status_code == 404, "its run was rolled back with its row"

    assert street.pay("pay-1", "o-1", secret="guessed").status_code == 401
    assert [street.pay("pay-1", "o-1").status_code for _ in range(2)] == [204, 204]
    ended = street.until_ended("o-1")
    assert (ended["state"], ended["error"]) == ("completed", None)

    ids = [f"m-{number}" for number in range(3)]
    with ThreadPoolExecutor(8) as customers:
        placed_together = [*customers.map(street.order, ids * 3)]
        paid = [*customers.map(street.pay, [f"pay-{id}" for id in ids] * 2, ids * 2)]
    assert {response.status_code for response in placed_together} == {202}
    assert {response.status_code for response in paid} == {204}
    results = sorted(street.until_ended(id)["result"] for id in ids)

    orders = "web_django_order" if street.shop.name == "django" else "orders"
    assert sorted(street.ask(f"SELECT id, cents FROM {orders}")) == [(id, 4900) for id in [*ids, "o-1"]]
    events = "event" if street.address.startswith("sqlite") else "motet.event"
    assert street.ask(f"SELECT count(*) FROM {events} WHERE type = 'payment.received'") == [(4,)]
    if street.shop.name == "flask":
        assert results == ["1 left", "2 left", "3 left"]
        assert street.ask("SELECT left_over FROM stock") == [(1,)]
    else:
        parcels = "web_django_parcel" if street.shop.name == "django" else "parcels"
        assert results == [f"parcel for {id}" for id in ids]
        assert sorted(street.ask(f"SELECT order_id FROM {parcels}")) == [(id,) for id in [*ids, "o-1"]]
