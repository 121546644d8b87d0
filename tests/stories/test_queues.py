"""Queues: how many runs of one are driven at a time, who goes first, and that much of one holds up no other."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from motet import App, Flow, Module, Settings
from motet.errors import BadValue, DefinitionError, DuplicateName
from motet.model.clock import SYSTEM
from motet.runtime import worker as worker_module
from tests.stories.conftest import ONCE, PATIENCE_SECONDS, Outside, Shop
from tests.stories.queueing import LIMIT, queueing_app

PROGRAM = Path(__file__).with_name("queueing.py")


async def wait_for(*ids: str, app: App) -> None:
    async with asyncio.timeout(60):
        await asyncio.gather(*(app.result(id) for id in ids))


# --- declaring --------------------------------------------------------------------------------------------------


def test_what_cannot_be_declared(shop: Shop) -> None:
    mail = shop.queue("mail", concurrency=2)
    assert (mail.name, mail.concurrency) == ("mail", 2)
    with pytest.raises(DuplicateName, match="queue 'mail' is declared twice"):
        shop.queue("mail")
    for wrong in (0, -1, True):
        with pytest.raises(DefinitionError, match="it must be 1 or more, or None"):
            shop.queue("other", concurrency=wrong)
    with pytest.raises(DefinitionError, match="has no limit; choose another name"):
        shop.queue("default", concurrency=1)
    for wrong in (101, -101, True):
        with pytest.raises(DefinitionError, match="it must be a whole number from -100 to 100"):

            @shop.workflow(priority=wrong)
            async def urgent(flow: Flow) -> None: ...


async def test_a_misspelled_queue_is_told_when_the_program_starts(shop: Shop) -> None:
    shop.queue("mail", concurrency=2)

    @shop.workflow(queue="mial")
    async def send(flow: Flow) -> None: ...

    with pytest.raises(DefinitionError, match="is for queue 'mial', which is not declared; declare it: app.queue"):
        async with shop.worker():
            pass


async def test_a_module_brings_its_queues(shop: Shop) -> None:
    module = Module()
    mail = module.queue("mail", concurrency=1)

    @module.workflow(queue=mail, priority=3)
    async def send(flow: Flow) -> str:
        return "sent"

    shop.include(module)
    async with shop.worker():
        run = await shop.start(send, id="r")
        assert await run.result() == "sent"
        rows = {row.name: row.concurrency for row in await shop.client.store.queues(0)}
    assert rows == {"mail": 1}


async def test_a_priority_out_of_bounds_starts_nothing(shop: Shop) -> None:
    @shop.workflow
    async def send(flow: Flow) -> None: ...

    async with shop.worker():
        with pytest.raises(BadValue, match="run 'r': priority is 1000; it must be"):
            await shop.start(send, id="r", priority=1000)
        assert await shop.runs() == []


# --- limits -----------------------------------------------------------------------------------------------------


class Counting:
    """How many are between begin and end, and the most there ever were."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def begin(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    def end(self) -> None:
        self.now -= 1


async def test_no_more_than_the_limit_at_a_time_in_one_worker(shop: Shop) -> None:
    mail, counting = shop.queue("mail", concurrency=2), Counting()

    @shop.step
    async def send(n: int) -> int:
        counting.begin()
        await asyncio.sleep(0.005)  # tidy: the work that a step does
        counting.end()
        return n

    @shop.workflow(queue=mail)
    async def deliver(flow: Flow, n: int) -> int:
        return await flow.step(send, n)

    async with shop.worker():
        runs = await asyncio.gather(*(shop.start(deliver, n, id=f"r{n}") for n in range(20)))
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await asyncio.gather(*(run.result() for run in runs)) == list(range(20))
    assert counting.most == 2


async def test_a_run_that_only_waits_gives_its_place_away(shop: Shop, outside: Outside) -> None:
    mail = shop.queue("mail", concurrency=1)

    @shop.step
    async def send(what: str) -> None:
        outside.did(what)

    @shop.workflow(queue=mail)
    async def deliver(flow: Flow, sleepy: bool) -> None:
        await flow.step(send, "first" if sleepy else "other")
        if sleepy:
            await flow.sleep(3600)
            await flow.step(send, "last")

    async with shop.worker():
        await shop.start(deliver, True, id="sleepy")
        await shop.start(deliver, False, id="other")
        await wait_for("other", app=shop)
        assert (await shop.status("sleepy")).state == "waiting"
        shop.clock.ahead = 3601
        await wait_for("sleepy", app=shop)
    assert outside.effects == ["first", "other", "last"]


async def test_a_child_gets_the_place_of_the_parent_that_waits_for_it(shop: Shop) -> None:
    mail = shop.queue("mail", concurrency=1)

    @shop.workflow(queue=mail)
    async def down(flow: Flow, depth: int) -> int:
        return 0 if not depth else 1 + await flow.child(down, depth - 1)

    async with shop.worker():
        run = await shop.start(down, 4, id="r")
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await run.result() == 4


