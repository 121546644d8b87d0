"""Runs that were in memory at three crashes: they go one by one, and none is forgotten while it waits for its turn."""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from motet import Flow, attempt
from motet.errors import RunBlocked
from motet.model.codec import plain
from motet.runtime.suspects import BODY, TURN_SECONDS
from motet.store.mutations import Mutation, ShowProgress
from motet.store.protocol import Fence, Receipt, Ticket
from motet.testing import Kit, virtual
from tests.stories.conftest import PATIENCE_SECONDS, Shop

SHORT_TURN_SECONDS = 0.2


class Suspects(Shop):
    """Whatever is started here before it has a worker is a suspect."""

    def __init__(self, folder: Path, **settings: float) -> None:
        super().__init__(folder, **settings)

        @self.step
        async def work(gate: str) -> str:
            self.outside.did(attempt().run)
            if gate:
                await self.outside.wait_at(gate)
            return attempt().run

        @self.workflow
        async def one(flow: Flow, gate: str) -> str:
            return await flow.step(work, gate)

        self.work, self.one = work, one
        self.moments: list[list[str]] = []  # after each commit, what was accused
        self.hooks.batch_committed(lambda *_: self.moments.append([*self.accused().values()]))

    async def suspect(self, **gates: str) -> None:
        """Start these runs, each with the gate where its step waits, and let their processes have died three times."""
        async with self.connect():
            for id, gate in gates.items():
                await self.start(self.one, gate, id=id)
        self.change("UPDATE run SET crashes = 3")

    def change(self, sql: str) -> None:
        with closing(sqlite3.connect(self.path)) as store, store:
            store.execute(sql)

    def accused(self) -> dict[str, str]:
        """By the ids of runs, which of their operations would be taken for the killer if the process died now."""
        with closing(sqlite3.connect(self.path)) as store:
            rows = store.execute("SELECT id, current FROM run WHERE ended_at IS NULL").fetchall()
        return {
            id: row["operation"] or BODY for id, current in rows for row in plain(current or "[]") if "suspect" in row
        }

    async def until_accused(self, **accused: str) -> None:
        async def look() -> bool:
            return self.accused() == accused

        await self.until(look)

    async def all_completed(self, *ids: str) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert [await self.result(id) for id in ids] == [*ids]


@pytest.fixture
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("motet.runtime.launching.TURN_SECONDS", SHORT_TURN_SECONDS)


async def test_a_suspect_that_waits_long_for_its_turn_gets_it(tmp_path: Path) -> None:
    shop = Suspects(tmp_path, idle_seconds=0.2)

    @shop.workflow
    async def resting(flow: Flow) -> None:
        await flow.sleep(3600)

    await shop.suspect(first="work", second="work")
    async with shop.worker():
        await shop.outside.reached("work")
        # It comes later than the suspect that waits, so when it has been idle for long enough, that one has as well.
        await shop.start(resting, id="resting")
        await shop.until_state("resting", "waiting")
        shop.outside.open("work")
        await shop.all_completed("first", "second")


async def test_a_suspect_may_wait_for_another_one(tmp_path: Path, short_turns: None) -> None:
    shop = Suspects(tmp_path)

    @shop.step(timeout=None)
    async def ask_the_other() -> str:
        return str(await shop.result("other"))

    @shop.workflow
    async def curious(flow: Flow) -> str:
        return await flow.step(ask_the_other)

    async with shop.connect():
        await shop.start(curious, id="curious")
    await shop.suspect(other="")
    async with shop.worker(), asyncio.timeout(PATIENCE_SECONDS):
        assert await shop.result("curious") == "other"


