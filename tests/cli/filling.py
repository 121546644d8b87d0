"""A store with a run in each state, made by a real worker."""

import asyncio
import contextlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from motet import MotetError
from motet.app import App
from motet.model.run import ENDED
from motet.status import RunStatus

MODES = ("fine", "declined", "retrying", "failing", "stuck", "waiting", "stopped")


def fill(store: Path, module: Path) -> None:
    """Runs `purchase-MODE` for each mode, left as they are when nothing moves any more."""
    shop = _load(module)
    try:
        shop.shop.use_store(f"sqlite:///{store}")
        asyncio.run(_run_all(shop))
    finally:
        del sys.modules[shop.__name__]


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("shop_that_fills", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


async def _run_all(shop: Any) -> None:
    app: App = shop.shop
    async with app.worker():
        for mode in MODES:
            kind = "waiting" if mode == "stopped" else mode
            purchase = shop.Purchase(f"p-{mode}", kind)
            await app.start(shop.run_purchase, purchase, id=f"purchase-{mode}", attributes={"region": "eu"})
        for mode in ("fine", "declined", "failing", "stuck"):
            with contextlib.suppress(shop.CardDeclined, MotetError):
                await app.result(f"purchase-{mode}")
        await _until(app, "purchase-waiting", lambda status: status.current)
        await _until(app, "purchase-retrying", lambda status: status.current)
        await app.cancel("purchase-stopped", reason="the learner changed their mind")
        await _until(app, "purchase-stopped", lambda status: status.state in ENDED)


async def _until(app: App, id: str, holds: Any) -> RunStatus:
    """The run's status as soon as it is as wanted; looks whenever somebody has written."""
    heard = app.client.listen()
    async with asyncio.timeout(10):
        while True:
            heard.clear()
            status = await app.status(id)
            if holds(status):
                return status
            await heard.wait()
