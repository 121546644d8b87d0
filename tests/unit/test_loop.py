"""The deterministic loop: asyncio works in it, nothing leaks in or out, and leaving memory is quiet."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from motet.errors import EndlessLoop, NotInWorkflow
from motet.orchestration.loop import DeterministicLoop, MachineClosed


class Timer:
    def __init__(self, due: float, fire: Callable[[], None], kind: str) -> None:
        self.due, self.fire, self.kind = due, fire, kind
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Rig:
    """A machine in small: it gives the time, keeps timers, and drains after each of them."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[Timer] = []
        self.log: list[object] = []
        self.loop = DeterministicLoop(lambda: self.now, self)

    def start_timer(self, due: float, fire: Callable[[], None], kind: str) -> Timer:
        timer = Timer(due, fire, kind)
        self.timers.append(timer)
        return timer

    def start(self, body: Callable[[Rig], Any]) -> asyncio.Task[Any]:
        main = self.loop.create_task(body(self))
        self.loop.drain()
        return main

    def tick(self) -> bool:
        """Resolve the timer that is due next."""
        waiting = sorted((t for t in self.timers if not t.cancelled), key=lambda t: t.due)
        if not waiting:
            return False
        self.timers.remove(waiting[0])
        self.now = waiting[0].due
        waiting[0].fire()
        self.loop.drain()
        return True

    def run(self, body: Callable[[Rig], Any]) -> Any:
        main = self.start(body)
        while not main.done() and self.tick():
            pass
        result = main.result()
        self.loop.close()
        return result


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.loop.close()


