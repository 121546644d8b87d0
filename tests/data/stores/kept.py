"""The program whose runs stand in the kept stores, and what each of them must come to.

`python -m tests.data.stores.kept FILE` makes such a store with the Motet that is installed: every kind of run stands
in the middle of something when the process ends as `kill -9` would end it; clients then leave messages. The names
here are in the kept files: what is renamed or removed can no longer resume them.
"""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from motet import App, Flow, Retry, Settings
from motet.model.clock import SECOND, SYSTEM
from motet.orchestration.definitions import Step

ONCE = Retry(attempts=1)
PATIENCE_SECONDS = 20
LIFE_ENDS = "--life"

ENDS = {
    "completed": "completed",
    "declined": "failed",
    "was-cancelled": "cancelled",
    "asleep": "completed",
    "needs-a-person": "blocked",
    "person-has-come": "completed",
    "in-flight": "completed",
    "undoing": "failed",
    "second-generation": "completed",
    "family": "completed",
    "to-be-cancelled": "cancelled",
    "never-begun": "completed",
}
"""How each run of a kept store ends under a worker of today, by its id."""

QUEUED_ENDS = {"delivering": "completed", "in-the-queue": "completed"}
"""The same of those that stand in a queue with a limit; there are such from schema 2 on."""


Paying = Step[[str], str, Coroutine[Any, Any, str]]


class Declined(Exception):
    """An answer, not a fault."""


def kept_app(store: str, *, first_life: bool = False, did: Callable[[str], None] = lambda _: None) -> App:
    """The program. In its first life the steps named "hang ..." never end, and what is broken is not repaired yet."""
    # Another boot's worker is dead only when its counter has stood still for a lease.
    settings = Settings(idle_seconds=0.01, poll_seconds=0.05, lease_seconds=30 if first_life else 1)
    app = App("kept", store=store, settings=settings)
    charge, engrave = steps(app, first_life, did)
    declare_shopping(app, charge)
    declare_queueing(app, charge)
    declare_misfortune(app, charge, engrave)
    return app


def steps(app: App, first_life: bool, did: Callable[[str], None]) -> tuple[Paying, Paying]:
    """What the workflows do to the world."""

    @app.step(raises=[Declined], retry=ONCE)
    async def charge(what: str) -> str:
        did(f"charge {what}")
        if what == "too much":
            raise Declined(what)
        if first_life and what.startswith("hang"):
            await asyncio.Event().wait()
        return f"paid {what}"

    @charge.compensation(retry=ONCE)
    async def refund(paid: str | None, what: str) -> None:
        did(f"refund {what}")
        if first_life and what.startswith("undo hang"):
            await asyncio.Event().wait()

    @app.step(retry=ONCE)
    async def engrave(what: str) -> str:
        did(f"engrave {what}")
        if first_life or what == "never":
            raise OSError("the engraver is broken")
        return f"engraved {what}"

    return charge, engrave


def declare_shopping(app: App, charge: Paying) -> None:
    """Workflows that go well."""

    @app.workflow
    async def buy(flow: Flow, items: list[str]) -> list[str]:
        paid: list[str] = []
        for item in items:
            paid.append(await flow.step(charge, item))
            flow.publish("item.paid", {"item": item})  # motet: ok nobody listens to it
        return paid

    @app.workflow
    async def rest(flow: Flow) -> str:
        await flow.step(charge, "a bed")
        await flow.sleep(60)
        return await flow.step(charge, "breakfast")

    @app.workflow
    async def again(flow: Flow, round: int) -> int:
        await flow.step(charge, "hang" if round else "one round")
        if not round:
            flow.restart(1)
        return round

    @app.workflow
    async def family(flow: Flow) -> list[str]:
        return await flow.child(buy, ["hang child"])


def declare_queueing(app: App, charge: Paying) -> None:
    """A workflow that is driven one at a time."""
    mail = app.queue("mail", concurrency=1)

    @app.workflow(queue=mail, priority=3)
    async def deliver(flow: Flow, what: str) -> str:
        return await flow.step(charge, what)


