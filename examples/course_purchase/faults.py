"""What goes wrong outside: which request meets which fault, by the purchase's trouble and the attempt.

The rule reads nothing but the request, so a fault strikes the same attempt on every run of the demo, whoever
sends it and however often a worker was killed in between. What others do who hear of a purchase fails by the
purchase's id, whatever its trouble: now and then a mail's reply is lost, and of the affiliates many are down, some for
good.
"""

import zlib
from dataclasses import dataclass
from typing import Literal

from .protocol import NOTICES, Call, Notice, Operation
from .purchases import Trouble

FaultKind = Literal["card_declined", "course_full", "unavailable", "hangs", "reply_lost"]
"""`card_declined` and `course_full` are answers; `unavailable` is a fault with nothing done; with `hangs`
nothing is done and nothing is said; with `reply_lost` the work is done and the connection is closed without a
word."""

EVERY_ATTEMPT = 1_000_000


@dataclass(frozen=True, slots=True)
class Fault:
    """The first `attempts` attempts of an operation meet this kind of fault."""

    operation: Operation
    kind: FaultKind
    attempts: int = EVERY_ATTEMPT


FAULTS: dict[Trouble, tuple[Fault, ...]] = {
    "card_declined": (Fault("charge", "card_declined"),),
    "course_full": (Fault("enroll", "course_full"),),
    "enrollment_outage": (Fault("enroll", "unavailable", attempts=2),),
    "enrollment_closed": (Fault("enroll", "unavailable"),),
    "enrollment_hangs": (Fault("enroll", "hangs", attempts=1),),
    "charge_reply_lost": (Fault("charge", "reply_lost", attempts=2),),
    "charge_reply_always_lost": (Fault("charge", "reply_lost"),),
    "enroll_reply_lost": (Fault("enroll", "reply_lost", attempts=1),),
    "enroll_reply_always_lost": (Fault("enroll", "reply_lost"),),
    "refund_reply_lost": (Fault("enroll", "course_full"), Fault("refund", "reply_lost", attempts=1)),
}


DOWN_FOR_GOOD = 4
"""The affiliate of one purchase in so many answers nobody any more."""

NOTICE_FAULTS: dict[Notice, dict[int, Fault]] = {
    "refer": {0: Fault("refer", "unavailable"), 1: Fault("refer", "unavailable", attempts=1)},
    "mail": {2: Fault("mail", "reply_lost", attempts=1)},
}
"""By the remainder of the purchase's number in a hat of `DOWN_FOR_GOOD`."""


def fault_for(call: Call) -> FaultKind | None:
    """Return what goes wrong with this attempt, or None."""
    if call.operation in NOTICES:
        fault = NOTICE_FAULTS.get(call.operation, {}).get(zlib.crc32(call.purchase.encode()) % DOWN_FOR_GOOD)
        return fault.kind if fault is not None and call.attempt <= fault.attempts else None
    if call.trouble is None:
        return None
    for fault in FAULTS[call.trouble]:
        if fault.operation == call.operation and call.attempt <= fault.attempts:
            return fault.kind
    return None
