"""Weeks in milliseconds: what is durable happens in virtual time, each thing at its time and in order of time."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from motet import App, Flow, Queue, Retry, RunFailed, Settings, attempt
from motet.testing import Kit, virtual

START = datetime(2030, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


class Diary:
    """What the world has seen, and how long after the start by the kit's clock."""

    def __init__(self) -> None:
        self.kit: Kit | None = None
        self.entries: list[tuple[str, timedelta]] = []

    def note(self, what: str) -> None:
        assert self.kit is not None
        self.entries.append((what, self.kit.now - START))


@pytest.fixture
def diary() -> Diary:
    return Diary()


class Stories(App):
    """An app with a step that writes into the diary, and a month of a trial."""

    def __init__(self, diary: Diary) -> None:
        super().__init__("stories")

        @self.step
        async def write(what: str) -> None:
            diary.note(what)

        @self.workflow
        async def trial(flow: Flow, name: str) -> timedelta:
            began = flow.now()
            await flow.sleep(3 * DAY)
            await flow.step(write, f"welcome {name}")
            await asyncio.sleep(DAY.total_seconds())
            await flow.step(write, f"remind {name}")
            async with asyncio.timeout(27 * DAY.total_seconds()):
                await flow.sleep(26 * DAY)
            return flow.now() - began

        self.write = write
        self.trial = trial


@pytest.fixture
def app(diary: Diary) -> Stories:
    return Stories(diary)


async def test_a_month_goes_by_with_everything_at_its_time(app: Stories, diary: Diary):
    async with virtual(app) as diary.kit:
        kit = diary.kit
        run = await app.start(app.trial, "ada", id="ada")
        await kit.advance(2 * DAY)
        assert diary.entries == []
        await kit.advance(1.5 * DAY)
        assert diary.entries == [("welcome ada", 3 * DAY)]
        await kit.advance(30 * DAY)
        assert diary.entries == [("welcome ada", 3 * DAY), ("remind ada", 4 * DAY)]
        assert await run.result() == 30 * DAY
        assert kit.now == START + 33.5 * DAY


async def test_several_runs_interleave_in_order_of_time_whatever_the_order_of_their_starts(app: Stories, diary: Diary):
    async with virtual(app) as diary.kit:
        await app.start(app.trial, "first", id="first")
        await diary.kit.advance(12 * HOUR)
        await app.start(app.trial, "second", id="second")
        await diary.kit.advance(30 * DAY)
        assert diary.entries == [
            ("welcome first", 3 * DAY), ("welcome second", 3.5 * DAY), ("remind first", 4 * DAY),
            ("remind second", 4.5 * DAY),
        ]  # fmt: skip


async def test_by_itself_whenever_the_app_is_idle(app: Stories, diary: Diary):
    async with virtual(app, auto=True) as diary.kit:
        run = await app.start(app.trial, "ada", id="ada")
        assert await run.result() == 30 * DAY
        assert diary.entries == [("welcome ada", 3 * DAY), ("remind ada", 4 * DAY)]
        assert diary.kit.now == START + 30 * DAY


async def test_by_itself_and_by_hand(app: Stories, diary: Diary):
    async with virtual(app, auto=True) as diary.kit:
        await diary.kit.advance(DAY)  # nothing is due, so only the hand moves it
        assert diary.kit.now == START + DAY
        run = await app.start(app.trial, "ada", id="ada")
        assert await run.result() == 30 * DAY
        await diary.kit.advance(HOUR)
        assert diary.kit.now == START + 31 * DAY + HOUR


async def test_the_waits_between_attempts_are_virtual(app: Stories, diary: Diary):
    @app.step(retry=Retry(attempts=4, first=HOUR, factor=3, cap=DAY, jitter=0), timeout=10)
    async def flaky() -> int:
        diary.note(f"attempt {attempt().number}")
        if attempt().number < 4:
            raise ConnectionError("the bank is closed")
        return attempt().number

    @app.workflow
    async def pay(flow: Flow) -> int:
        return await flow.step(flaky)

    async with virtual(app) as diary.kit:
        run = await app.start(pay, id="pay")
        await diary.kit.idle()
        assert diary.entries == [("attempt 1", timedelta())]
        await diary.kit.advance(DAY)
        assert await run.result() == 4
        assert [when for _, when in diary.entries] == [0 * HOUR, HOUR, 4 * HOUR, 13 * HOUR]


