"""Statuses as the client gives them, at one fixed moment: what the renderings are tested with."""

from datetime import timedelta
from typing import Any

from motet.catalog import Ahead
from motet.coming import Next
from motet.model.clock import Micros
from motet.publishers import Publisher
from motet.reasons import Waiting
from motet.status import Current, Done, Incident, RunStatus, Stop, Undo, iso

NOW: Micros = 1_790_000_000_000_000


def at(seconds: float) -> str:
    """So many seconds before now; negative: to come."""
    found = iso(NOW - round(seconds * 1_000_000))
    assert found is not None
    return found


def made(state: Any, **settings: Any) -> RunStatus:
    """A purchase that began 41 seconds ago."""
    defaults: dict[str, Any] = {
        "id": "purchase-42", "uid": "01m8", "workflow": "shop/run_purchase", "version": 1, "state": state,
        "generation": 1, "conversation": "purchase-42", "cause": None, "attributes": {}, "note": None,
        "created_at": at(41), "ended_at": None, "deadline_at": at(41 - timedelta(hours=1).total_seconds()),
        "wake_at": None, "seconds": 41.0, "current": [], "done": [], "failed": [], "undo": [], "events": [],
        "ahead": [], "incidents": [], "result": None, "error": None, "error_type": None, "crashes": 0,
    }  # fmt: skip
    return RunStatus(**{**defaults, **settings})


def step(name: str, seconds_ago: float, **settings: Any) -> Done:
    defaults: dict[str, Any] = {
        "operation": f"{name}#1", "kind": "step", "name": name, "outcome": "completed", "attempts": 1,
        "seconds": 0.038, "at": at(seconds_ago),
    }  # fmt: skip
    return Done(**{**defaults, **settings})


PAYMENT = step("authorize_payment", 40, result={"id": "pay_1"}, result_type="Payment")
ENROLLMENT = step("create_enrollment", 30, result={"seat": 7}, result_type="Enrollment", seconds=2.04, attempts=2)
TO_REFUND = Undo("refund_payment", "authorize_payment#1", False, True, {"id": "pay_1"}, "Payment")
TO_REMOVE = Undo("remove_enrollment", "create_enrollment#1", True, True)
AHEAD = [Ahead("publish", "purchase.completed", 12), Ahead("step", "praise", 13, branch=True)]