@pytest.fixture
def quiet(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fails when anything was said: on stderr, to a logger, or about an error that could not be raised."""
    unraisable: list[object] = []
    hook, sys.unraisablehook = sys.unraisablehook, lambda event: unraisable.append(event.exc_value)
    try:
        yield
        for _ in range(3):
            gc.collect()
    finally:
        sys.unraisablehook = hook
    assert unraisable == []
    assert capfd.readouterr().err == ""
    assert caplog.records == []


# --- asyncio works ------------------------------------------------------------------------------------------


def test_gather_and_sleep(rig: Rig) -> None:
    async def body(flow: Rig) -> list[int]:
        async def one(number: int) -> int:
            await asyncio.sleep(10 - number)
            flow.log.append(number)
            return number

        return await asyncio.gather(*[one(number) for number in range(3)])

    assert rig.run(body) == [0, 1, 2]
    assert rig.log == [2, 1, 0]
    assert rig.now == 1010.0


def test_the_kinds_of_timers(rig: Rig) -> None:
    async def body(flow: Rig) -> None:
        asyncio.get_running_loop().call_later(1, flow.log.append, "called")
        async with asyncio.timeout(2):
            await asyncio.sleep(0)
            await asyncio.sleep(3)

    main = rig.start(body)
    assert [(timer.due - 1000, timer.kind) for timer in rig.timers] == [
        (1, "timer"),
        (2, "timer"),
        (3, "sleep"),
    ]
    assert rig.tick()
    assert rig.log == ["called"]
    assert rig.tick()
    with pytest.raises(TimeoutError):
        main.result()
    assert [timer.cancelled for timer in rig.timers] == [True]  # the sleep has been given up


def test_a_timer_that_fired_or_was_cancelled(rig: Rig) -> None:
    loop = rig.loop
    fired = loop.call_later(5, rig.log.append, "fired")
    cancelled = loop.call_later(6, rig.log.append, "cancelled")
    late = loop.call_later(7, rig.log.append, "cancelled after it fired")
    assert fired.when() == 1005.0
    first, second, third = rig.timers
    cancelled.cancel()
    assert second.cancelled
    assert cancelled.cancelled()
    third.fire()
    late.cancel()
    assert not third.cancelled
    first.fire()
    loop.drain()
    fired.cancel()
    assert not first.cancelled
    assert rig.log == ["fired"]


def test_what_is_due_needs_no_timer_and_for_ever_neither(rig: Rig) -> None:
    for due in (-1.0, 0.0, 1000.0):
        rig.loop.call_at(due, rig.log.append, due)
    rig.loop.call_later(float("inf"), rig.log.append, "never").cancel()
    with pytest.raises(ValueError, match="NaN"):
        rig.loop.call_later(float("nan"), rig.log.append, "never")
    assert rig.timers == []
    rig.loop.drain()
    assert rig.log == [-1.0, 0.0, 1000.0]


def test_timeouts(rig: Rig) -> None:
    async def body(flow: Rig) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.sleep(2)
        async with asyncio.timeout(2):
            await asyncio.sleep(1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(2), 1)
        assert await asyncio.wait_for(asyncio.sleep(1, "slept"), 2) == "slept"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(2), 0)

    rig.run(body)
    assert rig.now == 1004.0


def test_wait_for_the_first(rig: Rig) -> None:
    async def body(flow: Rig) -> tuple[list[str], int]:
        tasks = [asyncio.create_task(asyncio.sleep(seconds, f"{seconds}")) for seconds in (3, 1, 2)]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        done_in_time, late = await asyncio.wait(pending, timeout=1.5)
        return [task.result() for task in (*done, *done_in_time)], len(late)

    assert rig.run(body) == (["1", "2"], 1)


def test_shield(rig: Rig) -> None:
    async def body(flow: Rig) -> str:
        inner = asyncio.create_task(asyncio.sleep(5, "kept"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(inner), 1)
        return await inner

    assert rig.run(body) == "kept"


def test_queue_event_semaphore_condition_barrier(rig: Rig) -> None:
    async def body(flow: Rig) -> None:
        queue: asyncio.Queue[int] = asyncio.Queue(maxsize=1)
        event, gate, barrier = asyncio.Event(), asyncio.Semaphore(1), asyncio.Barrier(2)

        async def producer() -> None:
            for number in range(3):
                await queue.put(number)
            async with gate:
                event.set()
            await barrier.wait()

        async def consumer() -> None:
            for _ in range(3):
                async with gate:
                    await asyncio.sleep(1)
                flow.log.append(await queue.get())
            await event.wait()
            await barrier.wait()

        await asyncio.gather(producer(), consumer())

    rig.run(body)
    assert rig.log == [0, 1, 2]


def test_task_group(rig: Rig) -> None:
    async def body(flow: Rig) -> None:
        async def child(name: str, seconds: float) -> None:
            try:
                await asyncio.sleep(seconds)
                raise ValueError(name)
            except asyncio.CancelledError:
                flow.log.append(name)
                raise

        try:
            async with asyncio.TaskGroup() as group:
                for name in "abcd":
                    group.create_task(child(name, 1 if name == "b" else 9))
        except ExceptionGroup as caught:
            flow.log.append([str(error) for error in caught.exceptions])

    rig.run(body)
    assert rig.log == ["a", "c", "d", ["b"]]


def test_cancelled_from_outside(rig: Rig) -> None:
    async def body(flow: Rig) -> str:
        async def child(name: str) -> None:
            try:
                await forever()
            finally:
                await asyncio.sleep(1)
                flow.log.append(name)

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(child("a"))
                group.create_task(child("b"))
        except asyncio.CancelledError:
            flow.log.append(flow.now)
        return "undone"

    main = rig.start(body)
    main.cancel()
    assert rig.log == []
    rig.loop.drain()
    assert rig.tick()
    assert rig.tick()
    assert main.result() == "undone"
    assert rig.log == ["a", "b", 1001.0]


def test_async_generators(rig: Rig) -> None:
    async def numbers(flow: Rig) -> Any:
        try:
            for number in range(3):
                await asyncio.sleep(1)
                yield number
        finally:
            await asyncio.sleep(1)
            flow.log.append("finished")

    async def body(flow: Rig) -> None:
        flow.log.extend([number async for number in numbers(flow)])
        async for _ in numbers(flow):
            break
        await asyncio.sleep(5)
        flow.log.append("end")

    rig.run(body)
    assert rig.log == ["finished", 0, 1, 2, "finished", "end"]


def test_tasks_are_named_and_kept_in_order(rig: Rig) -> None:
    async def body(flow: Rig) -> list[str]:
        for _ in range(40):
            await asyncio.create_task(asyncio.sleep(0))
        tasks = [asyncio.create_task(asyncio.sleep(1)) for _ in range(20)]
        asyncio.create_task(asyncio.sleep(1), name="mine")  # noqa: RUF006
        await asyncio.sleep(0)
        tasks[3].cancel()
        await asyncio.sleep(0)
        return [task.get_name() for task in flow.loop.live_tasks()]

    main = rig.start(body)
    expected = [f"Task-{number}" for number in (1, *range(42, 62)) if number != 45]
    assert main.result() == [*expected, "mine"]
    assert len(rig.loop._tasks) < 50


def test_a_task_that_nobody_holds_is_not_collected(rig: Rig) -> None:
    async def body(flow: Rig) -> None:
        async def forgotten() -> None:
            await asyncio.get_running_loop().create_future()

        asyncio.create_task(forgotten())  # noqa: RUF006 - that is the point
        await asyncio.sleep(0)
        gc.collect()
        flow.log.append(len(flow.loop.live_tasks()))

    rig.start(body)
    assert rig.log == [2]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
def test_eager_tasks(rig: Rig) -> None:
    async def body(flow: Rig) -> None:
        async def child() -> None:
            flow.log.append(asyncio.current_task())
            await asyncio.sleep(1)

        loop: Any = asyncio.get_running_loop()
        task = loop.create_task(child(), eager_start=True)
        assert flow.log == [task]
        assert flow.log[0] in {task, None}
        await task

    rig.run(body)


# --- the same in every process ------------------------------------------------------------------------------

ORDERS = """
import asyncio, random, sys
from tests.unit.test_loop import Rig

garbage = [object() for _ in range(int(sys.argv[1]))]

async def body(flow):
    log = []
    futures = [flow.loop.create_future() for _ in range(7)]

    async def child(name):
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            log.append(name)
            garbage.append(bytearray(random.randrange(1, 5000)))
            raise

    for round in range(3):
        try:
            async with asyncio.TaskGroup() as group:
                for name in range(20):
                    group.create_task(child(name))
                    garbage.append(bytearray(random.randrange(1, 5000)))
                await asyncio.sleep(0)
                raise ValueError
        except* ValueError:
            log.append("next")
    gathered = [asyncio.gather(asyncio.sleep(50), asyncio.sleep(60)) for _ in range(9)]
    tasks = [asyncio.create_task(asyncio.sleep(number)) for number in range(9)]
    done, pending = await asyncio.wait([*gathered, *tasks, *futures], timeout=4.5)
    places = {item: number for number, item in enumerate([*gathered, *tasks, *futures])}
    log += [places[item] for item in done] + ["pending"] + [places[item] for item in pending]
    for task in asyncio.as_completed(tasks):
        await task
        log.append(flow.now)
    return log

rig = Rig()
print(rig.run(body))
"""


def python(*arguments: str, seed: str = "0") -> subprocess.CompletedProcess[str]:
    """Run another interpreter that finds what this one finds."""
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
    )  # fmt: skip


def test_sets_of_tasks_iterate_alike_in_every_process() -> None:
    outputs = []
    for seed, garbage in (("0", 0), ("1", 999), ("2", 12_345)):
        ran = python("-c", ORDERS, str(garbage), seed=seed)
        assert ran.returncode == 0, ran.stderr
        outputs.append(ran.stdout)
    assert outputs[0].count("next") == 3
    assert len(set(outputs)) == 1


def test_siblings_are_cancelled_in_creation_order(rig: Rig) -> None:
    """While a set's table has no wrap, number order is creation order: so for the first group of a body."""

    async def body(flow: Rig) -> None:
        async def child(name: int) -> None:
            try:
                await asyncio.sleep(9)
            finally:
                flow.log.append(name)

        with contextlib.suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                for name in range(12):
                    group.create_task(child(name))
                await asyncio.sleep(0)
                raise ValueError

    rig.run(body)
    assert rig.log == list(range(12))


def test_tasks_of_many_runs_do_not_collide_in_asyncios_own_set() -> None:
    rigs = [Rig() for _ in range(50)]
    mains = [rig.loop.create_task(asyncio.sleep(0)) for rig in rigs]
    known: Any = getattr(asyncio.tasks, "_all_tasks", None) or getattr(asyncio.tasks, "_scheduled_tasks", None)
    data = getattr(known, "data", None)
    if data is None:
        pytest.skip("this Python keeps its tasks in a list")
    ours = [reference for reference in data if reference() in mains]
    assert len(ours) == 50
    assert len({hash(reference) for reference in ours}) == 50
    assert {hash(main) for main in mains} == {1}
    for rig in rigs:
        rig.loop.close()


def test_equality_stays_identity(rig: Rig) -> None:
    future, other = rig.loop.create_future(), Rig().loop.create_future()
    assert hash(future) == hash(other) == 1
    assert future != other
    assert len({future, other}) == 2


# --- what is refused ----------------------------------------------------------------------------------------


def refused(rig: Rig, body: Callable[[Rig], Any], words: str) -> None:
    main = rig.start(body)
    assert main.done()
    with pytest.raises(NotInWorkflow, match=words):
        main.result()


def test_as_completed_on_coroutines(rig: Rig) -> None:
    async def body(flow: Rig) -> None:
        coroutines = [asyncio.sleep(1), asyncio.sleep(2)]
        try:
            for first in asyncio.as_completed(coroutines):
                await first
        finally:
            for coroutine in coroutines:
                coroutine.close()

    refused(rig, body, r"wrap each in asyncio\.create_task first")


@pytest.mark.parametrize(
    "call",
    [
        lambda loop: loop.run_in_executor(None, int),
        lambda loop: asyncio.to_thread(int),
        lambda loop: asyncio.open_connection("localhost", 1),
        lambda loop: asyncio.start_server(print, "localhost", 1),
        lambda loop: asyncio.create_subprocess_exec("true"),
        lambda loop: loop.getaddrinfo("localhost", 1),
        lambda loop: loop.add_signal_handler(2, print),
        lambda loop: loop.call_soon_threadsafe(print),
    ],
)
def test_io_and_threads(rig: Rig, call: Callable[[asyncio.AbstractEventLoop], Any]) -> None:
    async def body(flow: Rig) -> None:
        await call(asyncio.get_running_loop())

    refused(rig, body, "do this in a step")


def test_control_of_the_loop(rig: Rig) -> None:
    async def body(flow: Rig) -> None:
        asyncio.get_running_loop().stop()

    refused(rig, body, "leave it out")


def test_every_method_of_a_loop_is_written_here_or_refused(rig: Rig) -> None:
    for name in vars(asyncio.AbstractEventLoop):
        if not name.startswith("__"):
            assert name in vars(DeterministicLoop), name


def test_futures_of_others(rig: Rig) -> None:
    foreign = asyncio.new_event_loop()
    future = foreign.create_future()

    async def awaits(flow: Rig) -> None:
        await future

    async def waits(flow: Rig) -> None:
        await asyncio.wait([future])

    async def wraps(flow: Rig) -> None:
        await asyncio.wrap_future(concurrent.futures.Future())

    async def unnumbered(flow: Rig) -> None:
        await asyncio.wait([asyncio.Future()])

    with pytest.raises(RuntimeError, match="attached to a different loop"):
        rig.start(awaits).result()
    refused(rig, waits, "belongs to another event loop")
    refused(rig, wraps, "wait for it in a step")
    refused(rig, unnumbered, "create_future")
    foreign.close()


def test_a_run_may_not_wake_another(rig: Rig) -> None:
    event = asyncio.Event()
    other = Rig()

    async def waits(flow: Rig) -> None:
        await event.wait()

    async def wakes(flow: Rig) -> None:
        event.set()

    main = other.start(waits)
    refused(rig, wakes, "woken another run")
    assert not main.done()
    other.loop.close()


def test_a_drain_inside_a_drain(rig: Rig) -> None:
    async def same(flow: Rig) -> None:
        flow.loop.drain()

    async def other(flow: Rig) -> None:
        Rig().loop.drain()

    async def close(flow: Rig) -> None:
        flow.loop.close()

    for body in (same, other, close):
        with pytest.raises(RuntimeError, match="inside"):
            rig.start(body).result()


# --- what does not leave the drain, and what does -----------------------------------------------------------


def test_system_exit_is_the_outcome_of_its_task(rig: Rig) -> None:
    async def body(flow: Rig) -> None:
        async def child() -> None:
            sys.exit("no")

        async with asyncio.TaskGroup() as group:
            group.create_task(child())

    main = rig.start(body)
    with pytest.raises(SystemExit):
        main.result()
    assert rig.loop.unhandled == []


def test_system_exit_and_errors_of_callbacks_are_kept(rig: Rig) -> None:
    rig.loop.call_soon(sys.exit, "no")
    rig.loop.call_soon(int, "x")
    rig.loop.call_soon(rig.log.append, "next")
    assert rig.loop.drain() == 3
    assert [type(unhandled.exception) for unhandled in rig.loop.unhandled] == [SystemExit, ValueError]
    assert rig.log == ["next"]


def test_the_error_of_a_forgotten_task_is_kept(rig: Rig) -> None:
    async def body(flow: Rig) -> None:
        async def child() -> None:
            raise ValueError("seen by nobody")

        asyncio.create_task(child())  # noqa: RUF006 - that is the point
        for _ in range(40):
            await asyncio.create_task(asyncio.sleep(0))

    rig.start(body).result()
    gc.collect()
    assert [str(unhandled.exception) for unhandled in rig.loop.unhandled] == ["seen by nobody"]


def test_control_c_goes_through(rig: Rig) -> None:
    async def body(flow: Rig) -> None:
        raise KeyboardInterrupt

    running = asyncio._get_running_loop()
    with pytest.raises(KeyboardInterrupt):
        rig.start(body)
    assert asyncio._get_running_loop() is running
    assert rig.loop.dead
    with pytest.raises(MachineClosed):
        rig.loop.drain()
    rig.loop.close()
    assert rig.loop.is_closed()


@pytest.mark.usefixtures("quiet")
def test_an_endless_loop(rig: Rig) -> None:
    async def body(flow: Rig) -> None:
        while True:
            await asyncio.sleep(0)

    rig.loop.create_task(body(rig))
    with pytest.raises(EndlessLoop, match="5,000 callbacks"):
        rig.loop.drain(5_000)
    assert not rig.loop.dead
    rig.loop.close()


def test_a_long_drain_is_no_endless_one(rig: Rig) -> None:
    async def body(flow: Rig) -> None:
        for _ in range(9):
            await asyncio.sleep(0)

    rig.loop.create_task(body(rig))
    with pytest.raises(EndlessLoop):
        rig.loop.drain(9)
    assert rig.loop.drain() == 1
    rig.loop.create_task(body(rig))
    assert rig.loop.drain(10) == 10


# --- nothing leaks ------------------------------------------------------------------------------------------

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="empty")


