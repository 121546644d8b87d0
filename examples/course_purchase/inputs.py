"""Where a demo's purchases come from: a seeded generator, or a file with one JSON object per line.

The same count and seed always give the same purchases. A file is read whole before anything starts, so that a
mistake in its last line is told before the first card is charged.
"""

import random
from collections.abc import Iterator
from pathlib import Path

from .fields import BadField, Fields
from .purchases import TROUBLES, Purchase, Trouble

COURSES = (
    ("counterpoint", 24_900),
    ("figured-bass", 18_500),
    ("sight-singing", 7_900),
    ("early-notation", 12_000),
    ("choir-conducting", 31_500),
)
"""Courses on sale, with their price in cents."""

LEARNERS = (
    "ada",
    "bruno",
    "chiara",
    "dufay",
    "elias",
    "francesca",
    "guillaume",
    "hildegard",
    "isaac",
    "josquin",
)

UNTROUBLED_PERCENT = 55
"""How many generated purchases meet no trouble, in percent."""

TROUBLE_WEIGHTS: dict[Trouble, int] = {
    "card_declined": 8,
    "course_full": 6,
    "enrollment_outage": 6,
    "enrollment_closed": 4,
    "enrollment_hangs": 2,
    "charge_reply_lost": 5,
    "charge_reply_always_lost": 3,
    "enroll_reply_lost": 5,
    "enroll_reply_always_lost": 3,
    "refund_reply_lost": 3,
}
"""How often each trouble comes up among the troubled."""


class BadPurchases(Exception):
    """The purchases asked for cannot be used. The message names the file, the line and the field."""


def generate(count: int, seed: int) -> list[Purchase]:
    """Return `count` purchases, always the same ones for the same seed.

    From 20 purchases on, every trouble comes up at least once: a demo that by chance never lost a reply
    proves less.
    """
    chance = random.Random(seed)
    troubles: list[Trouble | None] = list(TROUBLES) if count >= 2 * len(TROUBLES) else []
    while len(troubles) < count:
        troubles.append(_draw_trouble(chance))
    chance.shuffle(troubles)
    return [_generate_one(number, trouble, chance) for number, trouble in enumerate(troubles, start=1)]


def _draw_trouble(chance: random.Random) -> Trouble | None:
    if chance.randrange(100) < UNTROUBLED_PERCENT:
        return None
    return chance.choices(list(TROUBLE_WEIGHTS), weights=list(TROUBLE_WEIGHTS.values()))[0]


def _generate_one(number: int, trouble: Trouble | None, chance: random.Random) -> Purchase:
    course, price_cents = chance.choice(COURSES)
    card = f"card_{chance.randrange(10_000):04d}"
    return Purchase(f"p{number:05d}", chance.choice(LEARNERS), course, card, price_cents, trouble)


def load(path: Path) -> list[Purchase]:
    """Read purchases from a file with one JSON object per line; empty lines are skipped.

    Raises `BadPurchases` for the first line that is not a purchase, and for an id that comes twice.
    """
    line_of: dict[str, int] = {}
    purchases: list[Purchase] = []
    for number, line in _lines(path):
        try:
            purchase = _read_purchase(Fields.parse(line))
        except BadField as error:
            raise BadPurchases(f"{path}, line {number}: {error}") from error
        if purchase.id in line_of:
            already = line_of[purchase.id]
            raise BadPurchases(f"{path}, line {number}: field 'id': {purchase.id!r} was used in line {already} already")
        line_of[purchase.id] = number
        purchases.append(purchase)
    if not purchases:
        raise BadPurchases(f"{path} holds no purchases; write one JSON object per line")
    return purchases


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadPurchases(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadPurchases(f"{path} is not UTF-8 text: the byte at {error.start} cannot be read") from error
    # Not splitlines(): that also splits at characters which JSON texts may hold, such as U+2028.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line


def _read_purchase(fields: Fields) -> Purchase:
    fields.refuse_unknown(("id", "learner", "course", "card", "price_cents", "trouble"))
    return Purchase(
        id=fields.text("id"),
        learner=fields.text("learner"),
        course=fields.text("course"),
        card=fields.text("card"),
        price_cents=fields.whole("price_cents", at_least=1),
        trouble=fields.optional_one_of("trouble", TROUBLES),
    )