async def test_only_whose_turn_it_is_is_accused(tmp_path: Path, short_turns: None) -> None:
    shop = Suspects(tmp_path)
    await shop.suspect(first="one", second="two", third="three")
    async with shop.worker():
        await shop.outside.reached("two")
        await shop.outside.reached("three")
        await shop.until_accused(third="work#1")
        shop.outside.open("one")
        await shop.all_completed("first")
        assert shop.accused() == {"third": "work#1"}, "the end of one that gave up its turn changes nothing"
        shop.outside.open("three")
        await shop.all_completed("third")
        assert shop.accused() == {}, "who gave up its turn stays free"
        shop.outside.open("two")
        await shop.all_completed("second")
    assert [BODY] * 3 in shop.moments
    assert all(len(accused) <= 1 for accused in shop.moments if {*accused} != {BODY}), "at any time"


async def test_the_steps_of_one_suspect_take_turns_as_well(tmp_path: Path, short_turns: None) -> None:
    shop = Suspects(tmp_path)

    @shop.workflow
    async def both(flow: Flow) -> list[str]:
        return await asyncio.gather(flow.step(shop.work, "one"), flow.step(shop.work, "two"))

    async with shop.connect():
        await shop.start(both, id="both")
    await shop.suspect()
    async with shop.worker():
        await shop.until_accused(both="work#2")
        await shop.outside.reached("two")
        shop.outside.open("one")
        await shop.until_status("both", lambda status: len(status.done) == 1)
        assert shop.accused() == {"both": "work#2"}
        shop.outside.open("two")
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await shop.result("both") == ["both", "both"]


async def test_who_is_slow_and_alone_stays_accused(tmp_path: Path, short_turns: None) -> None:
    shop = Suspects(tmp_path)
    await shop.suspect(slow="work")
    async with shop.worker():
        # It begins with being recorded; a second later its row is written again, as that of a step at work.
        await shop.until_status("slow", lambda status: any(step.running for step in status.current))
        assert shop.accused() == {"slow": "work#1"}
        shop.outside.open("work")
        await shop.all_completed("slow")


async def test_a_suspect_whose_attempt_has_ended_is_acquitted(tmp_path: Path) -> None:
    shop = Suspects(tmp_path)

    @shop.workflow
    async def two(flow: Flow) -> str:
        await flow.step(shop.work, "")
        return await flow.step(shop.work, "second")

    async with shop.connect():
        await shop.start(two, id="two")
    await shop.suspect()
    async with shop.worker():
        await shop.outside.reached("second")
        assert (await shop.status("two")).crashes == 0
        assert shop.accused() == {}, "the second step was not there when the process died"
        shop.outside.open("second")
        await shop.all_completed("two")


async def test_a_suspect_is_acquitted_when_all_that_may_have_killed_has_ended(tmp_path: Path) -> None:
    shop = Suspects(tmp_path)

    @shop.step
    async def wait_at(gate: str) -> None:
        await shop.outside.wait_at(gate)

    @shop.workflow
    async def pair(flow: Flow) -> str:
        await asyncio.gather(flow.step(wait_at, "left"), flow.step(wait_at, "right"))
        return await flow.step(shop.work, "after")

    async with shop.connect():
        await shop.start(pair, id="pair")
    await shop.suspect()
    async with shop.worker():
        await shop.outside.reached("left")
        shop.outside.open("left")
        await shop.outside.reached("right")
        assert (await shop.status("pair")).crashes == 3, "the other one may have killed"
        assert shop.accused() == {"pair": "wait_at#2"}
        shop.outside.open("right")
        await shop.outside.reached("after")
        assert ((await shop.status("pair")).crashes, shop.accused()) == (0, {})
        shop.outside.open("after")
        await shop.all_completed("pair")