def test_context_variables_do_not_leak(rig: Rig) -> None:
    async def body(flow: Rig) -> None:
        flow.log.append(VARIABLE.get())
        VARIABLE.set("body")

        async def child() -> None:
            flow.log.append(VARIABLE.get())
            VARIABLE.set("child")

        await asyncio.create_task(child())
        asyncio.get_running_loop().call_soon(lambda: flow.log.append(VARIABLE.get()))
        await asyncio.sleep(1)
        flow.log.append(VARIABLE.get())

    token = VARIABLE.set("owner")
    try:
        rig.run(body)
        assert VARIABLE.get() == "owner"
    finally:
        VARIABLE.reset(token)
    assert rig.log == ["empty", "body", "body", "body"]


async def test_inside_a_task_of_a_real_loop(rig: Rig) -> None:
    loop, task, hooks = asyncio.get_running_loop(), asyncio.current_task(), sys.get_asyncgen_hooks()

    async def body(flow: Rig) -> None:
        flow.log.append(asyncio.get_running_loop() is flow.loop)
        flow.log.append(asyncio.current_task(flow.loop) is main)
        async for _ in numbers():
            await asyncio.sleep(1)
        raise ValueError

    async def numbers() -> Any:
        yield 1

    main = rig.loop.create_task(body(rig))
    rig.loop.drain()
    assert rig.log == [True, True]
    rig.tick()
    assert isinstance(main.exception(), ValueError)
    rig.loop.close()
    assert (asyncio.get_running_loop(), asyncio.current_task(), sys.get_asyncgen_hooks()) == (
        loop,
        task,
        hooks,
    )
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(0))


