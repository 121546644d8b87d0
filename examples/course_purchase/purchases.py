"""What is bought, and what comes of it: the data that the workflow's inputs and results are made of.

A purchase may carry a *trouble*: what will go wrong for it outside. Payment providers have magic card numbers
for the same purpose; here the trouble travels with each request and the ledger acts on it (`faults.py`), so
that one seed always makes the same bad day.
"""

from dataclasses import dataclass
from typing import Literal, get_args

Trouble = Literal[
    "card_declined",
    "course_full",
    "enrollment_outage",
    "enrollment_closed",
    "enrollment_hangs",
    "charge_reply_lost",
    "charge_reply_always_lost",
    "enroll_reply_lost",
    "enroll_reply_always_lost",
    "refund_reply_lost",
]
"""What can go wrong for a purchase. `faults.py` says what each one does to which request."""

TROUBLES: tuple[Trouble, ...] = get_args(Trouble)


@dataclass(frozen=True)
class Purchase:
    """One learner buys one course. `id` is the business key; `price_cents` is in cents of one currency."""

    id: str
    learner: str
    course: str
    card: str
    price_cents: int
    trouble: Trouble | None = None


@dataclass(frozen=True)
class Payment:
    """A charge that the bank made. `id` is the bank's name for it, needed to refund it."""

    id: str
    cents: int


@dataclass(frozen=True)
class Enrollment:
    """A seat that the campus gave. `id` is the campus's name for it, needed to give the seat back."""

    id: str
    course: str


@dataclass(frozen=True)
class Receipt:
    """What the learner holds in the end."""

    purchase_id: str
    payment_id: str
    enrollment_id: str