RETRYING = made(
    "running",
    done=[PAYMENT],
    current=[
        Current("create_enrollment#1", "step", "create_enrollment", 3, 5, False, "EnrollmentDown: 503", at(2), at(-6))
    ],
    undo=[TO_REMOVE, TO_REFUND],
    ahead=AHEAD[:1],
    next=[
        Next("publish", "purchase.completed", line=12),
        Next("undo", "remove_enrollment", if_fails=True),
        Next("step", "praise", ["except CourseFull"], if_fails=True),
    ],
    waits=[Waiting("retry", "for the next attempt of create_enrollment", "create_enrollment#1", at(-6))],
)
IN_FLIGHT = made(
    "running",
    note="half way",
    attributes={"region": "eu", "priority": 2},
    generation=3,
    crashes=2,
    deadline_at=at(-50),
    created_at=at(600),
    done=[PAYMENT],
    current=[
        Current(
            "create_enrollment#1",
            "step",
            "create_enrollment",
            2,
            None,
            True,
            "EnrollmentDown: 503",
            at(9),
            started_at=at(4),
        ),
        Current("ship#2", "child", "ship", run="purchase-42/ship#2"),
        Current("timer#1", "timer", "timer", due_at=at(-50)),
    ],
    undo=[TO_REMOVE, Undo("refund_payment", "authorize_payment#1", True, False)],
    ahead=AHEAD,
)
WAITING = made(
    "waiting",
    done=[PAYMENT, ENROLLMENT],
    current=[Current("sleep#1", "timer", "sleep", due_at=at(-20 * 86_400))],
    undo=[Undo("remove_enrollment", "create_enrollment#1", False, True, {"seat": 7}, "Enrollment"), TO_REFUND],
    deadline_at=None,
    ahead=[Ahead("sleep", "timedelta(days=1)", 9, looped=True), *AHEAD],
)
AT_THE_DOOR = Waiting("worker", "for a worker that knows shop/run_purchase")
PENDING = made(
    "pending",
    ahead=[Ahead("step", "authorize_payment", 10)],
    next=[Next("step", "authorize_payment", line=10)],
    waits=[AT_THE_DOOR],
)
QUEUED = made(
    "pending", ahead=[Ahead("step", "authorize_payment", 10)], queue="payments", priority=5, waits=[AT_THE_DOOR]
)
WAITING_FOR_EVENTS = made(
    "waiting",
    done=[PAYMENT],
    current=[Current("approval.given|approval.refused#1", "wait", "approval.given|approval.refused", due_at=at(-7200))],
    next=[
        Next("unknown", "chosen[answer.type]", ["if answer.type in chosen"]),
        Next("end", ""),
        Next("failure", "", if_fails=True),
    ],
    waits=[
        Waiting(
            "event",
            "for approval.given or approval.refused about 'purchase-42'",
            until=at(-7200),
            events=["approval.given", "approval.refused"],
            key="purchase-42",
            publishers={"approval.given": [Publisher("reaction", "desk/approve")], "approval.refused": []},
        ),
        Waiting("event", "for bill.paid about 'b 1'", events=["bill.paid"], key="b 1"),
    ],
)
STOPPING = made(
    "running",
    done=[PAYMENT],
    current=[Current("create_enrollment#1", "step", "create_enrollment", 1, 5, True, started_at=at(70))],
    undo=[TO_REMOVE, TO_REFUND],
    stop=Stop("cancel", at(3), "ordered twice"),
)
COMPENSATING = made(
    "compensating",
    done=[PAYMENT],
    failed=[step("create_enrollment", 30, outcome="failed", error="EnrollmentDown: 503", attempts=5, seconds=12.2)],
    current=[
        Current(
            "remove_enrollment#1",
            "compensation",
            "remove_enrollment",
            1,
            10,
            True,
            undoes="create_enrollment#1",
            started_at=at(2),
        )
    ],
    undo=[TO_REMOVE, TO_REFUND],
)
BLOCKED = made(
    "blocked",
    done=[PAYMENT],
    failed=[step("create_enrollment", 30, outcome="failed", error="EnrollmentDown: 503", attempts=5, seconds=12.2)],
    current=[
        Current(
            "remove_enrollment#1",
            "compensation",
            "remove_enrollment",
            10,
            10,
            last_error="EnrollmentDown: 503",
            failed_at=at(25),
            stuck=True,
            undoes="create_enrollment#1",
        ),
        Current("refund_payment#1", "compensation", "refund_payment", stuck=True, undoes="authorize_payment#1"),
    ],
    incidents=[
        Incident("remove_enrollment#1", "compensation", "EnrollmentDown: 503", "create_enrollment#1", True, 10),
        Incident(
            "refund_payment#1",
            "compensation",
            "nobody knows whether authorize_payment#1 happened, and refund_payment does not take None as its "
            "'payment'; find out by hand, then skip it with a note",
            "authorize_payment#1",
            True,
        ),
    ],
)
DIVERGED = made(
    "blocked",
    done=[PAYMENT],
    incidents=[
        Incident(
            "",
            "divergence",
            "Divergence: the history has step create_enrollment#1 at position 2; the code has not begun it",
        )
    ],
)
FAILED = made(
    "failed",
    done=[
        PAYMENT,
        step("remove_enrollment", 3, kind="compensation", undoes="create_enrollment#1", seconds=0.012),
        step(
            "refund_payment",
            2,
            kind="compensation",
            undoes="authorize_payment#1",
            outcome="skipped",
            note="refunded by hand",
            seconds=None,
            attempts=10,
        ),
    ],
    failed=[step("create_enrollment", 30, outcome="failed", error="EnrollmentDown: 503", attempts=5, seconds=12.2)],
    ended_at=at(2),
    seconds=39.0,
    error_type="StepFailed",
    error="step create_enrollment failed after 5 attempts",
)
DECLINED = made(
    "failed",
    failed=[step("authorize_payment", 40, outcome="answered", error="CardDeclined: insufficient funds")],
    ended_at=at(40),
    seconds=0.05,
    error_type="CardDeclined",
    error="insufficient funds",
)
COMPLETED = made(
    "completed",
    done=[
        PAYMENT,
        ENROLLMENT,
        step("sleep", 9, kind="timer", outcome="fired", seconds=None, attempts=0),
        step("pivot", 9, kind="pivot", outcome="pivoted", seconds=None, attempts=0),
        step("purchase.completed", 8, kind="publish", outcome="published", seconds=None, attempts=0),
    ],
    ended_at=at(8),
    seconds=33.0,
    result={"purchase_id": "42", "seat": 7},
    result_type="Receipt",
)
CANCELLED = made(
    "cancelled",
    done=[
        PAYMENT,
        ENROLLMENT,
        step("remove_enrollment", 3, kind="compensation", undoes="create_enrollment#1", seconds=0.012),
        step("refund_payment", 2, kind="compensation", undoes="authorize_payment#1", seconds=0.9),
    ],
    ended_at=at(2),
    seconds=39.0,
    error_type="CancelledError",
    error="",
    stop=Stop("cancel", at(4), "ordered twice"),
)
