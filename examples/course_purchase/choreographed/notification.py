"""Notification: writes to the learner whenever there is something to say. Nobody waits for it."""

from motet import App, Event

from ..participants import briefly, spread_word
from .facts import EnrollmentDecided, PaymentDeclined, PaymentFailed, PaymentRefunded, declare_facts

notification = App("notification")
declare_facts(notification)


@notification.on(PaymentDeclined, PaymentFailed, PaymentRefunded, EnrollmentDecided, retry=briefly, concurrency=32)
async def mail_learner(event: Event[PaymentDeclined | PaymentFailed | PaymentRefunded | EnrollmentDecided]) -> None:
    """One mail for each of them: a welcome, perhaps a farewell soon after."""
    await spread_word("mail", event.data.purchase)