async def test_who_is_given_up_before_its_turn_leaves_the_line(tmp_path: Path) -> None:
    shop = Suspects(tmp_path)

    @shop.workflow
    async def hasty(flow: Flow) -> str:
        try:
            async with asyncio.timeout(0.1):
                await flow.step(shop.work, "never")
        except TimeoutError:
            return await flow.step(shop.work, "")
        raise AssertionError

    async with shop.connect():
        await shop.start(shop.one, "work", id="first")
        await shop.start(hasty, id="hasty")
    await shop.suspect(third="")
    async with shop.worker():
        await shop.outside.reached("work")
        await shop.until_status("hasty", lambda status: len(status.done) == 1)
        shop.outside.open("work")
        await shop.all_completed("first", "hasty", "third")
    assert sorted(shop.outside.effects) == ["first", "hasty", "third"]


async def test_who_is_released_is_not_accused(tmp_path: Path) -> None:
    shop = Suspects(tmp_path, drain_seconds=0.001)
    await shop.suspect(late="work")
    async with shop.worker():
        await shop.outside.reached("work")
        assert shop.accused() == {"late": "work#1"}
    assert shop.accused() == {}, "a worker that stops has not been killed"
    shop.change("UPDATE run SET crashes = crashes + 1")
    shop.outside.open("work")
    async with shop.worker():
        await shop.all_completed("late")


async def test_a_turn_ends_in_virtual_time(tmp_path: Path) -> None:
    shop = Suspects(tmp_path)
    kits: list[Kit] = []

    @shop.step(timeout=None)
    async def sleep() -> str:
        shop.outside.did("sleep")
        await kits[0].sleep(timedelta(hours=1))
        return "rested"

    @shop.workflow
    async def sleepy(flow: Flow, day: timedelta) -> str:
        await flow.sleep(day)
        return await flow.step(sleep)

    async with shop.connect():
        for id in ("a", "b", "c"):
            await shop.start(sleepy, timedelta(days=1), id=id)
    await shop.suspect()
    address = f"sqlite:///{shop.path}"
    async with virtual(shop, store=address, start=datetime.now(UTC)) as kit:  # tidy: they were started in real time
        kits.append(kit)
        for turns in range(1, 4):
            await kit.advance(timedelta(days=1) if turns == 1 else TURN_SECONDS)
            assert len(shop.outside.effects) == turns
        await kit.advance(timedelta(hours=1))
        assert [await shop.result(id) for id in ("a", "b", "c")] == ["rested"] * 3


async def test_who_has_lost_its_lease_accuses_nobody(tmp_path: Path) -> None:
    """When it wants to record that a suspect's body begins, it has been declared dead: it is another's run by then."""
    shop = Suspects(tmp_path)
    await shop.suspect(moved="")
    shop.change("UPDATE run SET wake_at = NULL")
    async with shop.worker():
        worker = shop.client.worker
        assert worker is not None
        store, first = worker.session.store, worker.id
        commit, buried = store.commit, list[int]()

        async def too_late(units: Sequence[list[Mutation]], guard: Fence | Ticket | None) -> Receipt:
            if not buried and any(isinstance(row, ShowProgress) for unit in units for row in unit):
                (row,) = await store.workers()
                assert await store.bury(first, row.counter)
                buried.append(first)
            return await commit(units, guard)

        setattr(store, "commit", too_late)  # noqa: B010 - for the type checkers it is a method
        shop.change("UPDATE run SET wake_at = 0")
        worker.look()
        await shop.all_completed("moved")
        assert worker.id > first


async def test_a_turn_is_lost_with_the_lease(tmp_path: Path) -> None:
    """Who is declared dead while a suspect is at work looks as if it had been killed by that one; others go on."""
    shop = Suspects(tmp_path)
    await shop.suspect(first="work", second="")
    async with shop.worker():
        await shop.outside.reached("work")
        worker = shop.client.worker
        assert worker is not None
        (row,) = await worker.session.store.workers()
        assert await worker.session.store.bury(worker.id, row.counter)
        await shop.start(shop.one, "", id="unsuspected")  # which finds out that the lease is lost
        await shop.all_completed("unsuspected", "second")
        with pytest.raises(RunBlocked, match="work#1 was running when its process died"):
            await shop.result("first")
