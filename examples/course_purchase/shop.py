"""The shop: a learner buys a course. This is the code to read; everything else here is around it.

Both steps reach a service that may fail, hang, or do its work and lose the reply. Motet runs a step again
until its result is known, with the same `attempt().key` every time, and undoes what was done when the
purchase cannot be finished. A compensation gets None when nobody knows whether its step happened; then it
asks the service.
"""

from dataclasses import dataclass
from datetime import timedelta

from motet import App, Flow, Retry, attempt

from .connections import Connections
from .purchases import Enrollment, Payment, Purchase, Receipt
from .services import Bank, Campus, CardDeclined, CourseFull

shop = App("shop")

services = Connections()
bank = Bank(services)
campus = Campus(services)

briefly = Retry(attempts=4, first=0.05, cap=0.4)


@shop.event("purchase.completed", key="purchase_id")
@dataclass
class PurchaseCompleted:
    """The learner has paid and has a seat."""

    purchase_id: str
    payment_id: str


@shop.step(retry=briefly, timeout=2, raises=[CardDeclined])
async def authorize_payment(purchase: Purchase) -> Payment:
    """Charge the card."""
    return await bank.charge(purchase, attempt())


@authorize_payment.compensation
async def refund_payment(payment: Payment | None, purchase: Purchase) -> None:
    """Give the money back, if it was taken."""
    await bank.refund(purchase, payment, attempt())


@shop.step(retry=briefly, timeout=2, raises=[CourseFull])
async def create_enrollment(purchase: Purchase) -> Enrollment:
    """Give the learner a seat."""
    return await campus.enroll(purchase, attempt())


@create_enrollment.compensation
async def remove_enrollment(enrollment: Enrollment | None, purchase: Purchase) -> None:
    """Take the seat back, if one was given."""
    await campus.remove(purchase, enrollment, attempt())


@shop.workflow(deadline=timedelta(hours=1), raises=[CardDeclined, CourseFull])
async def run_purchase(flow: Flow, purchase: Purchase) -> Receipt:
    """Charge, enroll, and tell the world; or leave nothing behind."""
    payment = await flow.step(authorize_payment, purchase)
    enrollment = await flow.step(create_enrollment, purchase)
    flow.publish(PurchaseCompleted(purchase.id, payment.id))
    return Receipt(purchase.id, payment.id, enrollment.id)
