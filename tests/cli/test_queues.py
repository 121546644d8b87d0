"""`motet queues` over stores with runs in several queues."""

import asyncio
from pathlib import Path

import pytest

from motet import App, Flow
from motet.model.clock import SYSTEM
from motet.model.run import Version
from motet.testing.conformance.records import a_worker
from tests.cli.commanding import Command


def fill(path: Path) -> None:
    """Runs in two queues, one of which has a limit that is reached."""
    app = App("post", store=f"sqlite:///{path}")
    app.queue("mail", concurrency=1)

    @app.workflow(queue="mail")
    async def send(flow: Flow) -> None: ...

    @app.workflow
    async def other(flow: Flow) -> None: ...

    async def start() -> None:
        async with app.connect():
            store = app.client.store
            worker = await store.register(a_worker(), {}, 0, app.registry.limits)
            for number in range(4):
                await app.start(send, id=f"mail-{number}", priority=-number)
            assert len(await store.claim(worker, [Version("post/send", 1)], "", SYSTEM.now(), 10)) == 1
            await app.start(other, id="other")

    asyncio.run(start())


def test_queues_are_listed(motet: Command, folder: Path) -> None:
    fill(folder / "motet.db")
    lines = [line.split() for line in motet("queues").stdout.splitlines()]
    assert lines[0] == ["QUEUE", "LIMIT", "RUNNING", "PENDING", "OLDEST", "WAITS"]
    assert [line[:4] for line in lines[1:]] == [["default", "-", "0", "1"], ["mail", "1", "1", "3"]]
    assert all(line[-1] == "s" for line in lines[1:])


def test_as_json(motet: Command, folder: Path) -> None:
    fill(folder / "motet.db")
    default, mail = motet("queues", "--json").json["queues"]
    assert 0 <= mail.pop("oldest_waiting_seconds") < 600
    assert mail == {"name": "mail", "concurrency": 1, "running": 1, "pending": 3}
    assert (default["name"], default["concurrency"], default["pending"]) == ("default", None, 1)


def test_status_names_the_queue(motet: Command, folder: Path) -> None:
    fill(folder / "motet.db")
    status = motet("status", "mail-2", "--json").json
    assert (status["queue"], status["priority"], status["state"]) == ("mail", -2, "pending")


def test_who_waits_in_a_full_queue_is_not_late(motet: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder / "motet.db")
    monkeypatch.setattr("motet.cli.examining.LATE_SECONDS", -1.0)
    assert motet("doctor", "--json").json["overdue"] == 1, "the one in the other queue"


def test_a_store_without_any(motet: Command, folder: Path) -> None:
    async def make() -> None:
        async with App("post", store=f"sqlite:///{folder}/motet.db").connect():
            pass

    asyncio.run(make())
    assert motet("queues").stdout == "There are no queues and no runs yet.\n"
    assert motet("queues", "--json").json == {"queues": []}
