"""Analytics: counts what others publish. It was added last, and nobody had to be asked."""

from motet import App, Event

from ..participants import briefly, spread_word
from .facts import declare_facts

analytics = App("analytics")
declare_facts(analytics)


@analytics.on("payment.*", "enrollment.*", retry=briefly, concurrency=32)
async def count_facts(event: Event) -> None:
    """Every fact about money or seats, once."""
    await spread_word("count", event.data.purchase)
