"""What a store must do for the loose edges: who reads the log how far, deliveries, and what is expected.

A part of the store's protocol (`motet.store.protocol`), with the same rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from motet.model.clock import Micros
from motet.model.delivery import DEAD, DeliveryRow, DeliveryState
from motet.model.expected import EXPECTED_STATES, Expected, ExpectedState

CursorKind = Literal["reaction", "expectation"]


class Subscription(NamedTuple):
    """What code says of one of its readers of the log.

    Args:
        name: as `shop/send_receipt`.
        definition: everything else that others want to know of it, as JSON.
        start: from where a new one reads: from the log's head as it is now, from its beginning, or from the first
            event that was recorded at this time or later.
        aliases: earlier names; the first that the store knows is renamed.
    """

    name: str
    kind: CursorKind
    definition: str
    start: Literal["now", "beginning"] | Micros = "now"
    aliases: tuple[str, ...] = ()


class CursorRow(NamedTuple):
    """A reader of the log: everything up to `position` has been dealt with, or has a row of its own.

    Args:
        epoch: how often it has changed hands, or was moved by a person.
        crashes: of its owners, since it last got on.
        delivered, failed: deliveries that came to their end, and attempts that failed, in all.
    """

    name: str
    kind: CursorKind
    position: int
    epoch: int
    owner: int | None
    paused: bool
    crashes: int
    definition: str
    delivered: int
    failed: int
    created_at: Micros
    moved_at: Micros
    touched: int


class EventFilter(NamedTuple):
    """Which events: those behind `after` up to `until`, in the log's order; without `after`, the last ones.

    Args:
        types: names, and names with `*` for any characters; the engine's own only where the name begins with `motet.`.
        addressed: with those that are for one run alone.
    """

    types: tuple[str, ...] = ()
    key: str | None = None
    conversation: str | None = None
    source: str | None = None
    after: int | None = None
    until: int | None = None
    limit: int = 50
    addressed: bool = True


class DeliveryFilter(NamedTuple):
    """Which deliveries: in the order of reactions and positions, beyond `after` for the next page.

    Args:
        type: a name, or one with `*` for any characters.
    """

    states: tuple[DeliveryState, ...] = DEAD
    reaction: str | None = None
    position: int | None = None
    key: str | None = None
    type: str | None = None
    conversation: str | None = None
    limit: int = 50
    after: tuple[str, int] | None = None


ExpectedView = Literal["all", "unsettled", "early"]
"""Of what is expected for a key: everything; what an expected event can still change; what came without a trigger."""


class ExpectedFilter(NamedTuple):
    """Which of what is expected to list: oldest trigger first, beyond `after` (a row's `armed_at`, `expectation`, `key`
    and `position`) for the next page."""

    expectation: str | None = None
    states: tuple[ExpectedState, ...] = EXPECTED_STATES
    conversation: str | None = None
    limit: int = 50
    after: tuple[Micros, str, str, int] | None = None


class Following(Protocol):
    """Who reads the log how far. A cursor has one owner at a time, who moves it by `MoveCursor`; it loses it when it
    resigns or is buried."""

    async def subscribe(self, subscriptions: Sequence[Subscription], now: Micros) -> None:
        """Make cursors that are not there, and keep what the code says of those that are."""
        ...

    async def claim_cursors(self, worker: int, names: Sequence[str]) -> list[CursorRow]:
        """Take those of these cursors that nobody owns; each gets a new epoch. Raises LeaseLost."""
        ...

    async def cursors(self) -> list[CursorRow]:
        """All of them, by name."""
        ...

    async def head(self) -> int:
        """The position of the log's last event, 0 if there is none."""
        ...

    async def place_of(self, start: Literal["now", "beginning"] | Micros) -> int:
        """The position behind which a reader begins that starts there (`Subscription.start`)."""
        ...

    async def recorded_behind(self, positions: Sequence[int]) -> dict[int, Micros]:
        """By position, when the first event behind it was recorded; nothing if there is none."""
        ...

    async def empty_outbox(self) -> int:
        """What users' transactions have published comes into the log by somebody by and by; now all that is committed
        does, when this returns. Returns how many events. A store without an outbox has nothing to do."""
        ...


class Delivering(Protocol):
    """Deliveries that are not simply in order; those that are leave no trace but the cursor's position."""

    async def deliveries(self, filter: DeliveryFilter) -> list[DeliveryRow]: ...

    async def deliveries_counted(self, filter: DeliveryFilter) -> int: ...

    async def delivery_counts(self) -> dict[str, dict[DeliveryState, int]]:
        """By reaction and state."""
        ...

    async def under_way(self, reaction: str) -> list[DeliveryRow]:
        """A reaction's rows in the order of positions, but for dead letters that it has passed and does not hold."""
        ...

    async def redrive(self, filter: DeliveryFilter, now: Micros) -> int:
        """Have dead letters tried again; returns how many. Only the filter's states that are dead count."""
        ...

    async def discard(self, filter: DeliveryFilter) -> int:
        """Forget dead letters; returns how many."""
        ...

    async def edit_delivery(self, reaction: str, position: int, data: str | None) -> bool:
        """Put other data in the place of a dead letter's own; False: there is no such dead letter."""
        ...

    async def pause(self, reaction: str, paused: bool) -> bool:
        """Whether a reaction's owner delivers to it; False: there is none of this name."""
        ...

    async def replay(self, reaction: str, position: int) -> bool:
        """Deliver everything behind this position anew; False: there is no reaction of this name (an expectation is
        none: what has become of what it expects stays as it is)."""
        ...

    async def forget_reaction(self, reaction: str) -> bool:
        """Remove a reaction or expectation that no code declares any more, with what it has left behind."""
        ...


class Expecting(Protocol):
    """What is expected after which events."""

    async def expected_for(self, expectation: str, keys: Sequence[str], view: ExpectedView) -> list[Expected]:
        """What is expected for these keys."""
        ...

    async def expected_open(self, expectation: str, limit: int) -> list[Expected]:
        """What is open, oldest trigger (by its own time) first."""
        ...

    async def expected(self, filter: ExpectedFilter) -> list[Expected]: ...

    async def expected_counts(self) -> dict[str, dict[ExpectedState, int]]:
        """By expectation and state, how many triggers have armed; of those that came `early`, how many keys."""
        ...

    async def not_come(self) -> dict[str, dict[ExpectedState, int]]:
        """As `expected_counts`, of what is open or missed alone; what is settled costs nothing."""
        ...
