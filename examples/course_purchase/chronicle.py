"""What Motet's log says of the purchases, read through its client and read on as it grows.

Where a purchase has no owner, this is all that anybody can know of it: its story is put together from what the services
have published. It is hearsay, as every record of the engine is here; `verify.py` holds it against the ledger.

Also what ought to have been done by those who react: one notice for each event that they hear, by the style of the
purchase, but for those that became dead letters.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from motet import App
from motet.errors import StoreUnavailable

from .protocol import Notice
from .verify import StoryEnd

PAGE = 1_000
AWAY_SECONDS = 0.25

HEARD: dict[str, dict[str, tuple[Notice, ...]]] = {
    "orchestrated": {},
    "hybrid": {"purchase.completed": ("mail", "count", "recommend", "refer")},
    "choreographed": {
        "payment.captured": ("count",),
        "payment.declined": ("count", "mail"),
        "payment.failed": ("count", "mail"),
        "payment.refunded": ("count", "mail"),
        "enrollment.decided": ("count", "mail"),
    },
}
"""By style and event: what is done by somebody who hears of it."""

NOTICE_OF: dict[str, Notice] = {
    "shop/mail_receipt": "mail",
    "shop/count_conversion": "count",
    "shop/recommend_courses": "recommend",
    "shop/call_affiliate": "refer",
    "notification/mail_learner": "mail",
    "analytics/count_facts": "count",
}
"""By reaction: what it does."""


@dataclass
class Story:
    """What has been said of one purchase. `failed` is the failure that somebody has published."""

    failed: str | None = None
    enrolled: bool = False
    refund_due: bool = False
    refunded: bool = False
    released: bool = False

    def take(self, type: str, data: Mapping[str, Any]) -> None:
        """Go on by one event."""
        if type in ("payment.declined", "payment.failed"):
            self.failed = type
        elif type == "enrollment.decided":
            self.enrolled = data["enrollment"] is not None
            if not self.enrolled:
                self.failed, self.refund_due = type, True
        elif type == "seat.missing":
            self.refund_due = True
        elif type == "payment.refunded":
            self.refunded = True
        elif type == "seat.released":
            self.released = True

    @property
    def end(self) -> StoryEnd:
        """How it has ended, as far as is known."""
        if self.failed == "payment.declined":
            return StoryEnd("declined")
        if self.failed == "payment.failed" or (self.refunded and self.released):
            return StoryEnd("compensated")
        return StoryEnd("completed" if self.enrolled and not self.refund_due else "lost")


@dataclass
class Chronicle:
    """The log so far. `style_of` tells the style of a purchase, by its id."""

    app: App
    style_of: Mapping[str, str]
    position: int = 0
    events: int = 0
    missed: int = 0
    noticed: int = 0
    stories: dict[str, Story] = field(default_factory=dict[str, Story])
    notices: Counter[tuple[Notice, str]] = field(default_factory=Counter[tuple[Notice, str]])
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _ended: dict[str, asyncio.Event] = field(default_factory=dict[str, asyncio.Event])

    async def follow(self) -> None:
        """Read whatever is new, until cancelled; a store that does not answer is asked again."""
        news = self.app.client.listen()
        while True:
            try:
                await self.read_on()
            except StoreUnavailable:
                await asyncio.sleep(AWAY_SECONDS)  # tidy: the store is away
                continue
            await news.wait()
            news.clear()

    async def read_on(self) -> None:
        """Read to the end of the log."""
        store = self.app.client.store
        async with self._reading:
            while page := await store.events(self.position, PAGE):
                for event in page:
                    self.position = event.position
                    self.events += 1
                    self._take(event.type, event.subject or "", json.loads(event.data))

    async def ended(self, purchase: str) -> None:
        """Return when the events say that it has ended; later ones may say otherwise."""
        await self._ended.setdefault(purchase, asyncio.Event()).wait()

    def _take(self, type: str, key: str, data: Any) -> None:
        if type == "motet.delivery.parked":
            notice = NOTICE_OF.get(data["reaction"])
            if notice is not None:
                self.notices[notice, key] -= 1
            return
        if type == "motet.expectation.missed":
            self.missed += 1
            self.noticed += self.stories.setdefault(key, Story()).failed is None
            return
        style = self.style_of.get(key)
        if style is None:
            return
        for notice in HEARD[style].get(type, ()):
            self.notices[notice, key] += 1
        if style == "choreographed":
            story = self.stories.setdefault(key, Story())
            story.take(type, data)
            if story.end.ended:
                self._ended.setdefault(key, asyncio.Event()).set()
