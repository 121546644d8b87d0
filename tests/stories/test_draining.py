"""A worker that is asked to stop: steps at work may finish, everything else goes on elsewhere at once."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from motet import App, Flow, Retry, Settings

PATIENCE = 30


class Desk:
    """What two workers' steps tell, and what holds up the first of them."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.thread_begun = threading.Event()
        self.thread_goes_on = threading.Event()


def office(folder: Path, name: str, desk: Desk, drain_seconds: float = PATIENCE) -> App:
    settings = Settings(drain_seconds=drain_seconds, sync_threads=1, poll_seconds=0.1)
    app = App("office", store=f"sqlite:///{folder / 'motet.db'}", settings=settings)

    @app.step
    async def slow() -> str:
        desk.begun.set()
        await desk.go_on.wait()
        desk.done.append(f"slow by {name}")
        return "slow"

    @app.step
    async def quick() -> str:
        desk.done.append(f"quick by {name}")
        return "quick"

    @app.step(retry=Retry(attempts=2, first=0.3, jitter=0))
    async def second_time_lucky() -> str:
        if desk.done.count("first try") == 0:
            desk.done.append("first try")
            desk.begun.set()
            raise OSError("not yet")
        desk.done.append(f"second try by {name}")
        return "lucky"

    @app.step
    def hold_thread() -> None:
        desk.thread_begun.set()
        assert desk.thread_goes_on.wait(PATIENCE)
        desk.done.append(f"thread held by {name}")

    @app.step
    def need_thread() -> str:
        desk.done.append(f"thread used by {name}")
        return "used"

    @app.workflow
    async def slow_then_quick(flow: Flow) -> str:
        await flow.step(slow)
        return await flow.step(quick)

    @app.workflow
    async def only_slow(flow: Flow) -> str:
        return await flow.step(slow)

    @app.workflow
    async def retried(flow: Flow) -> str:
        return await flow.step(second_time_lucky)

    @app.workflow
    async def holding(flow: Flow) -> None:
        await flow.step(hold_thread)

    @app.workflow
    async def needing(flow: Flow) -> str:
        return await flow.step(need_thread)

    return app


@asynccontextmanager
async def working(app: App) -> AsyncGenerator[asyncio.Event]:
    """A worker that stops when the event is set, so that a test can watch it stop."""
    up, stop = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        async with app.worker():
            up.set()
            await stop.wait()

    async with asyncio.timeout(2 * PATIENCE), asyncio.TaskGroup() as group:
        group.create_task(work())
        await up.wait()
        yield stop
        stop.set()


async def test_a_step_at_work_finishes_and_the_next_one_is_done_by_the_next_worker(tmp_path: Path) -> None:
    desk = Desk()
    first, second = office(tmp_path, "first", desk), office(tmp_path, "second", desk)
    async with working(first) as stop:
        await first.start("slow_then_quick", id="r")
        await desk.begun.wait()
        async with second.worker():
            stop.set()
            desk.go_on.set()
            assert await second.result("r") == "quick"
    assert desk.done == ["slow by first", "quick by second"]


async def test_a_run_whose_last_step_finishes_in_time_ends_here(tmp_path: Path) -> None:
    desk = Desk()
    first = office(tmp_path, "first", desk)
    async with working(first) as stop:
        await first.start("only_slow", id="r")
        await desk.begun.wait()
        stop.set()
        desk.go_on.set()
    async with office(tmp_path, "looker", desk).connect() as looker:
        assert (await looker.status("r")).state == "completed"


async def test_what_waits_for_a_thread_goes_on_elsewhere_while_the_thread_is_held(tmp_path: Path) -> None:
    desk = Desk()
    first, second = office(tmp_path, "first", desk), office(tmp_path, "second", desk)
    async with working(first) as stop:
        await first.start("holding", id="holding")
        assert await asyncio.to_thread(desk.thread_begun.wait, PATIENCE)
        await first.start("needing", id="needing")
        async with second.worker():
            stop.set()
            assert await second.result("needing") == "used"
            assert desk.done == ["thread used by second"], "not after the grace time, and not twice"
            (draining, _) = await second.client.store.workers()
            assert draining.state == "draining"
            desk.thread_goes_on.set()
            assert await second.result("holding") is None
    assert desk.done == ["thread used by second", "thread held by first"]


async def test_what_waits_for_its_next_attempt_keeps_its_time(tmp_path: Path) -> None:
    desk = Desk()
    first, second = office(tmp_path, "first", desk), office(tmp_path, "second", desk)
    async with working(first) as stop:
        await first.start("retried", id="r")
        await desk.begun.wait()
        async with second.worker():
            stop.set()
            assert await second.result("r") == "lucky"
    assert desk.done == ["first try", "second try by second"]


async def test_a_step_that_takes_longer_than_the_grace_time_is_done_again(tmp_path: Path) -> None:
    desk = Desk()
    first, second = office(tmp_path, "first", desk, drain_seconds=0.05), office(tmp_path, "second", desk)
    async with working(first) as stop:
        await first.start("only_slow", id="r")
        await desk.begun.wait()
        stop.set()
    desk.go_on.set()
    async with second.worker():
        assert await second.result("r") == "slow"
    assert desk.done == ["slow by second"]
