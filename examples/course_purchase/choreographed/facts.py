"""The events that the services speak in: all that they have in common."""

from dataclasses import dataclass

from motet import App

from ..purchases import Enrollment, Payment, Purchase


@dataclass(frozen=True)
class PurchaseRequested:
    """A learner wants a course."""

    purchase_id: str
    purchase: Purchase


@dataclass(frozen=True)
class PaymentCaptured:
    """The learner has paid."""

    purchase_id: str
    purchase: Purchase
    payment: Payment


@dataclass(frozen=True)
class PaymentDeclined:
    """The learner cannot pay; nothing was charged."""

    purchase_id: str
    purchase: Purchase


@dataclass(frozen=True)
class PaymentFailed:
    """The bank could not be brought to say whether it has charged the card; if it has, that is undone."""

    purchase_id: str
    purchase: Purchase


@dataclass(frozen=True)
class PaymentRefunded:
    """The learner has the money back."""

    purchase_id: str
    purchase: Purchase


@dataclass(frozen=True)
class EnrollmentDecided:
    """The learner has a seat; or there is none, and `enrollment` is None."""

    purchase_id: str
    purchase: Purchase
    enrollment: Enrollment | None


@dataclass(frozen=True)
class SeatMissing:
    """The learner has paid, and for too long nobody has said what became of the seat."""

    purchase_id: str
    purchase: Purchase
    payment: Payment


@dataclass(frozen=True)
class SeatReleased:
    """The learner has no seat, or none any more."""

    purchase_id: str
    purchase: Purchase


FACTS: dict[str, type] = {
    "purchase.requested": PurchaseRequested,
    "payment.captured": PaymentCaptured,
    "payment.declined": PaymentDeclined,
    "payment.failed": PaymentFailed,
    "payment.refunded": PaymentRefunded,
    "enrollment.decided": EnrollmentDecided,
    "seat.missing": SeatMissing,
    "seat.released": SeatReleased,
}


def declare_facts(app: App) -> None:
    """Let a service know the events by their classes. Each has the purchase for its key."""
    for name, fact in FACTS.items():
        app.event(name, key="purchase_id")(fact)
