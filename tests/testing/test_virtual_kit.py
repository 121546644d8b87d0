"""The kit itself: what it leaves alone, what it leaves behind, what it refuses, and its face for plain functions."""

import asyncio
import os
import random
import tempfile
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from motet import App, Flow, RunFailed, RunHandle, Settings
from motet.errors import NotConnected, StoreMissing, WrongPlace
from motet.model.clock import SYSTEM
from motet.runtime.outlook import Outlook
from motet.testing import virtual

START = datetime(2030, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)

REAL_STORE = Path(tempfile.gettempdir(), "motet-must-never-be-made", "real.db")


@asynccontextmanager
async def real_pool(app: App) -> AsyncGenerator[str]:
    yield "the real pool"


shop = App("shop", store=f"sqlite:///{REAL_STORE}", settings=Settings(idle_seconds=7), lifespan=real_pool)


@shop.step
def pool_used() -> str:
    return str(shop.resources)


@shop.workflow
async def trial(flow: Flow, days: int) -> datetime:
    await flow.sleep(timedelta(days=days))
    return flow.now()


@shop.workflow
async def look(flow: Flow) -> str:
    return await flow.step(pool_used)


@shop.workflow
async def careless(flow: Flow, path: str) -> bool:
    return open(path, "w").closed  # noqa: ASYNC230  # motet: ok what the kit refuses


async def until(holds, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.01)  # tidy: the thing that is waited for tells nobody


async def test_an_app_of_a_module_is_itself_again_after_the_block():
    for _ in range(3):
        async with virtual(shop) as kit:
            assert shop.settings.store == kit.store != f"sqlite:///{REAL_STORE}"
            run = await shop.start(trial, 3, id="same-id-in-each-kit")
            await kit.advance(5 * DAY)
            assert await run.result() == START + 3 * DAY
            assert kit.now == START + 5 * DAY
        assert shop.settings == Settings(store=f"sqlite:///{REAL_STORE}", idle_seconds=7)
    assert not REAL_STORE.parent.exists()
    with pytest.raises(NotConnected):
        await shop.start(trial, 3, id="outside")


async def test_resources_are_the_apps_own_or_the_tests():
    @asynccontextmanager
    async def fake_pool(app: App) -> AsyncGenerator[str]:
        yield "a fake"

    async with virtual(shop):
        assert await (await shop.start(look, id="look")).result() == "the real pool"
    async with virtual(shop, lifespan=fake_pool):
        assert await (await shop.start(look, id="look")).result() == "a fake"
    async with virtual(shop):
        assert await (await shop.start(look, id="look")).result() == "the real pool"


async def test_a_test_that_fails_leaves_no_thread_and_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(threading.enumerate())
    never = asyncio.Event()
    app = App("failing")

    @app.step
    async def hang() -> None:
        await never.wait()

    @app.step
    def plain() -> None: ...

    @app.workflow
    async def stuck(flow: Flow) -> None:
        await flow.step(plain)
        await flow.step(hang)

    async def failing_test(*, auto: bool) -> None:
        async with virtual(app, auto=auto, settings=Settings(drain_seconds=0.05)):
            await app.start(stuck, id="stuck")
            await app.start(stuck, id="stuck too")
            assert list(tmp_path.iterdir())
            raise ZeroDivisionError

    for auto in (False, True):
        with pytest.raises(ZeroDivisionError):
            await failing_test(auto=auto)
        assert list(tmp_path.iterdir()) == []
    await until(lambda: set(threading.enumerate()) <= before)
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("motet")] == []


async def test_a_store_of_ones_own_is_kept_and_goes_on_where_it_stood(tmp_path: Path):
    address = f"sqlite:///{tmp_path / 'kept.db'}"
    async with virtual(shop, store=address) as kit:
        await shop.start(trial, 30, id="trial")
        await kit.advance(10 * DAY)
        ended = kit.now
    assert (tmp_path / "kept.db").exists()
    async with virtual(shop, store=address, start=ended) as kit:
        await kit.advance(20 * DAY - timedelta(microseconds=1))
        assert (await shop.status("trial")).state in ("running", "waiting")
        await kit.advance(timedelta(microseconds=1))
        assert await shop.result("trial") == START + 30 * DAY


