"""Billing: takes money and gives it back, and notices when nobody says what became of the seat.

Within the service, a small workflow of its own undoes a charge of which nobody knows whether it happened. Between the
services nobody undoes anything: billing refunds because it hears that there is no seat, or because it has heard
nothing.
"""

from motet import App, Event, Flow, Missed, Retry, StepFailed

from .. import participants
from ..participants import briefly
from ..services import CardDeclined
from .facts import (
    EnrollmentDecided,
    PaymentCaptured,
    PaymentDeclined,
    PaymentFailed,
    PaymentRefunded,
    PurchaseRequested,
    SeatMissing,
    declare_facts,
)

billing = App("billing")
declare_facts(billing)

SEAT_WITHIN_SECONDS = 4.0
"""How long after a payment billing waits to hear of a seat. Long enough for a campus that is slow, and for a service
that is started anew; short for a demo."""

authorize_payment = billing.step(retry=briefly, timeout=2, raises=[CardDeclined])(participants.authorize_payment)
authorize_payment.compensation(name="refund_unknown")(participants.refund_payment)

refund_payment = billing.step(retry=Retry(attempts=10, first=0.1), timeout=2)(participants.refund_payment)


@billing.workflow(on=PurchaseRequested, id=lambda event: f"payment-{event.key}")
async def take_payment(flow: Flow, requested: PurchaseRequested) -> None:
    """Charge the card, and say what came of it."""
    purchase = requested.purchase
    try:
        payment = await flow.step(authorize_payment, purchase)
    except CardDeclined:
        flow.publish(PaymentDeclined(purchase.id, purchase))
    except StepFailed:
        flow.publish(PaymentFailed(purchase.id, purchase))
        raise  # the run fails, and what may have been charged is given back
    else:
        flow.publish(PaymentCaptured(purchase.id, purchase, payment))


def is_no_seat(event: Event[EnrollmentDecided | SeatMissing]) -> bool:
    """Whether the learner has paid for nothing."""
    return isinstance(event.data, SeatMissing) or event.data.enrollment is None


@billing.workflow(on=[EnrollmentDecided, SeatMissing], filter=is_no_seat, id=lambda event: f"refund-{event.key}")
async def give_money_back(flow: Flow, event: Event[EnrollmentDecided | SeatMissing]) -> None:
    """Refund; once for a purchase, however many reasons there are."""
    purchase = event.data.purchase
    await flow.step(refund_payment, None, purchase)
    flow.publish(PaymentRefunded(purchase.id, purchase))


async def say_that_it_is_missing(missed: Event[Missed]) -> None:
    """Nobody has published a failure. The silence is one."""
    missed.publish("seat.missing", missed.data.data)


billing.expect(
    EnrollmentDecided,
    after=PaymentCaptured,
    within=SEAT_WITHIN_SECONDS,
    name="seat",
    on_missed=say_that_it_is_missing,
)
