"""The three styles: which processes drive a purchase, how it begins, and how one hears of its end.

    orchestrated   one workflow owns the sequence (`shop.py`)
    hybrid         the same, and whoever only wants to hear of it reacts (`hybrid.py`)
    choreographed  nobody owns it: four services react to one another's events (`choreographed/`)

The world outside, its faults and what is checked are the same in all three.
"""

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Literal, NamedTuple, Protocol, get_args

from motet import App, RunHandle
from motet.errors import RunEndedBadly

from .chronicle import Chronicle
from .purchases import Purchase, Receipt
from .services import CardDeclined, CourseFull
from .shop import run_purchase
from .verify import End, RunEnd, StoryEnd, Ways

StyleName = Literal["choreographed", "orchestrated", "hybrid"]
STYLES: tuple[StyleName, ...] = get_args(StyleName)

RUN_PREFIX = "purchase-"


class Role(NamedTuple):
    """What a worker process is for: `app` in a module of this package. `many`: as many of them as are asked for."""

    name: str
    module: str
    app: str
    many: bool = True


ROLES: dict[StyleName, tuple[Role, ...]] = {
    "orchestrated": (Role("worker", ".shop", "shop"),),
    "hybrid": (Role("worker", ".hybrid", "shop"),),
    "choreographed": (
        Role("billing", ".choreographed.billing", "billing"),
        Role("enrollment", ".choreographed.enrollment", "enrollment"),
        Role("notification", ".choreographed.notification", "notification", many=False),
        Role("analytics", ".choreographed.analytics", "analytics", many=False),
    ),
}

ONE_OWNER: tuple[StyleName, ...] = ("orchestrated", "hybrid")


def ways_of(style: StyleName, purchase: str) -> Ways:
    """Who may do anything for a purchase of this style."""
    apps = frozenset(role.app for role in ROLES[style])
    return Ways(apps, RUN_PREFIX + purchase if style in ONE_OWNER else None)


class Course(Protocol):
    """How the purchases of one style take their course, as their client sees it."""

    async def begin(self, purchase: Purchase) -> None:
        """Begin one; when this returns, that is durable."""
        ...

    async def ended(self, purchase: str) -> None:
        """Return when it has ended, as far as is known."""
        ...

    async def ends(self, purchases: Collection[str]) -> Mapping[str, End]:
        """How they stand."""
        ...


class Owned:
    """Each purchase is a run."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._runs: dict[str, RunHandle[Receipt]] = {}

    async def begin(self, purchase: Purchase) -> None:
        """Start its run."""
        self._runs[purchase.id] = await self._app.start(run_purchase, purchase, id=RUN_PREFIX + purchase.id)

    async def ended(self, purchase: str) -> None:
        """How it ended is read from its record later; here it only matters that it has."""
        with contextlib.suppress(CardDeclined, CourseFull, RunEndedBadly):
            await self._runs[purchase].result()

    async def ends(self, purchases: Collection[str]) -> Mapping[str, End]:
        """What the runs' records say."""
        if not purchases:
            return {}
        runs = await self._app.runs(workflow=run_purchase.name, limit=len(purchases))
        return {run.id.removeprefix(RUN_PREFIX): RunEnd(run.state, run.error_type) for run in runs}


class Unowned:
    """Each purchase is what is said of it."""

    def __init__(self, app: App, chronicle: Chronicle) -> None:
        self._app = app
        self._chronicle = chronicle

    async def begin(self, purchase: Purchase) -> None:
        """Say that it is wanted. Whoever says so knows nobody's classes."""
        data = {"purchase_id": purchase.id, "purchase": asdict(purchase)}
        await self._app.publish("purchase.requested", data, key=purchase.id)

    async def ended(self, purchase: str) -> None:
        """Wait until the events say so."""
        await self._chronicle.ended(purchase)

    async def ends(self, purchases: Collection[str]) -> Mapping[str, End]:
        """What the log says, but for those of which a service's own run waits for a person."""
        await self._chronicle.read_on()
        blocked = {run.conversation for run in await self._app.runs(state="blocked", limit=max(len(purchases), 1))}
        stories = self._chronicle.stories
        return {
            purchase: StoryEnd("blocked") if purchase in blocked else stories[purchase].end
            for purchase in purchases
            if purchase in stories
        }