def test_a_finished_run_is_freed_without_the_collector() -> None:
    async def body(flow: Rig) -> int:
        return await asyncio.wait_for(asyncio.sleep(1, 7), 5)

    gc.collect()
    gc.disable()
    try:
        rig = Rig()
        reference = weakref.ref(rig.loop)
        assert rig.run(body) == 7
        del rig
        assert reference() is None
    finally:
        gc.enable()


def test_a_generator_that_only_the_collector_finds_does_not_run(rig: Rig) -> None:
    async def numbers(log: list[object], cycle: list[object]) -> Any:
        try:
            yield 1
        finally:
            log.append("ran")

    async def body(flow: Rig) -> None:
        cycle: list[object] = []
        generator = numbers(flow.log, cycle)
        cycle.append(generator)
        await anext(generator)
        del cycle, generator
        gc.collect()
        await asyncio.sleep(1)

    rig.run(body)
    gc.collect()
    assert rig.log == []


def test_a_generator_that_is_dropped_between_drains_does_not_run(rig: Rig) -> None:
    async def numbers(flow: Rig) -> Any:
        try:
            yield 1
        finally:
            flow.log.append("ran")

    async def body(flow: Rig) -> None:
        kept.append(numbers(flow))
        await anext(kept[0])
        await asyncio.sleep(1)

    kept: list[Any] = []
    rig.start(body)
    kept.clear()
    assert rig.tick()
    assert rig.log == []


