"""The shop: a learner buys a course. This is the code to read; everything else here is around it.

Both steps reach a service that may fail, hang, or do its work and lose the reply (`participants.py`). Motet runs a step
again until its result is known, with the same `attempt().key` every time, and undoes what was done when the
purchase cannot be finished. A compensation gets None when nobody knows whether its step happened; then it
asks the service.

This is the orchestrated style: the workflow owns the sequence. `hybrid.py` adds those who only want to hear of it.
"""

from dataclasses import dataclass
from datetime import timedelta

from motet import App, Flow

from . import participants
from .participants import briefly
from .purchases import Purchase, Receipt
from .services import CardDeclined, CourseFull

shop = App("shop")


@shop.event("purchase.completed", key="purchase_id")
@dataclass
class PurchaseCompleted:
    """The learner has paid and has a seat."""

    purchase_id: str
    payment_id: str
    purchase: Purchase


authorize_payment = shop.step(retry=briefly, timeout=2, raises=[CardDeclined])(participants.authorize_payment)
refund_payment = authorize_payment.compensation(participants.refund_payment)

create_enrollment = shop.step(retry=briefly, timeout=2, raises=[CourseFull])(participants.create_enrollment)
remove_enrollment = create_enrollment.compensation(participants.remove_enrollment)


@shop.workflow(deadline=timedelta(hours=1), raises=[CardDeclined, CourseFull])
async def run_purchase(flow: Flow, purchase: Purchase) -> Receipt:
    """Charge, enroll, and tell the world; or leave nothing behind."""
    payment = await flow.step(authorize_payment, purchase)
    enrollment = await flow.step(create_enrollment, purchase)
    flow.publish(PurchaseCompleted(purchase.id, payment.id, purchase))
    return Receipt(purchase.id, payment.id, enrollment.id)