def declare_misfortune(app: App, charge: Paying, engrave: Paying) -> None:
    """Workflows that do not."""

    @app.workflow(raises=[Declined])
    async def decline(flow: Flow) -> None:
        await flow.step(charge, "a ring")
        await flow.step(charge, "too much")

    @app.workflow
    async def carve(flow: Flow, what: str) -> str:
        await flow.step(charge, "a stone")
        flow.pivot()
        return await flow.step(engrave, what)  # motet: ok a person is to come

    @app.workflow
    async def undo(flow: Flow) -> None:
        for item in ("first", "undo hang second", "third"):
            await flow.step(charge, item)
        raise ValueError("undo it all")


async def live(store: str) -> None:
    """The first life: bring every run to where it is to stand, then die."""
    app = kept_app(store, first_life=True)
    async with app.worker():
        workflows = {name.rpartition("/")[2]: found for name, found in app.registry.workflows.items()}
        inputs: dict[str, tuple[str, object]] = {
            "completed": ("buy", ["a", "b"]), "declined": ("decline", None), "was-cancelled": ("rest", None),
            "asleep": ("rest", None), "needs-a-person": ("carve", "never"), "person-has-come": ("carve", "a name"),
            "in-flight": ("buy", ["c", "hang d"]), "undoing": ("undo", None), "second-generation": ("again", 0),
            "family": ("family", None), "to-be-cancelled": ("buy", ["e", "hang f"]),
            "delivering": ("deliver", "hang a letter"),
        }  # fmt: skip
        for id, (name, input) in inputs.items():
            await app.start(workflows[name], input, id=id)
        await app.cancel("was-cancelled")
        await until(store, "SELECT count(*) = 1 FROM run WHERE id = 'completed' AND state = 'completed'")
        await until(store, "SELECT count(*) = 1 FROM run WHERE id = 'declined' AND state = 'failed'")
        await until(store, "SELECT count(*) = 1 FROM run WHERE id = 'was-cancelled' AND state = 'cancelled'")
        await until(store, "SELECT count(*) = 1 FROM run WHERE id = 'asleep' AND state = 'waiting'")
        await until(store, "SELECT count(*) = 2 FROM run WHERE state = 'blocked' AND owner IS NULL")
        await until(store, "SELECT count(*) = 1 FROM run WHERE generation = 2 AND current LIKE '%charge#1%'")
        for op in ("refund#2", "charge#2"):
            await until(store, f"SELECT count(*) > 0 FROM run WHERE current LIKE '%{op}%'")
        await until(store, "SELECT count(*) = 1 FROM run WHERE queue = 'mail' AND current LIKE '%charge#1%'")
        await until(store, "SELECT count(*) = 1 FROM run WHERE parent IS NOT NULL AND current LIKE '%charge#1%'")
        os._exit(137)


async def until(store: str, holds: str) -> None:
    """Wait until this is true in the store."""
    with sqlite3.connect(store.removeprefix("sqlite:///"), isolation_level=None) as connection:
        end = SYSTEM.monotonic() + PATIENCE_SECONDS
        while not connection.execute(holds).fetchone()[0]:
            if SYSTEM.monotonic() > end:
                raise TimeoutError(f"not within {PATIENCE_SECONDS} s: {holds}")
            await asyncio.sleep(0.01)  # tidy: between two looks at what another thread does
    connection.close()


async def leave_messages(store: str) -> None:
    """What clients do while no worker is there."""
    app = kept_app(store)
    async with app.connect():
        await app.start("kept/buy", ["g"], id="never-begun")
        await app.start("kept/deliver", "a parcel", id="in-the-queue", priority=-3)
        await app.cancel("to-be-cancelled")
        await app.retry("person-has-come")


def into_one_file(path: Path) -> None:
    """Bring the log home and leave nothing beside the file."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("VACUUM")
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    Path(f"{path}-lock").unlink(missing_ok=True)


def main() -> None:
    path = Path(sys.argv[1]).resolve()
    store = f"sqlite:///{path}"
    if LIFE_ENDS in sys.argv:
        asyncio.run(live(store))
    if path.exists():
        raise SystemExit(f"{path} exists; a kept store is never made anew")
    ended = subprocess.run([sys.executable, "-m", "tests.data.stores.kept", str(path), LIFE_ENDS], check=False)
    if ended.returncode != 137:
        raise SystemExit(f"the first life has ended with {ended.returncode}")
    asyncio.run(leave_messages(store))
    into_one_file(path)
    print(f"{path}: {path.stat().st_size:,} bytes, at {SYSTEM.now() // SECOND} s")


if __name__ == "__main__":
    main()
