"""What the participants of a purchase do: one function each, the same in all three styles.

In `shop.py` they are steps of a workflow, in `choreographed/` steps and reactions of services that do not know one
another. `attempt()` tells them their idempotency key in both. What they do not know is who calls them, and what
happens next: that is what the styles differ in.
"""

from motet import Retry, attempt

from .connections import Connections
from .protocol import Notice
from .purchases import Enrollment, Payment, Purchase
from .services import Audience, Bank, Campus

services = Connections()
bank = Bank(services)
campus = Campus(services)
audience = Audience(services)

briefly = Retry(attempts=4, first=0.05, cap=0.4)
"""How patient they are with a service that does not answer."""


async def authorize_payment(purchase: Purchase) -> Payment:
    """Charge the card."""
    return await bank.charge(purchase, attempt())


async def refund_payment(payment: Payment | None, purchase: Purchase) -> None:
    """Give the money back, if it was taken."""
    await bank.refund(purchase, payment, attempt())


async def create_enrollment(purchase: Purchase) -> Enrollment:
    """Give the learner a seat."""
    return await campus.enroll(purchase, attempt())


async def remove_enrollment(enrollment: Enrollment | None, purchase: Purchase) -> None:
    """Take the seat back, if one was given."""
    await campus.remove(purchase, enrollment, attempt())


async def spread_word(notice: Notice, purchase: Purchase) -> None:
    """Mail, count, recommend, or call the affiliate back."""
    await audience.tell(notice, purchase, attempt())
