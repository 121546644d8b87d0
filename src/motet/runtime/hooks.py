"""What others may listen to: telemetry, tests, the demo. Listeners are called on the worker's event loop, must be
quick, and an error of theirs is logged and changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger("motet")

StepRecorded = Callable[[str, str, int], None]
DeliveryRecorded = Callable[[str, str, int], None]
BatchCommitted = Callable[[int, int, float], None]
RunEnded = Callable[[str, str], None]
Failpoint = Callable[[str, frozenset[str]], None]


class Hooks:
    """The places where a worker tells what it has done."""

    def __init__(self) -> None:
        self._step_recorded: list[StepRecorded] = []
        self._delivery_recorded: list[DeliveryRecorded] = []
        self._batch_committed: list[BatchCommitted] = []
        self._run_ended: list[RunEnded] = []
        self.failpoint: Failpoint | None = None

    def step_recorded(self, listener: StepRecorded) -> StepRecorded:
        """Call `listener(key, step, attempt)` when the completion of a step or compensation is durable."""
        self._step_recorded.append(listener)
        return listener

    def delivery_recorded(self, listener: DeliveryRecorded) -> DeliveryRecorded:
        """Call `listener(key, reaction, attempt)` when a record of its own says that a delivery is done: one that has
        effects of ours, such as publishing, or was left behind. For others the reaction's position says so, later."""
        self._delivery_recorded.append(listener)
        return listener

    def batch_committed(self, listener: BatchCommitted) -> BatchCommitted:
        """Call `listener(units, rows, seconds)` after each commit."""
        self._batch_committed.append(listener)
        return listener

    def run_ended(self, listener: RunEnded) -> RunEnded:
        """Call `listener(run_id, state)` when a run's end is durable."""
        self._run_ended.append(listener)
        return listener

    @property
    def wants_steps(self) -> bool:
        return bool(self._step_recorded)

    @property
    def wants_deliveries(self) -> bool:
        return bool(self._delivery_recorded)

    def tell_delivery_recorded(self, key: str, reaction: str, attempt: int) -> None:
        _tell(self._delivery_recorded, key, reaction, attempt)

    def tell_step_recorded(self, key: str, step: str, attempt: int) -> None:
        _tell(self._step_recorded, key, step, attempt)

    def tell_batch_committed(self, units: int, rows: int, seconds: float) -> None:
        if self._batch_committed:
            _tell(self._batch_committed, units, rows, seconds)

    def tell_run_ended(self, run_id: str, state: str) -> None:
        if self._run_ended:
            _tell(self._run_ended, run_id, state)


def _tell(listeners: list[Any], *args: Any) -> None:
    for listener in listeners:
        try:
            listener(*args)
        except Exception:
            log.exception("a listener failed")
