"""A run that has ended leaves memory at once, without the garbage collector."""

import asyncio
import gc
from pathlib import Path

from motet import App, Flow, Settings
from motet.runtime.driver import Driver


def drivers() -> int:
    return sum(type(one) is Driver for one in gc.get_objects())  # to ask others for their class has some of them act


async def test_an_ended_run_is_freed_without_the_collector(tmp_path: Path) -> None:
    app = App("plant", store=f"sqlite:///{tmp_path / 'motet.db'}")

    @app.step
    async def work(name: str) -> str:
        return name

    @app.workflow
    async def one(flow: Flow, name: str) -> str:
        return await flow.step(work, name)

    async with app.worker():
        gc.collect()
        gc.disable()
        try:
            before = drivers()
            for number in range(10):
                run = await app.start(one, "ann", id=f"r{number}")
                assert await run.result() == "ann"
            async with asyncio.timeout(10):
                while drivers() > before:
                    await asyncio.sleep(0.01)  # tidy: between two looks
        finally:
            gc.enable()


async def test_a_released_run_is_freed_without_the_garbage_collector(tmp_path: Path) -> None:
    app = App("freed", store=f"sqlite:///{tmp_path / 'motet.db'}", settings=Settings(resident_limit=1))

    @app.workflow
    async def nap(flow: Flow) -> None:
        await flow.sleep(3600)

    def machines() -> int:
        return sum(type(thing).__name__ == "Machine" for thing in gc.get_objects())

    async with app.worker():
        gc.collect()
        gc.disable()
        try:
            before = machines()  # of other tests, that somebody still holds
            for number in range(20):
                await app.start(nap, id=f"n{number}")
            async with asyncio.timeout(20):
                while machines() > before + 1:
                    await asyncio.sleep(0.05)  # tidy: between two looks
        finally:
            gc.enable()
