"""The two-step purchase with its event, with empty step bodies: what is left is what Motet itself costs.

The steps are async functions: a plain function would add a hop to a thread and back, which says more about Python's
threads than about recording. Everything else is as a user would write it: compensations, a declared error,
a timeout, a deadline.
"""

from dataclasses import dataclass
from datetime import timedelta

from benchmarks.frame import address
from motet import App, Flow, Retry, Workflow


class CardDeclined(Exception):
    """Declared, never raised here."""


@dataclass
class Purchase:
    id: str
    course: str
    card: str
    price: int


@dataclass
class Payment:
    id: str


@dataclass
class Enrollment:
    seat: int


@dataclass
class Receipt:
    purchase_id: str
    seat: int


@dataclass
class PurchaseCompleted:
    purchase_id: str
    payment_id: str


def shop(store: str) -> tuple[App, Workflow[Purchase, Receipt]]:
    """A fresh app on the store, and its workflow."""
    app = App("shop", store=address(store))
    app.event("purchase.completed", key="purchase_id")(PurchaseCompleted)

    @app.step(retry=Retry(attempts=5), timeout=10, raises=[CardDeclined])
    async def authorize_payment(purchase: Purchase) -> Payment:
        return Payment("pay_" + purchase.id)

    @authorize_payment.compensation
    async def refund_payment(payment: Payment | None, purchase: Purchase) -> None:
        pass

    @app.step
    async def create_enrollment(purchase: Purchase) -> Enrollment:
        return Enrollment(1)

    @create_enrollment.compensation
    async def remove_enrollment(enrollment: Enrollment | None, purchase: Purchase) -> None:
        pass

    @app.workflow(deadline=timedelta(hours=1), raises=[CardDeclined])
    async def run_purchase(flow: Flow, purchase: Purchase) -> Receipt:
        payment = await flow.step(authorize_payment, purchase)
        enrollment = await flow.step(create_enrollment, purchase)
        flow.publish(PurchaseCompleted(purchase.id, payment.id))
        return Receipt(purchase.id, enrollment.seat)

    return app, run_purchase


def a_purchase(id: str) -> Purchase:
    return Purchase(id, "course-7", "card-4242", 4900)
