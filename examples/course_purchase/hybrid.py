"""The hybrid style: money and seats have one owner, `shop.py`; whoever only wants to hear of a purchase reacts.

The workflow does not know that these exist. Each has its own position in the log, its own patience and its own dead
letters; what befalls the affiliates delays no mail, and no purchase. Somebody new is added here, and works through
history first if that is wanted.
"""

from motet import Event, Module, Retry

from .participants import briefly, spread_word
from .shop import PurchaseCompleted, shop

AT_ONCE = 32

outreach = Module()


@outreach.on(PurchaseCompleted, retry=briefly, concurrency=AT_ONCE)
async def mail_receipt(event: Event[PurchaseCompleted]) -> None:
    """The learner gets a receipt."""
    await spread_word("mail", event.data.purchase)


@outreach.on(PurchaseCompleted, retry=briefly, concurrency=AT_ONCE)
async def count_conversion(event: Event[PurchaseCompleted]) -> None:
    """Somebody likes numbers."""
    await spread_word("count", event.data.purchase)


@outreach.on(PurchaseCompleted, retry=briefly, concurrency=AT_ONCE)
async def recommend_courses(event: Event[PurchaseCompleted]) -> None:
    """Who has learnt counterpoint may like figured bass."""
    await spread_word("recommend", event.data.purchase)


@outreach.on(PurchaseCompleted, retry=Retry(attempts=3, first=0.05, cap=0.2), concurrency=AT_ONCE)
async def call_affiliate(event: Event[PurchaseCompleted]) -> None:
    """Whoever has sent the learner wants to know. Many do not answer: these are dead letters, and that is all."""
    await spread_word("refer", event.data.purchase)


shop.include(outreach)
