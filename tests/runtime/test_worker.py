"""What a worker promises about the runs in its memory, and about those that leave it."""

import asyncio
import gc
import sqlite3
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from motet import App, Flow, RunCancelled, RunFailed, Settings, attempt
from motet.errors import LeaseLost, StoreUnavailable
from motet.runtime.worker import Worker


class Plant:
    """An app with a few workflows, and the effects that its steps have had."""

    def __init__(self, path: Path, settings: Settings | None = None) -> None:
        self.app = App("plant", store=f"sqlite:///{path}", settings=settings)
        self.effects: list[str] = []
        self.keys: list[tuple[str, int]] = []
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()
        app = self.app

        @app.step
        async def work(name: str) -> str:
            self.keys.append((attempt().key, attempt().token))
            self.entered.set()
            await self.gate.wait()
            self.effects.append(name)
            return name

        @work.compensation
        async def undo(result: str | None, name: str) -> None:
            self.effects.append(f"undo {result}")

        @app.workflow
        async def one(flow: Flow, name: str) -> str:
            return await flow.step(work, name)

        @app.workflow(deadline=timedelta(milliseconds=1))
        async def hurried(flow: Flow, name: str) -> str:
            return await flow.step(work, name)

        @app.workflow
        async def nap(flow: Flow, seconds: float) -> str:
            await flow.sleep(seconds)
            return "rested"

        self.one, self.hurried, self.nap = one, hurried, nap


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(tmp_path / "motet.db")


def worker_of(app: App) -> Worker:
    worker = app.client._worker
    assert worker is not None
    return worker


