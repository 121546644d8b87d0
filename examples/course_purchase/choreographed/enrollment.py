"""Enrollment: gives seats to those who have paid, and takes them back from those who have their money again.

One reaction hears of both, so that they come one after the other for a purchase: a refund that is made while the campus
does not answer is dealt with when it has answered, and finds the seat that came too late.

The service has the fault that choreographies are known for: when the campus stays closed it gives up and tells nobody.
When the campus's answer is lost again and again, the delivery becomes a dead letter, of which nobody hears either. It
does not know that billing waits for its word, so it cannot know what its silence costs.
"""

import logging

from motet import App, Event, attempt

from .. import participants
from ..participants import briefly
from ..services import CourseFull, EnrollmentDown
from .facts import EnrollmentDecided, PaymentCaptured, PaymentRefunded, SeatReleased, declare_facts

log = logging.getLogger(__name__)

enrollment = App("enrollment")
declare_facts(enrollment)

AT_ONCE = 64
ANSWER_WITHIN_SECONDS = 8.0
"""Longer than billing is ready to wait, which enrollment does not know: some seats come after the refund."""


@enrollment.on(PaymentCaptured, PaymentRefunded, retry=briefly, timeout=ANSWER_WITHIN_SECONDS, concurrency=AT_ONCE)
async def keep_seats(event: Event[PaymentCaptured | PaymentRefunded]) -> None:
    """A seat for money, and no seat without."""
    purchase = event.data.purchase
    if isinstance(event.data, PaymentRefunded):
        await participants.remove_enrollment(None, purchase)
        event.publish(SeatReleased(purchase.id, purchase))
        return
    try:
        seat = await participants.create_enrollment(purchase)
    except CourseFull:
        event.publish(EnrollmentDecided(purchase.id, purchase, None))
    except EnrollmentDown as error:
        if attempt().number < (briefly.attempts or 0):
            raise
        log.warning("no seat for %s: %s; giving up", purchase.id, error)
    else:
        event.publish(EnrollmentDecided(purchase.id, purchase, seat))
