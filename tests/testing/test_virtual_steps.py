"""Real work is awaited in real time while the clock stands; what hangs is a matter of its timeout, in virtual time."""

import asyncio
import logging
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest

from motet import App, Flow, Retry, StepFailed
from motet.testing import Kit, virtual

START = datetime(2030, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ONCE = Retry(attempts=1)


async def test_a_step_that_starts_a_real_process_takes_no_virtual_time():
    app = App("real")

    @app.step(timeout=60)
    async def compute() -> str:
        program = "import time; time.sleep(0.3); print('six times seven')"
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        return out.decode().strip()

    @app.workflow
    async def ask(flow: Flow) -> tuple[str, datetime]:
        await flow.sleep(DAY)
        answer = await flow.step(compute)
        return answer, flow.now()

    async with virtual(app, patience=60) as kit:
        run = await app.start(ask, id="ask")
        await kit.advance(30 * DAY)
        assert await run.result() == ("six times seven", START + DAY)


async def test_a_step_that_talks_over_a_socket_is_awaited():
    app = App("sockets")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = await reader.readline()
        writer.write(b"hello " + name)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    @app.step
    async def greet(name: str) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(name.encode() + b"\n")
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return answer.decode().strip()

    @app.workflow
    async def visit(flow: Flow, names: list[str]) -> list[str]:
        greetings: list[str] = []
        for name in names:
            await flow.sleep(DAY)
            greetings.append(await flow.step(greet, name))
        return greetings

    async with server, virtual(app, auto=True, patience=60) as kit:
        run = await app.start(visit, ["ada", "bob"], id="visit")
        assert await run.result() == ["hello ada", "hello bob"]
        assert kit.now == START + 2 * DAY


async def test_a_plain_function_is_awaited_in_its_thread():
    app = App("threads")
    gate = threading.Event()
    began = threading.Event()

    @app.step
    def work() -> str:
        began.set()
        assert gate.wait(20)
        return threading.current_thread().name

    @app.workflow
    async def run_it(flow: Flow) -> tuple[str, datetime]:
        name = await flow.step(work)
        return name, flow.now()

    async with virtual(app, patience=60) as kit:
        run = await app.start(run_it, id="run")
        moving = asyncio.create_task(kit.advance(DAY))
        assert await asyncio.to_thread(began.wait, 20)
        assert kit.now == START
        gate.set()
        await moving
        assert await run.result() == ("motet-step", START)


class Bank:
    """Takes its time, virtually."""

    def __init__(self, takes: timedelta) -> None:
        self.takes = takes
        self.kit: Kit | None = None

    async def answer(self) -> str:
        assert self.kit is not None
        await self.kit.sleep(self.takes)
        return "paid"


def _payments(bank: Bank) -> App:
    app = App("payments")

    @app.step(timeout=60, retry=Retry(attempts=2, first=3600, cap=3600, jitter=0))
    async def charge() -> str:
        return await bank.answer()

    @app.workflow
    async def pay(flow: Flow) -> tuple[str, datetime]:
        try:
            answer = await flow.step(charge)
        except StepFailed as failed:
            answer = str(failed)
        return answer, flow.now()

    return app


async def test_a_service_that_takes_its_time_takes_virtual_time(caplog: pytest.LogCaptureFixture):
    bank = Bank(timedelta(seconds=59))
    app = _payments(bank)
    async with virtual(app, patience=10) as bank.kit:
        run = await app.start("payments/pay", id="pay")
        await bank.kit.advance(timedelta(seconds=58))
        assert (await run.status()).state == "running"
        await bank.kit.advance(timedelta(seconds=1))
        assert await run.result() == ("paid", START + timedelta(seconds=59))
    assert "taken to hang" not in caplog.text


async def test_a_service_that_takes_longer_than_the_timeout_is_tried_again_and_given_up():
    bank = Bank(timedelta(seconds=61))
    app = _payments(bank)
    async with virtual(app, auto=True) as bank.kit:
        run = await app.start("payments/pay", id="pay")
        answer, at = await run.result()
        assert "longer than 60 s" in answer
        assert at == START + timedelta(hours=1, minutes=2)


@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_a_step_that_hangs_ends_at_its_timeout_in_virtual_time(kind: str, caplog: pytest.LogCaptureFixture):
    app = App("hanging")
    never = threading.Event()

    @app.step(name="hang-async", timeout=600, retry=ONCE)
    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.to_thread(never.wait, 0.3)  # it lets go in real time, and the clock waits for that

    @app.step(name="hang-plain", timeout=600, retry=ONCE)
    def hang_in_a_thread() -> None:
        never.wait(60)

    @app.workflow
    async def try_it(flow: Flow) -> datetime:
        with pytest.raises(StepFailed, match="longer than 600 s"):
            await flow.step(hang if kind == "async" else hang_in_a_thread)
        return flow.now()

    try:
        with caplog.at_level(logging.WARNING, "motet.testing"):
            async with virtual(app, patience=0.2) as kit:
                run = await app.start(try_it, id="try")
                await kit.advance(DAY)
                assert await run.result() == START + timedelta(seconds=600)
        assert f"hang-{kind} of run 'try' has been at work for 0.2 s and is taken to hang" in caplog.text
    finally:
        never.set()


async def test_a_step_that_hangs_without_a_timeout_holds_up_nobody_else():
    app = App("hanging")
    let_go = asyncio.Event()

    @app.step(timeout=None)
    async def hang() -> None:
        await let_go.wait()

    @app.workflow
    async def stuck(flow: Flow) -> datetime:
        await flow.step(hang)
        return flow.now()

    @app.workflow
    async def sleeper(flow: Flow) -> datetime:
        await flow.sleep(DAY)
        return flow.now()

    async with virtual(app, patience=0.2) as kit:
        first = await app.start(stuck, id="first")
        second = await app.start(sleeper, id="second")
        await kit.advance(2 * DAY)
        assert await second.result() == START + DAY
        let_go.set()
        assert await first.result() == START + 2 * DAY


async def test_a_step_may_not_move_the_clock_for_whose_end_it_waits():
    app = App("meddling")
    kits: list[Kit] = []

    @app.step(retry=ONCE)
    async def meddle(verb: str) -> None:
        kit = kits[0]
        await {"advance": lambda: kit.advance(1), "to": lambda: kit.advance_to(kit.now), "idle": kit.idle}[verb]()

    @app.workflow
    async def try_it(flow: Flow, verb: str) -> str:
        try:
            await flow.step(meddle, verb)
        except StepFailed as failed:
            return str(failed)
        return "it was let"

    async with virtual(app) as kit:
        kits.append(kit)
        for verb in ("advance", "to", "idle"):
            run = await app.start(try_it, verb, id=verb)
            assert "a step cannot call it" in await run.result()