# --- leaving memory -----------------------------------------------------------------------------------------


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def ends_in_finally(flow: Rig) -> None:
    try:
        await forever()
    finally:
        flow.log.append("finally")
        await asyncio.sleep(1)
        flow.log.append("after")


async def swallows(flow: Rig) -> None:
    while True:
        try:
            await forever()
        except BaseException:
            flow.log.append("again")


async def swallows_deep_inside(flow: Rig) -> None:
    async def inner() -> None:
        try:
            await swallows(flow)
        finally:
            await forever()

    await inner()


async def raises_at_once(flow: Rig) -> None:
    try:
        await forever()
    finally:
        raise ValueError("in finally")


async def returns_all_the_same(flow: Rig) -> str:
    with contextlib.suppress(BaseException):
        await forever()
    return "here"


async def uses_everything_again(flow: Rig) -> None:
    try:
        await forever()
    finally:
        asyncio.create_task(ends_in_finally(flow))  # noqa: RUF006
        asyncio.get_running_loop().call_soon(flow.log.append, "called")
        asyncio.get_running_loop().call_later(1, flow.log.append, "called")
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(forever())
            await asyncio.gather(forever(), forever())


async def holds_what_was_not_awaited(flow: Rig) -> None:
    later, many = forever(), {"list": [forever(), (forever(),)]}

    async def both(first: Any, second: Any) -> None:
        await first
        await second
        await later

    await both(forever(), await asyncio.sleep(5, many))