async def test_who_waits_for_a_place_can_be_cancelled(shop: Shop, outside: Outside) -> None:
    mail = shop.queue("mail", concurrency=1)

    @shop.step
    async def send(what: str) -> None:
        outside.did(what)
        await outside.wait_at("gate")

    @shop.workflow(queue=mail)
    async def deliver(flow: Flow, what: str) -> None:
        await flow.step(send, what)

    async with shop.worker():
        await shop.start(deliver, "first", id="first")
        await outside.reached("gate")
        await shop.start(deliver, "second", id="second")
        await shop.cancel("second")
        outside.open("gate")
        await wait_for("first", app=shop)
        await shop.until_state("second", "cancelled")
    assert outside.effects == ["first"]


async def test_a_queue_that_others_have_limited_is_limited(shop: Shop, tmp_path: Path) -> None:
    """This worker's code knows of no limit; the store does."""
    shop.queue("mail")
    counting = Counting()

    @shop.step
    async def send() -> None:
        counting.begin()
        await asyncio.sleep(0.005)  # tidy: the work that a step does
        counting.end()

    @shop.workflow(queue="mail")
    async def deliver(flow: Flow) -> None:
        await flow.step(send)

    newer = App("newer", store=f"sqlite:///{shop.path}")
    newer.queue("mail", concurrency=1)
    async with shop.worker(), newer.worker():
        runs = await asyncio.gather(*(shop.start(deliver, id=f"r{n}") for n in range(10)))
        await wait_for(*(run.id for run in runs), app=shop)
    assert counting.most == 1


# --- several processes ------------------------------------------------------------------------------------------


@contextmanager
def workers(count: int, store: Path, record: Path) -> Iterator[list[subprocess.Popen[str]]]:
    command = [sys.executable, str(PROGRAM), str(store), str(record)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]
    try:
        for process in started:
            assert process.stdout is not None and process.stdout.readline() == "working\n"
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate(timeout=30)


def driven(record: Path, queue: str) -> tuple[list[str], int]:
    """By the outside record: the runs of the queue that have ended, and how many were under way at most.

    A run that was under way when its process was killed begins again: it is under way once.
    """
    inside: set[str] = set()
    ended: list[str] = []
    most = 0
    for line in record.read_text().splitlines():
        sign, name, id = line.split()
        if name == queue:
            inside.add(id) if sign == "+" else inside.discard(id)
            most = max(most, len(inside))
            ended += [id] if sign == "-" else []
    return ended, most


async def test_the_limit_holds_across_processes(tmp_path: Path) -> None:
    store, record = tmp_path / "motet.db", tmp_path / "record"
    app = queueing_app(f"sqlite:///{store}", str(record))
    careful, plentiful = app.registry.workflow("careful"), app.registry.workflow("plentiful")
    few, many = [f"few-{n}" for n in range(60)], [f"many-{n}" for n in range(60)]
    async with app.connect():
        with workers(3, store, record):
            await asyncio.gather(*(app.start(careful, id, id=id) for id in few))
            await asyncio.gather(*(app.start(plentiful, id, id=id) for id in many))
            await wait_for(*few, *many, app=app)
    ended, most = driven(record, "few")
    assert sorted(ended) == sorted(few)
    assert most <= LIMIT
    assert most > 1, "they are driven at the same time as far as they may be"
    assert driven(record, "many")[1] > LIMIT, "the other queue has no limit"


async def test_a_killed_worker_leaves_its_places_to_others(tmp_path: Path) -> None:
    store, record = tmp_path / "motet.db", tmp_path / "record"
    app = queueing_app(f"sqlite:///{store}", str(record))
    few = [f"few-{n}" for n in range(40)]
    async with app.connect():
        with workers(2, store, record) as processes:
            await asyncio.gather(*(app.start(app.registry.workflow("careful"), id, id=id) for id in few))
            await wait_for(few[0], app=app)
            processes[0].kill()
            await wait_for(*few, app=app)
    ended, most = driven(record, "few")
    assert set(ended) == set(few)
    assert most <= LIMIT


# --- who goes first ---------------------------------------------------------------------------------------------


async def test_higher_priorities_go_first(shop: Shop, outside: Outside) -> None:
    mail = shop.queue("mail", concurrency=1)

    @shop.step
    async def send(what: str) -> None:
        outside.did(what)

    @shop.workflow(queue=mail)
    async def plain(flow: Flow, what: str) -> None:
        await flow.step(send, what)

    @shop.workflow(queue=mail, priority=5)
    async def urgent(flow: Flow, what: str) -> None:
        await flow.step(send, what)

    async with shop.connect():
        await shop.start(plain, "low", id="low", priority=-1)
        await shop.start(plain, "plain 1", id="1")
        await shop.start(plain, "plain 2", id="2")
        await shop.start(urgent, "urgent", id="urgent")
        await shop.start(plain, "very urgent", id="very", priority=9)
    async with shop.worker():
        await wait_for("low", "1", "2", "urgent", "very", app=shop)
    assert outside.effects == ["very urgent", "urgent", "plain 1", "plain 2", "low"]