async def until(condition, seconds: float = 20.0) -> None:  # type: ignore[no-untyped-def]
    """Look again until it holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)  # tidy: between two looks


async def test_a_waiting_run_leaves_memory_and_comes_back(tmp_path: Path):
    plant = Plant(tmp_path / "motet.db", Settings(idle_seconds=0.1))
    async with plant.app.worker() as app:
        run = await app.start(plant.nap, 2.5, id="nap")
        await until(lambda: not worker_of(app).drivers)
        status = await app.status("nap")
        assert status.state == "waiting"
        assert status.current[0].due_at is not None and status.wake_at is not None
        assert await run.result() == "rested"


async def test_more_waiting_runs_than_may_stay_leave_memory_at_once(tmp_path: Path):
    plant = Plant(tmp_path / "motet.db", Settings(idle_seconds=3600, resident_limit=5))
    async with plant.app.worker() as app:
        for number in range(40):
            await app.start(plant.nap, 3600, id=f"nap-{number}")
        await until(lambda: len(worker_of(app).drivers) <= 5)
        counts = await worker_of(app).session.store.counts()
        assert counts["waiting"] >= 35


async def test_cancelled_before_it_began_it_never_begins(plant: Plant):
    plant.gate.set()
    async with plant.app.connect() as app:
        await app.start(plant.one, "ann", id="early")
        await app.cancel("early", reason="changed my mind")
    async with plant.app.worker() as app:
        with pytest.raises(RunCancelled):
            await app.result("early")
        assert (await app.status("early")).state == "cancelled"
    assert plant.effects == [] and plant.keys == []


async def test_past_its_deadline_a_run_begins_nothing_new(plant: Plant):
    plant.gate.set()
    async with plant.app.connect() as app:
        await app.start(plant.hurried, "ann", id="late")
        await until(lambda: app._clock.now() > 0)
    async with plant.app.worker() as app:
        with pytest.raises(RunFailed, match="had not begun by its deadline"):
            await app.result("late")
    assert "ann" not in plant.effects


async def test_a_stopping_worker_lets_running_steps_finish(plant: Plant):
    async with plant.app.worker() as app:
        await app.start(plant.one, "ann", id="draining")
        await plant.entered.wait()
        asyncio.get_running_loop().call_later(0.2, plant.gate.set)
    assert plant.effects == ["ann"]
    async with plant.app.worker() as app:
        assert await app.result("draining") == "ann"
    assert plant.effects == ["ann"], "its result was recorded: it never runs again"


async def test_what_does_not_finish_in_time_is_tried_again_with_the_same_key(tmp_path: Path):
    plant = Plant(tmp_path / "motet.db", Settings(drain_seconds=0.1))
    async with plant.app.worker() as app:
        await app.start(plant.one, "ann", id="slow")
        await plant.entered.wait()
    plant.gate.set()
    async with plant.app.worker() as app:
        assert await app.result("slow") == "ann"
    (first, second) = plant.keys
    assert first[0] == second[0], "the same effect has the same key on every attempt"
    assert first[1] < second[1], "a later owner has a higher fencing token"


async def test_a_worker_declared_dead_begins_anew_and_its_runs_go_on(plant: Plant):
    async with plant.app.worker() as app:
        worker = worker_of(app)
        run = await app.start(plant.one, "ann", id="moved")
        await plant.entered.wait()
        before = worker.id
        (row,) = [row for row in await worker.session.store.workers() if row.id == before]
        assert await worker.session.store.bury(before, row.batch)
        plant.gate.set()
        assert await run.result() == "ann"
        assert worker.id > before
        assert (await app.status("moved")).crashes == 1


async def test_old_news_of_a_lost_lease_costs_no_second_lease(plant: Plant, tmp_path: Path):
    """A claim that was on its way when the lease was lost is refused when the worker has registered anew."""
    plant.gate.set()
    other = Plant(tmp_path / "motet.db")
    async with other.app.connect() as client, plant.app.worker() as app:
        worker = worker_of(app)
        store, first = worker.session.store, worker.id
        claim, refused = store.claim, list[int]()

        async def refuse_late(*args: object) -> object:
            if not refused:
                refused.append(first)
                (row,) = await store.workers()
                assert await store.bury(first, row.counter)
                worker.committer.lose_lease(LeaseLost("declared dead by a test"), first)
                await until(lambda: worker.committer.worker not in (None, first))
            return await claim(*args)  # type: ignore[arg-type]

        setattr(store, "claim", refuse_late)  # noqa: B010 - for the type checkers it is a method
        await client.start(other.one, "ann", id="claimed")
        async with asyncio.timeout(20):
            assert await app.result("claimed") == "ann"
        assert refused and worker.id == first + 1


async def test_a_start_while_the_lease_is_lost_is_not_lost(plant: Plant):
    plant.gate.set()
    async with plant.app.worker() as app:
        worker = worker_of(app)
        (row,) = await worker.session.store.workers()
        assert await worker.session.store.bury(row.id, row.batch)
        run = await app.start(plant.one, "ann", id="orphan")
        assert await run.result() == "ann"


async def test_a_client_alone_sees_the_end_of_a_run_that_another_drives(plant: Plant, tmp_path: Path):
    other = Plant(tmp_path / "motet.db")
    plant.gate.set()
    async with other.app.connect() as client:
        run = await client.start(other.one, "ann", id="elsewhere")
        async with plant.app.worker():
            assert await run.result() == "ann"
    assert (plant.effects, other.effects) == (["ann"], [])


async def test_a_worker_leaves_alone_what_it_does_not_know(plant: Plant, tmp_path: Path):
    stranger = App("stranger", store=f"sqlite:///{tmp_path / 'motet.db'}")

    @stranger.workflow
    async def other(flow: Flow) -> str:
        return "done"

    plant.gate.set()
    async with stranger.connect() as client:
        await client.start(other, id="foreign")
    async with plant.app.worker() as app:
        assert await (await app.start(plant.one, "ann", id="known")).result() == "ann"
        assert (await app.status("foreign")).state == "pending"
    async with stranger.worker() as app:
        assert await app.result("foreign") == "done"


async def test_the_collector_is_as_before_when_the_worker_has_stopped(plant: Plant):
    before = gc.get_threshold()
    async with plant.app.worker():
        assert gc.get_threshold() != before
    assert gc.get_threshold() == before


def test_settings_are_checked():
    assert replace(Settings(), idle_seconds=1).idle_seconds == 1


async def test_a_suspect_that_waits_for_its_turn_stays_in_memory(tmp_path: Path):
    plant = Plant(tmp_path / "motet.db", Settings(idle_seconds=0.05, poll_seconds=0.05))
    async with plant.app.connect() as app:
        for number in range(3):
            await app.start(plant.one, "ann", id=f"suspect-{number}")
    store = sqlite3.connect(tmp_path / "motet.db", isolation_level=None)
    store.execute("UPDATE run SET crashes = 3")
    store.close()
    async with plant.app.worker() as app:
        await plant.entered.wait()
        begun = app._clock.monotonic()
        await until(lambda: app._clock.monotonic() - begun > 0.5)  # ten times as long as idle runs stay
        assert len(plant.keys) == 1, "one by one"
        assert len(worker_of(app).drivers) == 3
        plant.gate.set()
        for number in range(3):
            assert await app.result(f"suspect-{number}") == "ann"


@pytest.mark.parametrize("broken", ["claim", "histories", "inbox"])
async def test_what_was_claimed_is_driven_although_the_reply_was_lost(plant: Plant, tmp_path: Path, broken: str):
    plant.gate.set()
    other = Plant(tmp_path / "motet.db")
    lost: list[str] = []
    async with other.app.connect() as client, plant.app.worker() as app:
        store = worker_of(app).session.store
        working = getattr(store, broken)

        async def lose(*args: object) -> object:
            found = await working(*args)
            if not lost and (broken != "claim" or found):
                lost.append(broken)
                raise StoreUnavailable("the reply was lost")
            return found

        setattr(store, broken, lose)
        _, draft = client.client.drafts.run(other.one, "ann", "a", None, None)
        # One that has had an owner before may have a history.
        await client.client.store.commit([[draft._replace(epoch=1)]], None)
        assert await app.result("a") == "ann"
    assert lost == [broken]
    assert plant.effects == ["ann"]
