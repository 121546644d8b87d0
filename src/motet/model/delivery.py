"""One event for one reaction. A delivery that simply succeeds leaves no row; these are the rows of all others."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from motet.model.clock import Micros
from motet.model.event import ENGINE

DeliveryState = Literal["running", "retrying", "waiting", "parked", "held", "done"]
"""At work for long, or suspected of killing its process; to be tried again; behind another one of its key; a dead
letter; a dead letter that later ones of its key wait for; done ahead of the reaction's position."""

DEAD: Final[tuple[DeliveryState, ...]] = ("parked", "held")
PARKED_EVENT = f"{ENGINE}.delivery.parked"


class DeliveryRow(NamedTuple):
    """A delivery that is not simply in order.

    Args:
        position: the event's.
        key: the event's; deliveries of one key come one after the other.
        attempts: how many have failed.
        crashes: while it is accused of killing its process: how often that had died when it began; else 0.
        due: when it is tried again.
        error: why the last attempt failed, as the store keeps failures.
        data: JSON text that a person has put in the place of the event's own data.
    """

    reaction: str
    position: int
    state: DeliveryState
    key: str | None
    attempts: int
    crashes: int
    due: Micros | None
    error: str | None
    data: str | None
    at: Micros
