"""A run that has ended leaves memory at once, without the garbage collector."""

import asyncio
import gc
from pathlib import Path

from motet import App, Flow
from motet.runtime.driver import Driver


def drivers() -> int:
    return sum(isinstance(one, Driver) for one in gc.get_objects())


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
            await asyncio.sleep(0.1)
            assert drivers() <= before
        finally:
            gc.enable()