async def test_two_apps_share_a_store_and_a_clock():
    one, other = App("one"), App("other")
    seen: list[str] = []

    def declare(app: App) -> None:
        @app.step
        async def note(name: str) -> None:
            seen.append(name)

        @app.workflow
        async def wait(flow: Flow, days: int) -> None:
            await flow.sleep(days * DAY)
            await flow.step(note, f"{app.name} {days}")

    declare(one)
    declare(other)
    async with virtual(one, other) as kit:
        for days in (3, 1):
            await one.start("one/wait", days, id=f"one-{days}")
            await other.start("other/wait", days + 1, id=f"other-{days}")
        await kit.advance(10 * DAY)
        assert seen == ["one 1", "other 2", "one 3", "other 4"]
        assert await other.result("one-3") is None


async def test_what_it_refuses():
    async with virtual(shop) as kit:
        with pytest.raises(NotConnected, match="leave that connection"):
            async with virtual(shop):
                pass
        with pytest.raises(ValueError, match="backwards: it is 2030-01-01 00:00:00 UTC"):
            await kit.advance(-1)
        with pytest.raises(ValueError, match="backwards"):
            await kit.advance_to(START - DAY)
        with pytest.raises(ValueError, match="no time zone"):
            await kit.advance_to(datetime(2031, 1, 1))  # noqa: DTZ001 - what this is about
        with pytest.raises(ValueError, match="year 9999"):
            await kit.advance(10_000 * 366 * DAY)
        assert kit.now == START
        with pytest.raises(WrongPlace, match="async with virtual"), virtual(App("other")):
            pass
        run = await shop.start(trial, 1, id="still works")
        await kit.advance_to(START + DAY)
        assert await run.result() == START + DAY
    with pytest.raises(ValueError, match="no time zone"):
        virtual(shop, start=datetime(2031, 1, 1))  # noqa: DTZ001 - what this is about


async def test_blocking_calls_in_a_body_are_refused_inside_the_block(tmp_path: Path):
    from motet.orchestration.guard import set_guard

    before = set_guard(False)
    try:
        async with virtual(shop):
            run = await shop.start(careless, str(tmp_path / "file"), id="careless")
            with pytest.raises(RunFailed, match="BlockingCallInWorkflow"):
                await run.result()
        assert list(tmp_path.iterdir()) == []
        assert set_guard(False) is False
    finally:
        set_guard(before)


def test_the_kit_for_plain_functions():
    with virtual(shop, start=datetime(2012, 2, 28, tzinfo=UTC)) as kit:
        shop.sync.start(trial, 2, id="trial")
        kit.idle()
        assert shop.sync.status("trial").state == "running"
        kit.advance(DAY)
        assert kit.now == datetime(2012, 2, 29, tzinfo=UTC)
        kit.advance_to(datetime(2012, 3, 1, tzinfo=UTC))
        assert shop.sync.result("trial", timeout=20) == datetime(2012, 3, 1, tzinfo=UTC)
    with virtual(shop, auto=True) as kit:
        assert shop.sync.result(shop.sync.start(trial, 60, id="trial"), timeout=20) == START + 60 * DAY


def test_an_error_at_the_door_reaches_the_plain_function(tmp_path: Path):
    (tmp_path / "file").write_text("this is no store" * 1000)
    with pytest.raises(Exception, match="file"), virtual(shop, store=f"sqlite:///{tmp_path / 'file'}"):
        pytest.fail("there is no store to be in")
    with pytest.raises(ZeroDivisionError), virtual(shop):
        raise ZeroDivisionError
    with virtual(shop) as kit:
        assert kit.now == START


class Broken:
    """A part that cannot say what it has to do."""

    async def outlook(self) -> Outlook:
        raise ZeroDivisionError("the part is broken")

    def look(self) -> None: ...


async def test_a_clock_that_cannot_go_on_by_itself_says_why():
    async def story(*, broken: bool) -> datetime:
        async with asyncio.timeout(20), virtual(shop, auto=True):
            if broken:
                _break(shop)
            return await (await shop.start(trial, 1, id="trial")).result()

    with pytest.raises(ZeroDivisionError, match="the part is broken"):
        await story(broken=True)
    assert await story(broken=False) == START + DAY


