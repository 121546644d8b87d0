"""`/health`, `/ready` and `/metrics` of one worker, for whoever runs it: orchestrators, load balancers, Prometheus.

    /health   200: the event loop ticks and the worker's own work goes on; else 503: end this process
    /ready    200: registered, the store answers, takes new runs; else 503 with the reason
    /metrics  200: Prometheus text; 501 without the extra `metrics`

They are served by the worker's own event loop, on purpose: a loop that hangs does not answer, and that is the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from motet.app import App
from motet.errors import NotConnected, StoreError
from motet.model.clock import SYSTEM, Clock
from motet.runtime.worker import Worker

TICK_SECONDS: Final = 1.0
STILL_SECONDS: Final = 10.0
"""An event loop that has not ticked for so long hangs."""

ANSWER_SECONDS: Final = 2.0
TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
WITHOUT_METRICS: Final = "There are no metrics without their library: pip install 'motet[metrics]'\n"


class Ticks:
    """How late the event loop is: between its ticks, one a second, and since the last."""

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._ticked = clock.monotonic()
        self._gap = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._ticked = self._clock.monotonic()
        self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    @property
    def still_seconds(self) -> float:
        """The longer of the last two gaps, so that who asks right after a standstill hears of it."""
        return max(self._gap, self._clock.monotonic() - self._ticked)

    def _tick(self) -> None:
        now = self._clock.monotonic()
        self._gap, self._ticked = now - self._ticked, now
        self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)


class Probes:
    """The answers. Made before the worker starts, and asked until it has stopped."""

    def __init__(self, app: App) -> None:
        self.ticks = Ticks()
        self._app = app
        self._metrics: Any = None
        if find_spec("prometheus_client") is not None:
            from motet.telemetry.metrics import Metrics  # noqa: PLC0415 - only where its library is installed

            self._metrics = Metrics(app.hooks, SYSTEM)

    def routes(self) -> Starlette:
        """The small web application that gives them."""
        answers: dict[str, Callable[[Request], Any]] = {
            "/health": self._health, "/ready": self._ready, "/metrics": self._text,
        }  # fmt: skip
        return Starlette(routes=[Route(path, answer) for path, answer in answers.items()])

    async def _health(self, request: Request) -> Response:
        worker = self._worker()
        still = self.ticks.still_seconds
        if still > STILL_SECONDS:
            return _answer(healthy=False, why=f"the event loop stood still for {still:.0f} s; does a step block it?")
        if worker is not None and worker.broken:
            return _answer(healthy=False, why="a part of the worker has ended with an error, which its log tells")
        return _answer(healthy=True)

    async def _ready(self, request: Request) -> Response:
        why = await self._not_ready()
        return _answer(ready=why is None, why=why)

    async def _not_ready(self) -> str | None:
        worker = self._worker()
        if worker is None:
            return "the worker starts, or has been asked to stop"
        if worker.draining:
            return "the worker has been asked to stop, and takes no new runs"
        if worker.committer.worker is None:
            return "the worker is not registered: others have declared it dead, or the store is away"
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                registered = await worker.session.store.workers()
        except TimeoutError:
            return f"the store has not answered for {ANSWER_SECONDS:g} s"
        except StoreError as error:
            return f"the store does not answer: {error}"
        if worker.committer.worker not in [row.id for row in registered]:
            return "others have declared this worker dead; it registers anew"
        return None

    async def _text(self, request: Request) -> Response:
        if self._metrics is None:
            return PlainTextResponse(WITHOUT_METRICS, status_code=501)
        return Response(await self._metrics.text(self._worker()), media_type=TEXT)

    def _worker(self) -> Worker | None:
        try:
            return self._app.client.worker
        except NotConnected:
            return None


def _answer(*, why: str | None = None, **state: bool) -> JSONResponse:
    document: dict[str, object] = dict(state)
    if why is not None:
        document["why"] = why
    return JSONResponse(document, status_code=200 if all(state.values()) else 503)
