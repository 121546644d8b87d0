"""The bank, the campus and the rest of the world as the shop sees them: clients, and what they raise.

`CardDeclined` and `CourseFull` are answers: the service has decided, and nothing was done. `EnrollmentDown`,
`NobodyThere` and `ServiceUnreachable` are faults, worth another attempt with the same key.

An undo takes None where the shop does not know whether there is anything to undo; the service then looks it
up.
"""

from typing import Protocol

from .connections import Connections, ServiceUnreachable
from .fields import BadField
from .protocol import NOTICES, Call, Notice, Operation, Reply, decode_reply, encode_call
from .purchases import Enrollment, Payment, Purchase


class CardDeclined(Exception):
    """The bank will not charge this card."""


class CourseFull(Exception):
    """The campus has no seat left in this course."""


class EnrollmentDown(Exception):
    """The campus is out of service."""


class NobodyThere(Exception):
    """One of those who only want to hear of a purchase is out of service."""


class KeyReused(Exception):
    """One idempotency key was used for two different things. No service can do right by such a request."""


class StepAttempt(Protocol):
    """What a service is told about the attempt: `motet.attempt()` gives it, and a test may give its own."""

    @property
    def key(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def token(self) -> int: ...
    @property
    def run(self) -> str: ...
    @property
    def step(self) -> str: ...


class Bank:
    """Charges cards and gives money back."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def charge(self, purchase: Purchase, attempt: StepAttempt) -> Payment:
        """Charge the purchase's price to its card; raises `CardDeclined`."""
        reply = await _ask(self._connections, "charge", purchase, attempt)
        if reply.answer == "card_declined":
            raise CardDeclined(f"the bank declined {purchase.card} for {purchase.course}")
        return Payment(_done(reply), purchase.price_cents)

    async def refund(self, purchase: Purchase, payment: Payment | None, attempt: StepAttempt) -> None:
        """Give a payment back. None: whatever the bank finds charged for this purchase, perhaps nothing."""
        await _ask(self._connections, "refund", purchase, attempt, effect=payment.id if payment else None)


class Campus:
    """Gives seats in courses and takes them back."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def enroll(self, purchase: Purchase, attempt: StepAttempt) -> Enrollment:
        """Give the learner a seat; raises `CourseFull`, and `EnrollmentDown` while out of service."""
        reply = await _ask(self._connections, "enroll", purchase, attempt)
        if reply.answer == "course_full":
            raise CourseFull(f"no seat left in {purchase.course}")
        return Enrollment(_done(reply), purchase.course)

    async def remove(self, purchase: Purchase, enrollment: Enrollment | None, attempt: StepAttempt) -> None:
        """Take a seat back. None: whatever seat the campus finds given for this purchase, perhaps none."""
        await _ask(self._connections, "remove", purchase, attempt, effect=enrollment.id if enrollment else None)


class Audience:
    """Those who want to hear of a purchase: post office, counters, recommendations, affiliates."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def tell(self, notice: Notice, purchase: Purchase, attempt: StepAttempt) -> None:
        """Have one of them do its part; raises `NobodyThere` while it is out of service."""
        await _ask(self._connections, notice, purchase, attempt)


async def _ask(
    connections: Connections,
    operation: Operation,
    purchase: Purchase,
    attempt: StepAttempt,
    effect: str | None = None,
) -> Reply:
    call = Call(
        operation=operation,
        key=attempt.key,
        attempt=attempt.number,
        token=attempt.token,
        purchase=purchase.id,
        trouble=purchase.trouble,
        effect=effect,
        cents=purchase.price_cents if operation in ("charge", "refund") else None,
        caller=connections.caller,
        line=attempt.run or attempt.step,
    )
    line = await connections.ask(encode_call(call))
    try:
        reply = decode_reply(line)
    except BadField as error:
        raise ServiceUnreachable(f"the ledger's reply makes no sense: {line[:200]!r}: {error}") from error
    if reply.answer == "unavailable" and operation in NOTICES:
        raise NobodyThere(f"503: nobody answers to {operation}")
    if reply.answer == "unavailable":
        raise EnrollmentDown("503: the campus is out of service")
    if reply.answer == "key_conflict":
        raise KeyReused(f"key {attempt.key!r} was used for something else before this {operation}")
    return reply


def _done(reply: Reply) -> str:
    if reply.answer != "done" or reply.effect is None:
        raise ServiceUnreachable(f"the ledger answered {reply.answer!r}, which is no answer to this request")
    return reply.effect
