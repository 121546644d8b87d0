"""The campaign's look at burials: what it calls wrong, and what it does not."""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from motet.model.clock import SystemClock
from motet.runtime.liveness import describe_self
from motet.store.sqlite.store import SqliteStore
from tests.chaos.asking import SqliteBase
from tests.chaos.burials import Burials
from tests.chaos.shapes import POSTGRES, SHAPES
from tests.planted_bugs.planting import bugs

LEASE = 2.0
ALIVE = os.getpid()


@asynccontextmanager
async def opened(path: Path) -> AsyncGenerator[SqliteStore]:
    store = SqliteStore(str(path), SystemClock())
    await store.open(create=True)
    try:
        yield store
    finally:
        await store.close()


def watched(*looks: tuple[float, int, int], pid: int = ALIVE, lost: bool = True) -> list[str]:
    """What is wrong after these looks at one worker: when, its counter, whether it is buried."""
    burials = Burials(SqliteBase(Path("nowhere")), LEASE)
    burials.look([(7, ALIVE, 0, 0)], 0.0, 0.0, lambda _: lost)
    for when, counter, buried in looks:
        burials.look([(1, pid, counter, buried)], when, when + 0.01, lambda _: lost)
    return burials.wrong


def test_a_burial_after_a_lease_is_right() -> None:
    assert watched((1.0, 4, 0), (1.5, 5, 0), (2.5, 5, 0), (3.5, 5, 1)) == []


def test_who_moved_a_moment_ago_is_buried_too_early() -> None:
    (wrong,) = watched((1.0, 4, 0), (3.4, 4, 0), (3.5, 5, 0), (3.6, 5, 1))
    words = "was buried although it lives and its counter had moved 0.21 s before"
    assert wrong.startswith(f"worker 1 (process {ALIVE}) {words}")


def test_between_two_looks_the_earliest_moment_counts() -> None:
    assert watched((1.0, 4, 0), (3.2, 5, 1)) == [], "it may have moved at 1.0 already"
    assert len(watched((1.0, 4, 0), (2.9, 5, 1))) == 1, "not even then"


def test_the_dead_are_buried_at_once() -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    assert watched((1.0, 4, 0), (1.1, 5, 1), pid=gone.pid) == []


def test_who_resigns_is_not_buried() -> None:
    """As who could not begin does: its row ends a moment after it came, and its process still runs."""
    assert watched((0.5, 0, 1), lost=False) == []
    assert len(watched((0.5, 0, 1), lost=True)) == 1


async def test_a_burial_is_told_from_a_resignation_by_the_log(tmp_path: Path) -> None:
    """In a store of ours, as it is written there."""
    async with opened(tmp_path / "motet.db") as store:
        me = describe_self("code")
        buried = await store.register(me, {}, 1)
        assert await store.bury(buried, 0)
        resigned = await store.register(me._replace(identity="another"), {}, 1)
        await store.resign(resigned)
        burials = Burials(SqliteBase(tmp_path / "motet.db"), LEASE, tmp_path)
        burials.look([(7, ALIVE, 0, 0)], time.monotonic(), time.monotonic(), lambda _: True)
        (tmp_path / "worker-0.log").write_text(
            f"... worker here:1 ({buried}) is dead: process gone\n... worker here:1 ({buried}0) is dead\n"
            f"... worker {buried} has been declared dead\n"
        )
        watching = asyncio.create_task(burials.watch())
        async with asyncio.timeout(20):
            while not (burials.wrong and burials.resigned):
                await asyncio.sleep(0.01)  # tidy: until it has looked
        watching.cancel()
    (wrong,) = burials.wrong
    assert wrong.startswith(f"worker {buried} ")
    assert [line.rpartition("... ")[2] for line in burials.evidence()] == [
        f"worker here:1 ({buried}) is dead: process gone",
        f"worker {buried} has been declared dead",
    ]


def test_the_buried_write_nothing() -> None:
    (wrong,) = watched((1.0, 5, 0), (3.5, 5, 1), (3.6, 6, 1))
    assert wrong == f"worker 1 (process {ALIVE}) has committed a batch after it was buried"


def test_each_bug_that_campaigns_look_for_is_there() -> None:
    assert {name for shapes in SHAPES.values() for name in shapes} <= {bug.name for bug in bugs()}


def test_campaigns_look_for_each_bug_of_the_store_in_postgres() -> None:
    assert {bug.name for bug in bugs() if bug.name.startswith("postgres_")} <= set(POSTGRES)