async def in_a_generator(flow: Rig) -> None:
    async def numbers() -> Any:
        try:
            yield 1
            await forever()
        finally:
            flow.log.append("generator")
            await forever()

    one, two = numbers(), numbers()
    await anext(one)
    async for _ in two:
        pass


async def in_a_group(flow: Rig) -> None:
    async with asyncio.TaskGroup() as group:
        for body in (ends_in_finally, raises_at_once, in_a_generator, returns_all_the_same):
            group.create_task(body(flow))


async def in_gather_and_shield(flow: Rig) -> None:
    await asyncio.gather(asyncio.shield(ends_in_finally(flow)), asyncio.wait_for(raises_at_once(flow), 5))


async def failed_and_forgotten(flow: Rig) -> None:
    async def child() -> None:
        raise ValueError

    flow.log.append(asyncio.create_task(child()))
    await forever()


SUSPENDED = [
    ends_in_finally,
    swallows,
    swallows_deep_inside,
    raises_at_once,
    returns_all_the_same,
    uses_everything_again,
    holds_what_was_not_awaited,
    in_a_generator,
    in_a_group,
    in_gather_and_shield,
    failed_and_forgotten,
]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("body", SUSPENDED)
def test_leaving_memory_is_quiet(body: Callable[[Rig], Any]) -> None:
    rig = Rig()
    running = asyncio._get_running_loop()
    main = rig.start(body)
    assert not main.done()
    timers = len(rig.timers)
    rig.log.clear()
    rig.loop.close()
    assert rig.loop.dead
    assert rig.loop.is_closed()
    assert len(rig.timers) == timers
    assert "called" not in rig.log
    assert "after" not in rig.log
    assert asyncio._get_running_loop() is running
    rig.loop.close()
    for timer in rig.timers:
        timer.fire()
    assert not rig.loop._ready
    assert not main.done()
    with pytest.raises(MachineClosed):
        rig.loop.drain()


