"""What is expected after an event, as a row: who notices that something has not happened.

    early ── trigger ──> open ── in time ────────────────────> met
                          │ └──── after the due time ────────> late
                          └── nobody came ──> missed ── came after all ──> met | late

`met` and `late` are final. A missed one whose event comes after all becomes late, or met if the event says of itself
that it happened in time: both are judged by the events' own times, so what becomes of an expectation does not depend on
when somebody looked.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import msgspec

from motet.model.clock import Micros

MISSED_EVENT: Final = "motet.expectation.missed"
"""The type of the event that says so; its data is `Missed`."""

ExpectedState = Literal["early", "open", "met", "missed", "late"]

EXPECTED_STATES: Final[tuple[ExpectedState, ...]] = ("open", "met", "missed", "late")
"""Those of an expectation that a trigger has armed."""


class Expected(NamedTuple):
    """What one trigger has armed; or, in the state `early` and at position 0, the expected events that have come
    without one.

    Args:
        expectation: its name, as `shop/receipt`.
        key: what trigger and expected event have in common.
        position: the trigger's place in the log.
        event: the trigger's id.
        armed_at: the trigger's own time, from which the time limit counts.
        due: by what it was judged; None: not yet.
        triggers: how many came for the key, with those that armed nothing.
        early: expected events that came before their trigger.
        came_at: the expected event's own time, and `came` its id.
        missed_at: when the miss was announced.
    """

    expectation: str
    key: str
    position: int
    state: ExpectedState
    event: str
    conversation: str
    armed_at: Micros
    due: Micros | None = None
    triggers: int = 1
    early: int = 0
    came_at: Micros | None = None
    came: str | None = None
    missed_at: Micros | None = None


class Missed(msgspec.Struct, frozen=True):
    """The data of the event `motet.expectation.missed`, and the input of a workflow that is the remedy.

    Args:
        expectation: its name, as `shop/receipt`.
        key: what trigger and expected event have in common.
        expected: the type of the event that has not come.
        after: the type of the trigger.
        trigger: the trigger's id.
        armed_at: the trigger's own time.
        due: until when the expected event should have happened.
        early: how many of them came before the trigger, and so do not count.
        data: the trigger's data, as plain JSON.
    """

    expectation: str
    key: str
    expected: str
    after: str
    trigger: str
    armed_at: datetime
    due: datetime
    early: int
    data: Any
