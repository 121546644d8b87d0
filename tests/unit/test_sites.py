"""Operations know where the source creates them."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import asynccontextmanager
from typing import Any

from motet import App, Flow
from tests.unit.rig import Rig

app = App("sites")


@app.step
async def work(n: int) -> int:
    raise AssertionError("the test decides what happens")


async def twice(flow: Flow) -> None:
    await flow.step(work, 1)
    await flow.step(work, 2)


async def sleepy(flow: Flow) -> None:
    async with asyncio.timeout(5):
        await asyncio.sleep(1)  # tidy: a durable timer


@asynccontextmanager
async def borrowed(flow: Flow) -> Any:
    await flow.step(work, 1)
    yield


def line_of(function: Any, text: str) -> int:
    lines, first = inspect.getsourcelines(function)
    return next(first + index for index, line in enumerate(lines) if text in line)


def inside(function: Any) -> Any:
    return function.__wrapped__


def place(function: Any, text: str, end: str = ")") -> str:
    """Where the call that begins with `text` ends."""
    lines, first = inspect.getsourcelines(function)
    for index, line in enumerate(lines):
        if text in line:
            return f"{function.__name__}:{first + index}:{line.index(end, line.index(text)) + len(end)}"
    raise AssertionError(text)


def begun(function: Any, *completed: str) -> Rig:
    rig = Rig(app, app.workflow(name=f"{function.__name__}-{id(function)}")(function)).start()
    for op in completed:
        rig.complete(op, 1)
    return rig


def sites(rig: Rig) -> list[str | None]:
    return [op.site for op in rig.machine.operations.values()]


def test_two_calls_on_one_line_have_two_sites() -> None:
    async def both(flow: Flow) -> None:
        await asyncio.gather(flow.step(work, 1), flow.step(work, 2))
        flow.publish("a.done", {}), flow.pivot()

    rig = begun(both, "work#1", "work#2")
    assert sites(rig) == [
        place(both, "flow.step(work, 1"),
        place(both, "flow.step(work, 2"),
        place(both, "flow.publish"),
        place(both, "flow.pivot()"),
    ]


def test_the_way_through_called_functions() -> None:
    async def outer(flow: Flow) -> None:
        await twice(flow)
        async with borrowed(flow):
            await flow.sleep(3)

    rig = begun(outer, "work#1", "work#2", "work#3")
    called = place(outer, "twice(flow)")
    found = sites(rig)
    assert [found[0], found[1], found[3]] == [
        f"{called}>{place(twice, 'flow.step(work, 1')}",
        f"{called}>{place(twice, 'flow.step(work, 2')}",
        place(outer, "flow.sleep(3)"),
    ]
    # What a `with` calls ends where the whole statement does, or its head: that differs between Pythons.
    entered, _, within = str(found[2]).partition(">")
    assert entered.startswith(f"outer:{line_of(outer, 'async with')}:")
    assert within == place(inside(borrowed), "flow.step")


def test_a_task_of_its_own_begins_anew_and_a_comprehension_does_not() -> None:
    async def outer(flow: Flow) -> None:
        await asyncio.gather(*(twice(flow) for _ in range(2)))
        [await flow.step(work, n) for n in range(1)]
        await asyncio.gather(*[flow.step(work, n) for n in range(1)])

    rig = begun(outer, "work#1", "work#2", "work#3", "work#4", "work#5")
    first, second = place(twice, "flow.step(work, 1"), place(twice, "flow.step(work, 2")
    assert sites(rig)[:4] == [first, first, second, second]
    assert sites(rig)[4:] == [
        place(outer, "flow.step(work, n) for n"),
        place(outer, "flow.step(work, n) for n in range(1)])", "n)"),
    ]


def test_timers_too() -> None:
    async def outer(flow: Flow) -> None:
        await sleepy(flow)

    rig = begun(outer)
    called = place(outer, "sleepy(flow)")
    found = sites(rig)
    assert [site.partition(">")[0] if site else site for site in found] == [called, called]
    assert found[1] == f"{called}>{place(sleepy, 'asyncio.sleep')}"
