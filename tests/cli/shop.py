"""The user's module of these tests, copied into an empty folder; a purchase's `mode` says what happens to it."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from motet import App, Flow, Retry
from motet.model.clock import SYSTEM

shop = App("shop")


class CardDeclined(Exception):
    """The bank said no."""


class EnrollmentDown(Exception):
    """The campus does not answer."""


@dataclass
class Purchase:
    id: str
    mode: str = "fine"


@dataclass
class Payment:
    id: str
    cents: int


@dataclass
class Enrollment:
    seat: int


@dataclass
class Receipt:
    purchase_id: str
    seat: int


@shop.event("purchase.completed", key="purchase_id")
@dataclass
class PurchaseCompleted:
    purchase_id: str


@shop.step(raises=[CardDeclined])
async def authorize_payment(purchase: Purchase) -> Payment:
    if purchase.mode == "declined":
        raise CardDeclined("insufficient funds")
    return Payment("pay_1", 4200)


@authorize_payment.compensation(retry=Retry(attempts=2, first=0.01))
async def refund_payment(payment: Payment | None, purchase: Purchase) -> None:
    if purchase.mode == "stuck":
        raise ConnectionError("the bank does not answer")


@shop.step(retry=Retry(attempts=5, first=600, jitter=0, cap=600))
async def create_enrollment(purchase: Purchase) -> Enrollment:
    if purchase.mode == "retrying":
        raise EnrollmentDown("503")
    return Enrollment(7)


@create_enrollment.compensation
async def remove_enrollment(enrollment: Enrollment | None, purchase: Purchase) -> None: ...


@shop.step(retry=Retry(attempts=1))
def check_prerequisites(purchase: Purchase) -> None:
    if purchase.mode in ("failing", "stuck"):
        raise ValueError("no such course\nin \x1b[31mthis term")


@shop.step
def linger(purchase: Purchase) -> str:
    """Takes as long as the file `linger` is there; tells when it has begun and ended."""
    Path("begun").touch()
    while Path("linger").exists():
        SYSTEM.pause(0.01)
    Path("ended").touch()
    return "lingered"


@shop.workflow(deadline=timedelta(days=1), raises=[CardDeclined])
async def run_purchase(flow: Flow, purchase: Purchase) -> Receipt:
    await flow.step(authorize_payment, purchase)
    enrollment = await flow.step(create_enrollment, purchase)
    if purchase.mode in ("failing", "stuck"):
        await flow.step(check_prerequisites, purchase)
    if purchase.mode == "waiting":
        flow.note("the term begins soon")
        await flow.sleep(timedelta(days=2) / 48)
    if purchase.mode == "lingering":
        await flow.step(linger, purchase)
    flow.publish(PurchaseCompleted(purchase.id))
    return Receipt(purchase.id, enrollment.seat)


@shop.workflow
async def buy_two(flow: Flow) -> int:
    """Has no input."""
    return 2