async def test_a_deadline_undoes_what_was_done_also_with_days_between_the_attempts(app: Stories, diary: Diary):
    @app.step
    async def reserve() -> str:
        diary.note("reserve")
        return "seat 7"

    @reserve.compensation(retry=Retry(attempts=3, first=DAY, factor=1, cap=DAY, jitter=0))
    async def release(seat: str | None) -> None:
        diary.note(f"release {seat}")
        if attempt().number < 3:
            raise ConnectionError("closed on Sundays")

    @app.workflow(deadline=7 * DAY)
    async def order(flow: Flow) -> None:
        await flow.step(reserve)
        await flow.sleep(365 * DAY)

    async with virtual(app) as diary.kit:
        run = await app.start(order, id="order")
        await diary.kit.advance(8 * DAY)
        assert (await run.status()).state == "compensating"
        await diary.kit.advance(7 * DAY)
        with pytest.raises(RunFailed, match="DeadlineExceeded"):
            await run.result()
        assert diary.entries == [
            ("reserve", 0 * DAY), ("release seat 7", 7 * DAY), ("release seat 7", 8 * DAY), ("release seat 7", 9 * DAY)
        ]  # fmt: skip


async def test_a_loop_without_end_goes_as_far_as_the_clock_does(app: Stories, diary: Diary):
    @app.step
    async def report(day: datetime) -> None:
        diary.note(f"{day:%F}")

    @app.workflow
    async def daily(flow: Flow) -> None:
        while True:
            await flow.sleep(DAY)
            await flow.step(report, flow.now())

    @app.workflow
    async def monthly(flow: Flow) -> None:
        await flow.sleep(30 * DAY)
        await flow.step(report, flow.now())
        flow.restart()

    async with virtual(app) as diary.kit:
        await app.start(daily, id="daily")
        await app.start(monthly, id="monthly")
        await diary.kit.advance(59.5 * DAY)
        days = [when // DAY for _, when in diary.entries]
        assert sorted(days) == sorted([*range(1, 60), 30])
        assert days == sorted(days)
        assert diary.entries[0] == ("2030-01-02", DAY)


async def test_children_have_the_time_of_their_parents(app: Stories, diary: Diary):
    @app.workflow
    async def parent(flow: Flow, names: list[str]) -> list[timedelta]:
        return await asyncio.gather(*(flow.child(app.trial, name, id=f"child-{name}") for name in names))

    async with virtual(app, auto=True) as diary.kit:
        run = await app.start(parent, ["a", "b"], id="parent")
        assert await run.result() == [30 * DAY, 30 * DAY]
        assert diary.kit.now == START + 30 * DAY


async def test_runs_that_have_left_memory_are_due_all_the_same(app: Stories, diary: Diary):
    impatient = Settings(idle_seconds=0.001, drain_seconds=0.1)
    async with virtual(app, settings=impatient) as diary.kit:
        worker = app.client.worker
        assert worker is not None
        runs = [await app.start(app.trial, f"{number}", id=f"run-{number}") for number in range(5)]
        await _until(lambda: not worker.drivers)
        assert (await runs[0].status()).wake_at == "2030-01-04T00:00:00.000Z"
        await diary.kit.advance(31 * DAY)
        assert [await run.result() for run in runs] == [30 * DAY] * 5
        assert sorted(when for _, when in diary.entries) == [3 * DAY] * 5 + [4 * DAY] * 5


async def test_runs_that_wait_for_a_place_in_their_queue_get_it_in_time(app: Stories, diary: Diary):
    narrow: Queue = app.queue("narrow", concurrency=1)

    @app.workflow(queue=narrow)
    async def visit(flow: Flow, name: str) -> None:
        await flow.step(app.write, f"{name} comes")
        await flow.sleep(DAY)
        await flow.step(app.write, f"{name} goes")

    async with virtual(app) as diary.kit:
        for name in "abc":
            await app.start(visit, name, id=name)
        await diary.kit.idle()  # who only waits makes place for the next one
        assert sorted(diary.entries) == [(f"{name} comes", 0 * DAY) for name in "abc"]
        await diary.kit.advance(DAY)
        assert sorted(diary.entries[3:]) == [(f"{name} goes", DAY) for name in "abc"]
        assert [(await app.status(name)).state for name in "abc"] == ["completed"] * 3


async def test_a_run_ends_at_its_deadline_and_not_when_somebody_looks(app: Stories, diary: Diary):
    @app.workflow(deadline=2 * DAY)
    async def patient(flow: Flow) -> str:
        await flow.sleep(3 * DAY)
        return "never"

    async with virtual(app) as diary.kit:
        run = await app.start(patient, id="patient")
        await diary.kit.advance(10 * DAY)
        with pytest.raises(RunFailed):
            await run.result()
        assert (await run.status()).ended_at == "2030-01-03T00:00:00.000Z"


async def test_a_person_comes_after_a_week(app: Stories, diary: Diary):
    @app.workflow
    async def wait(flow: Flow) -> None:
        await flow.sleep(365 * DAY)

    async with virtual(app) as diary.kit:
        run = await app.start(wait, id="wait")
        await diary.kit.advance(7 * DAY)
        await run.cancel()
        await diary.kit.idle()
        status = await run.status()
        assert (status.state, status.ended_at) == ("cancelled", "2030-01-08T00:00:00.000Z")


async def _until(holds, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.01)  # tidy: the thing that is waited for tells nobody
