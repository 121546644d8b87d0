"""The store's specification, as a suite that every backend runs:

    from motet.testing.conformance import StoreConformance

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def address(self, tmp_path: Path) -> str:
            return f"mystore://{tmp_path}/store"

The address names a store that does not exist yet, and `motet.store.open.store_at` understands it: the suite opens it
several times, from several processes too. Add the theme `Copying` if the store copies itself, else `CopiedElsewhere`.
Needs pytest with pytest-asyncio in auto mode.
"""

from __future__ import annotations

import pytest

_THEMES = (
    "burial", "claiming", "concurrency", "copying", "cursors", "delivering", "events", "expecting", "fencing",
    "finding", "histories", "inboxes", "listing", "opening", "payloads", "pruning", "queueing", "receipts", "starts",
    "states", "taking", "texts", "transacting", "versions", "waiting", "writing",
)  # fmt: skip
pytest.register_assert_rewrite(*(f"{__name__}.{theme}" for theme in _THEMES))

from motet.testing.conformance.burial import Burial  # noqa: E402 - asserts are rewritten before they are imported
from motet.testing.conformance.claiming import Claiming  # noqa: E402
from motet.testing.conformance.concurrency import Concurrency  # noqa: E402
from motet.testing.conformance.copying import CopiedElsewhere, Copying  # noqa: E402
from motet.testing.conformance.cursors import Cursors  # noqa: E402
from motet.testing.conformance.delivering import Deliveries, DeliveryTransactions  # noqa: E402
from motet.testing.conformance.events import Events  # noqa: E402
from motet.testing.conformance.expecting import Expecting  # noqa: E402
from motet.testing.conformance.fencing import Fencing  # noqa: E402
from motet.testing.conformance.finding import Finding  # noqa: E402
from motet.testing.conformance.histories import Histories  # noqa: E402
from motet.testing.conformance.inboxes import Inboxes  # noqa: E402
from motet.testing.conformance.listing import Listing  # noqa: E402
from motet.testing.conformance.opening import Opening  # noqa: E402
from motet.testing.conformance.queueing import Queueing  # noqa: E402
from motet.testing.conformance.receipts import Receipts  # noqa: E402
from motet.testing.conformance.starts import Starts  # noqa: E402
from motet.testing.conformance.states import States  # noqa: E402
from motet.testing.conformance.taking import Taking  # noqa: E402
from motet.testing.conformance.texts import Texts  # noqa: E402
from motet.testing.conformance.transacting import StepTransactions  # noqa: E402
from motet.testing.conformance.versions import Versioning  # noqa: E402
from motet.testing.conformance.waiting import Waiting  # noqa: E402
from motet.testing.conformance.writing import Writes  # noqa: E402


class StoreConformance(
    Opening, Writes, Fencing, Receipts, Starts, States, Inboxes, Claiming, Taking, Queueing, Burial, Histories, Listing,
    Events, Finding, Cursors, Deliveries, DeliveryTransactions, StepTransactions, Waiting, Expecting, Texts, Versioning,
    Concurrency,
):  # fmt: skip
    """All themes but those of copying. A subclass gives the fixture `address`."""


__all__ = [
    "Burial", "Claiming", "Concurrency", "CopiedElsewhere", "Copying", "Cursors", "Deliveries", "DeliveryTransactions",
    "Events", "Expecting", "Fencing", "Finding", "Histories", "Inboxes", "Listing", "Opening", "Queueing", "Receipts",
    "Starts", "States", "StepTransactions", "StoreConformance", "Taking", "Texts", "Versioning", "Waiting", "Writes",
]  # fmt: skip
