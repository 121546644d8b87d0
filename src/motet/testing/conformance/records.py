"""Records to write: whole and plausible, each field different, so that a mixed-up column shows."""

from __future__ import annotations

import itertools
from typing import Any

from motet.model.clock import SECOND, Micros
from motet.model.delivery import DeliveryRow
from motet.model.event import EventRow
from motet.model.history import Recorded
from motet.model.identity import new_uid
from motet.model.run import Run, Version
from motet.store.mutations import PutInbox
from motet.store.protocol import WorkerInfo

NOW: Micros = 1_900_000_000 * SECOND
"""A time in 2030, for stores are asked for what is due by the times in their records, never by a clock."""

SHOP = "shop/buy"
KNOWN = (Version(SHOP, 3),)
FINGERPRINT = "f1"

_count = itertools.count(1)


def a_run(id: str | None = None, **changes: Any) -> Run:
    """A run that nobody owns and that is due."""
    number = next(_count)
    uid = new_uid(NOW + number * 1000)
    run = Run(
        uid=uid, id=id if id is not None else f"run-{number}", workflow=SHOP, version=3, state="pending", generation=1,
        epoch=0, owner=None, input='{"n":1}', result=None, error=None, current=None, note=None,
        attributes='{"a":"b"}', conversation=f"talk-{number}", cause="cause-1", parent=None, created_at=NOW + 1,
        started_at=NOW + 2, ended_at=None, deadline_at=NOW + 3, wake_at=NOW, crashes=0, parked=None, python="3.11",
        fingerprint=FINGERPRINT, origin='{"uid":"u"}',
    )  # fmt: skip
    return run._replace(**changes)


def owned_run(worker: int, id: str | None = None, **changes: Any) -> Run:
    """A run that this worker drives."""
    return a_run(id, **{"state": "running", "owner": worker, "epoch": 1, "wake_at": None, **changes})


def a_fact(run: Run, position: int, **changes: Any) -> Recorded:
    """A completed step at this position."""
    fact = Recorded(
        uid=run.uid, generation=run.generation, position=position, applied=position - 1, op=f"charge#{position}",
        operation_kind="step", kind="completed", at=NOW + position, payload=f'"{position}"', attempt=2,
        started_at=NOW - 5, due=NOW + 6, digest=77, target="charge#0", site="buy:12:40>pay:3:9",
    )  # fmt: skip
    return fact._replace(**changes)


def an_event(name: str = "paid", **changes: Any) -> EventRow:
    """An event with an id of its own."""
    event = EventRow(
        id=f"{name}-{next(_count)}", source=SHOP, type="purchase.completed", subject="key-1", time=NOW + 1,
        recorded_at=NOW + 2, correlationid="talk-1", causationid="cause-1", data=f'"{name}"',
    )  # fmt: skip
    return event._replace(**changes)


def a_message(run: Run, key: str = "cancel", **changes: Any) -> PutInbox:
    """Something to tell a run."""
    return PutInbox(run.uid, key, "cancel", '{"reason":"why"}', NOW)._replace(**changes)


def a_worker(name: str = "w") -> WorkerInfo:
    """How a worker registers."""
    number = next(_count)
    return WorkerInfo(
        identity=f"{name}-{number}-{new_uid(NOW)}", name=f"{name}:{number}", host="boot/ns", pid=number,
        pid_started=number + 1, program="motet test", fingerprint=FINGERPRINT,
    )  # fmt: skip


def a_delivery(position: int = 3, **changes: Any) -> DeliveryRow:
    """A delivery that is to be tried again, of the event at this position."""
    row = DeliveryRow("example", position, "retrying", "k", 1, 0, NOW + 1, '"e"', None, NOW)
    return row._replace(**changes)
