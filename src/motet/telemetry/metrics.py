"""The metrics of one worker, in the form that Prometheus reads. `docs/workers.md` lists them.

What this process does is counted as it happens, by hooks. What stands in the store is read when somebody asks, at most
once a second, and costs nothing for runs that have ended; those are counted by the workers that ended them. While the
store does not answer, what it would have said is left out, for old numbers look like good ones.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from motet.errors import StoreError
from motet.model.clock import SECOND, Clock, Micros
from motet.model.run import STATES
from motet.runtime.hooks import Hooks
from motet.runtime.worker import Worker
from motet.store.protocol import OpenRuns
from motet.telemetry.edges import Edges, of_edges, read_edges

log = logging.getLogger("motet.metrics")

FRESH_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 5.0

COMMIT_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000)
OPEN_STATES: Final = tuple(state for state in STATES if state not in ("completed", "failed", "cancelled"))


class Metrics:
    """Everything about one worker process. Make it before the worker starts, on its event loop."""

    def __init__(self, hooks: Hooks, clock: Clock) -> None:
        self._clock = clock
        self._registry = CollectorRegistry()
        self._seen = _Seen(clock)
        self._read_at: float | None = None
        self._reading = asyncio.Lock()
        self._ended = Counter(
            "motet_runs_ended", "Runs that this worker has brought to their ends.", ["state"], registry=self._registry
        )
        self._seconds = Histogram(
            "motet_commit_seconds", "From sending a batch of records to its being durable.",
            buckets=COMMIT_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._units = Histogram(
            "motet_commit_units", "Facts per committed batch.", buckets=SIZES, registry=self._registry
        )
        self._rows = Histogram(
            "motet_commit_rows", "Records per committed batch.", buckets=SIZES, registry=self._registry
        )
        self._registry.register(self._seen)
        ProcessCollector(registry=self._registry)
        hooks.run_ended(self._run_ended)
        hooks.batch_committed(self._batch_committed)

    async def text(self, worker: Worker | None) -> bytes:
        """What there is to know now; `worker` is None while it starts and when it has stopped."""
        async with self._reading:
            now = self._clock.monotonic()
            if self._read_at is None or now - self._read_at >= FRESH_SECONDS:
                await self._read(worker)
                self._read_at = self._clock.monotonic()
        return generate_latest(self._registry)

    async def _read(self, worker: Worker | None) -> None:
        seen = self._seen
        seen.runs, seen.moved_at, seen.driven, seen.edges = None, None, 0, None
        if worker is None:
            return
        seen.driven = len(worker.drivers)
        store = worker.session.store
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                runs = await store.open_runs(self._clock.now())
                own = [row for row in await store.workers() if row.id == worker.committer.worker]
                edges = await read_edges(store)
        except (StoreError, TimeoutError) as error:
            log.debug("the store could not be asked: %s", error)
            return
        seen.runs, seen.moved_at, seen.edges = runs, own[0].seen_at if own else None, edges

    def _run_ended(self, run_id: str, state: str) -> None:
        self._ended.labels(state).inc()

    def _batch_committed(self, units: int, rows: int, seconds: float) -> None:
        self._seconds.observe(seconds)
        self._units.observe(units)
        self._rows.observe(rows)


class _Seen(Collector):
    """What was read last, as gauges."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.runs: OpenRuns | None = None
        self.moved_at: Micros | None = None
        self.driven = 0
        self.edges: Edges | None = None

    def collect(self) -> Iterable[Metric]:
        answers = self.runs is not None
        yield GaugeMetricFamily("motet_store_answers", "1 if the store could be read for this scrape.", float(answers))
        yield GaugeMetricFamily("motet_worker_runs", "Runs that this worker has in memory.", self.driven)
        if self.moved_at is not None:
            yield GaugeMetricFamily(
                "motet_worker_liveness_age_seconds",
                "Since this worker's counter last moved; at a full lease, others take its runs over.",
                max(self._clock.now() - self.moved_at, 0) / SECOND,
            )
        if self.runs is not None:
            yield from self._of_store(self.runs)
        if self.edges is not None:
            yield from of_edges(self.edges, self._clock.now())

    def _of_store(self, runs: OpenRuns) -> Iterable[Metric]:
        states = GaugeMetricFamily("motet_runs", "Runs in the store that have not ended, by state.", labels=["state"])
        for state in OPEN_STATES:
            states.add_metric([state], runs.states.get(state, 0))
        yield states
        yield GaugeMetricFamily(
            "motet_incidents", "Runs in the store that are blocked and need a person.", runs.states.get("blocked", 0)
        )
        yield GaugeMetricFamily("motet_runs_due", "Runs in the store that are due and driven by nobody.", runs.due)
        waiting = self._clock.now() - runs.oldest_due if runs.oldest_due is not None else 0
        yield GaugeMetricFamily(
            "motet_oldest_due_seconds", "For how long the first of the due runs has waited; 0 if none is due.",
            max(waiting, 0) / SECOND,
        )  # fmt: skip
