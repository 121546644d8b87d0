"""That a delivery has become a dead letter is an event, so that somebody can be told."""

from __future__ import annotations

import msgspec

from motet.choreography.window import Delivery
from motet.model.clock import Micros
from motet.model.delivery import PARKED_EVENT
from motet.model.event import ENGINE
from motet.model.identity import new_uid
from motet.store.mutations import AppendEvent


def parked_event(reaction: str, delivery: Delivery, error: BaseException, now: Micros) -> AppendEvent:
    """`motet.delivery.parked`, about the event's key, caused by the event."""
    event = delivery.event
    data = {
        "reaction": reaction,
        "position": delivery.position,
        "event": event.id if event is not None else None,
        "type": event.type if event is not None else None,
        "key": delivery.key,
        "attempts": delivery.attempts,
        "error": {"type": type(error).__name__, "message": str(error)},
    }
    uid = new_uid(now)
    return AppendEvent(
        uid, ENGINE, PARKED_EVENT, delivery.key, now, now, event.correlationid if event is not None else uid,
        event.id if event is not None else None, msgspec.json.encode(data).decode(),
        traceparent=event.traceparent if event is not None else None,
    )  # fmt: skip