def test_it_says_so_to_a_plain_function_too():
    def story() -> None:
        with virtual(shop, auto=True):
            run = shop.sync.start(trial, 1, id="trial")
            _break(shop)
            with suppress(CancelledError):  # if it is in time
                shop.sync.result(run, timeout=20)
            for thread in threading.enumerate():
                if thread.name == "motet-virtual-time":
                    thread.join(20)
            with pytest.raises(StoreMissing, match="no folder .*motet-"):  # by no means the app's own store
                shop.sync.start(trial, 1, id="another")

    for _ in range(3):
        with pytest.raises(ZeroDivisionError, match="the part is broken"):
            story()
    assert not REAL_STORE.parent.exists()


def _break(app: App) -> None:
    worker = app.client.worker
    assert worker is not None
    worker.parts.append(Broken())


class Meddler:
    """A part that cancels a run while the other parts have just been asked."""

    def __init__(self, run: RunHandle[datetime]) -> None:
        self.run: RunHandle[datetime] | None = run

    async def outlook(self) -> Outlook:
        run, self.run = self.run, None
        if run is not None:
            await run.cancel()
        return Outlook(busy=False)

    def look(self) -> None: ...


async def test_what_happens_while_the_parts_are_asked_happens_before_the_clock_moves():
    async with virtual(shop) as kit:
        run = await shop.start(trial, 1, id="trial")
        worker = shop.client.worker
        assert worker is not None
        worker.parts.append(Meddler(run))
        await kit.advance(DAY)
        assert (await run.status()).ended_at == "2030-01-01T00:00:00.000Z"


async def test_moving_the_clock_costs_little_when_nothing_is_due():
    async with virtual(shop) as kit:
        await shop.start(trial, 3_000, id="long")
        began = SYSTEM.monotonic()
        for _ in range(2_000):
            await kit.advance(3600)
        assert SYSTEM.monotonic() - began < 20  # measured: 0.3 s
        assert kit.now == START + timedelta(hours=2_000)


async def test_whatever_sleeps_for_whatever_time_wakes_up_on_time_and_in_order():
    seed = int(os.environ.get("MOTET_SEED", "0")) or random.randrange(1_000_000)
    print(f"MOTET_SEED={seed}")
    chance = random.Random(seed)
    app = App("chance")
    seen: list[tuple[datetime, str]] = []
    plans = [[chance.choice([0.0, 1.0, 60.0, 3600.5, 1e5, 1e6]) * chance.random() for _ in range(5)] for _ in range(30)]

    @app.step
    async def note(name: str) -> None:
        if chance.random() < 0.3:
            await asyncio.sleep(0.001)  # tidy: real work, which the clock is to wait for
        seen.append((kit.now, name))

    @app.workflow
    async def sleeper(flow: Flow, number: int) -> None:
        for index, seconds in enumerate(plans[number]):
            await flow.sleep(seconds)
            await flow.step(note, f"{number}.{index}")

    impatient = Settings(idle_seconds=0.001, resident_limit=10)
    async with virtual(app, settings=impatient, patience=60) as kit:
        for number in range(len(plans)):
            await app.start(sleeper, number, id=f"{number}")
        while kit.now < START + 60 * DAY:
            await kit.advance(chance.choice([1.0, 1e3, 1e5, 1e6]) * chance.random() + 1000)
        expected: list[tuple[datetime, str]] = []
        for number, plan in enumerate(plans):
            at = START
            for index, seconds in enumerate(plan):
                at += timedelta(microseconds=round(seconds * 1e6))
                expected.append((at, f"{number}.{index}"))
    assert [at for at, _ in seen] == sorted(at for at, _ in seen)
    assert [name for _, name in sorted(seen)] == [name for _, name in sorted(expected)]
    drift = max(abs(one - other) for (one, _), (other, _) in zip(sorted(seen), sorted(expected), strict=True))
    assert drift < timedelta(milliseconds=1)  # seconds are floats
