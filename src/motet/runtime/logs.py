"""Log records that know where they come from, and a body's records only once.

Every record made while a worker runs carries `run`, `step` and `attempt` (empty where there is none). In replay a
body does again what it has done before; what it logs then has been logged, so those records are muted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from motet.orchestration.attempt import current_attempt
from motet.orchestration.loop import DeterministicLoop

_MUTED = -1
"""Below every level, NOTSET included: no handler takes the record."""


def install() -> None:
    """Once per process, around whatever record factory there is."""
    make = logging.getLogRecordFactory()
    if not isinstance(make, _Locating):
        logging.setLogRecordFactory(_Locating(make))


class _Locating:
    """A record factory around another one."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._make(*args, **kwargs)
        _locate(record)
        return record


def _locate(record: logging.LogRecord) -> None:
    attempt = current_attempt.get()
    record.run = record.step = record.attempt = ""
    if attempt is not None:
        record.run, record.step, record.attempt = attempt.run, attempt.step, attempt.number
        return
    loop = asyncio._get_running_loop()  # noqa: SLF001 - the only way to ask without an error
    if isinstance(loop, DeterministicLoop):
        record.run = loop.run
        if loop.muted or loop.dead:
            record.levelno = _MUTED