def test_leaving_finishes_generators(rig: Rig) -> None:
    rig.start(in_a_generator)
    rig.loop.close()
    assert rig.log == ["generator", "generator"]


def test_what_will_not_end_does_not_keep_the_process() -> None:
    code = """if True:
        import asyncio, gc
        from tests.unit.test_loop import Rig, swallows, swallows_deep_inside
        for body in [swallows, swallows_deep_inside] * 200:
            rig = Rig()
            rig.start(body)
            rig.loop.close()
        gc.collect()
        print("end")
    """
    ran = python("-c", code)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("end\n", "", 0)


@pytest.mark.usefixtures("quiet")
def test_leaving_before_the_first_drain(rig: Rig) -> None:
    rig.loop.create_task(swallows(rig))
    rig.loop.close()
    assert rig.log == []


@pytest.mark.usefixtures("quiet")
def test_leaving_ends_each_task_in_its_own_surroundings(rig: Rig) -> None:
    async def body(flow: Rig) -> None:
        token = VARIABLE.set("body")
        try:
            await forever()
        finally:
            flow.log.append(asyncio.current_task() is main)
            flow.log.append(asyncio.get_running_loop() is flow.loop)
            flow.log.append(flow.loop.dead)
            flow.log.append(VARIABLE.get())
            VARIABLE.reset(token)
            VARIABLE.set("left over")

    main = rig.loop.create_task(body(rig))
    rig.loop.drain()
    rig.loop.close()
    assert rig.log == [True, True, True, "body"]
    assert VARIABLE.get() == "empty"


@pytest.mark.usefixtures("quiet")
def test_leaving_inside_a_real_loop() -> None:
    async def owner() -> None:
        rig = Rig()
        task = asyncio.current_task()

        async def body(flow: Rig) -> None:
            try:
                await forever()
            finally:
                flow.log.append(asyncio.create_task(ends_in_finally(flow)))

        rig.start(body)
        rig.loop.close()
        assert len(rig.log) == 1
        assert asyncio.all_tasks() == {task}

    asyncio.run(owner())


def test_control_c_while_leaving(rig: Rig) -> None:
    async def body(flow: Rig) -> None:
        try:
            await forever()
        finally:
            raise KeyboardInterrupt

    rig.start(body)
    rig.start(ends_in_finally)
    with pytest.raises(KeyboardInterrupt):
        rig.loop.close()
    assert rig.log == ["finally"]
    assert rig.loop.is_closed()


def test_a_dead_future_can_be_made_and_never_wakes(rig: Rig) -> None:
    rig.loop.close()
    future = rig.loop.create_future()
    future.add_done_callback(rig.log.append)
    future.set_result(None)
    assert rig.loop.time() == 1000.0
    assert rig.log == []
    assert rig.loop.live_tasks() == []