async def test_what_a_worker_does_not_know_neither_stops_nor_slows_it(shop: Shop) -> None:
    stranger = App("stranger", store=f"sqlite:///{shop.path}")
    stranger.queue("a", concurrency=1)

    @stranger.workflow(queue="a", priority=50)
    async def strange(flow: Flow, n: int) -> None: ...

    @stranger.workflow
    async def common(flow: Flow, n: int) -> None: ...

    shop.queue("a", concurrency=1)

    @shop.workflow(queue="a")
    async def mine(flow: Flow) -> str:
        return "mine"

    async with stranger.connect():
        await asyncio.gather(*(stranger.start(strange, n, id=f"s{n}") for n in range(2_000)))
        await asyncio.gather(*(stranger.start(common, n, id=f"c{n}") for n in range(2_000)))
    async with shop.worker():
        run = await shop.start(mine, id="mine")
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await run.result() == "mine"
        assert (await shop.client.store.counts()) == {"pending": 4_000, "completed": 1}


# --- much of one and little of another --------------------------------------------------------------------------

CROWD = 20_000


@pytest.mark.parametrize("by", ["the worker's process", "another process"])
async def test_ten_beside_very_many_begin_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    monkeypatch.setattr(worker_module, "ACTIVE_LIMIT", 500)
    began: list[float] = []

    def declared(folder: Path) -> Shop:
        app = Shop(folder)
        app.queue("many")
        app.queue("few")

        @app.step
        async def work() -> None:
            await asyncio.sleep(0.01)  # tidy: the work that a step does

        @app.step
        async def note() -> None:
            began.append(SYSTEM.monotonic())

        @app.workflow(queue="many")
        async def one_of_many(flow: Flow) -> None:
            await flow.step(work)

        @app.workflow(queue="few")
        async def one_of_few(flow: Flow) -> None:
            await flow.step(note)

        return app

    shop, client = declared(tmp_path), declared(tmp_path)
    in_memory = 0
    async with shop.worker(), client.connect():
        for thousand in range(CROWD // 1000):
            await asyncio.gather(*(shop.start("one_of_many", id=f"{thousand}-{n}") for n in range(1000)))
            in_memory = max(in_memory, len(await shop.client.store.owned(1)))
        start = SYSTEM.monotonic()
        app = shop if by == "the worker's process" else client
        few = await asyncio.gather(*(app.start("one_of_few", id=f"few{n}") for n in range(10)))
        await wait_for(*(run.id for run in few), app=app)
        counts = await shop.client.store.counts()
    assert counts["pending"] > 1_000, "the many are far from done"
    assert in_memory <= 500 + worker_module.CLAIM_CHUNK, "they are not all taken into memory"
    print(f"the last of ten began after {max(began) - start:.3f} s, beside {counts['pending']} that wait")
    assert max(began) - start < 10, "promised are 2 s, on a machine that does nothing else"


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_slow_steps_of_one_queue_hold_up_no_other(tmp_path: Path, kind: str) -> None:
    settings = Settings(store=f"sqlite:///{tmp_path}/motet.db", sync_threads=2, attempts_limit=4, drain_seconds=0.1)
    app = App("shop", settings=settings)
    app.queue("slow")
    app.queue("quick")
    gate = threading.Event()
    async_gate = asyncio.Event()

    if kind == "plain":

        @app.step(retry=ONCE, name="wait")
        def plain_wait() -> None:
            gate.wait(60)

        wait = plain_wait
    else:

        @app.step(retry=ONCE, name="wait")
        async def async_wait() -> None:
            await async_gate.wait()

        wait = async_wait

    @app.step
    def quick_step() -> str:
        return "quick"

    @app.workflow(queue="slow")
    async def slow(flow: Flow) -> None:
        await flow.step(wait)

    @app.workflow(queue="quick")
    async def quick(flow: Flow) -> str:
        return await flow.step(quick_step) + " " + await flow.step(quick_step)

    async with app.worker():
        many = await asyncio.gather(*(app.start(slow, id=f"slow{n}") for n in range(50)))
        for n in range(5):
            run = await app.start(quick, id=f"quick{n}")
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await run.result() == "quick quick"
        assert (await app.client.store.counts()) == {"running": 50, "completed": 5}
        gate.set()
        async_gate.set()
        await wait_for(*(run.id for run in many), app=app)
