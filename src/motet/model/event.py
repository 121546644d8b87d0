"""Events: past-tense facts, committed in the same transaction as the change that they report.

The log's rows carry the attributes of CloudEvents 1.0 (https://cloudevents.io): `source` and `id` identify an
event, `subject` is its key, `correlationid` its conversation and `causationid` what caused it: a run's uid, a step's
key, or another event's id.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

from motet.errors import WrongPlace
from motet.model.clock import Micros, as_datetime

if TYPE_CHECKING:  # type checkers know defaults of type variables (PEP 696) before the standard library does
    from typing_extensions import TypeVar

    D = TypeVar("D", default=Any)
else:
    from typing import TypeVar

    D = TypeVar("D")

ENGINE = "motet"
"""The source of the engine's own events; their types begin with `motet.`."""


def identity(source: str, id: str) -> str:
    """How the log names an event whose publisher has given it an id: ids are unique only within their source."""
    return f"{source} {id}"


def given_id(source: str, id: str) -> str:
    """The id as its publisher gave it, or as it was made: the way back from `identity`."""
    return id.removeprefix(f"{source} ")


class EventRow(NamedTuple):
    """One row of the log, before the store gives it a position.

    Args:
        data: JSON text.
        version: of the data's shape.
        recipient: the id of the only run that may hear of it.
        traceparent: the W3C trace context that it belongs to.
    """

    id: str
    source: str
    type: str
    subject: str | None
    time: Micros
    recorded_at: Micros
    correlationid: str
    causationid: str | None
    data: str
    version: int = 1
    recipient: str | None = None
    traceparent: str | None = None


class LoggedEvent(NamedTuple):
    """A row of the event log, with its position. `recorded_at` never runs backwards along the log."""

    position: int
    id: str
    source: str
    type: str
    subject: str | None
    time: Micros
    recorded_at: Micros
    correlationid: str
    causationid: str | None
    data: str
    version: int = 1
    recipient: str | None = None
    traceparent: str | None = None

    @property
    def given_id(self) -> str:
        """The id as its publisher gave it, or as it was made."""
        return given_id(self.source, self.id)


class Heading(NamedTuple):
    """A logged event without its data, for who only wants to know that it has happened."""

    position: int
    id: str
    type: str
    subject: str | None
    time: Micros
    correlationid: str


class Announcement(NamedTuple):
    """An event that somebody wants to publish: checked and encoded, not yet recorded."""

    type: str
    subject: str | None
    data: str
    version: int = 1
    recipient: str | None = None


Outbox = Callable[[object, Any, str | None, str | None], str]
"""How a delivery publishes: of an event, its data, key and recipient, the new event's id."""


class Event(Generic[D]):
    """An event as reactions, filters and waits get it.

    `data` has the declared class if there is one, else it is plain JSON data.
    """

    __slots__ = ("_outbox", "_row", "data")

    def __init__(self, row: LoggedEvent, data: D, outbox: Outbox | None = None) -> None:
        self._row = row
        self.data = data
        self._outbox = outbox

    @property
    def id(self) -> str:
        """Unique together with `source`; the same at every delivery."""
        return self._row.given_id

    @property
    def type(self) -> str:
        """Its name, as `purchase.completed`."""
        return self._row.type

    @property
    def key(self) -> str | None:
        """What it is about; CloudEvents' `subject`."""
        return self._row.subject

    @property
    def source(self) -> str:
        """Who published it: a workflow, a reaction, an app."""
        return self._row.source

    @property
    def time(self) -> datetime:
        """When it happened, as its publisher says, in UTC."""
        return as_datetime(self._row.time)

    @property
    def recorded_at(self) -> datetime:
        """When it entered the log, in UTC; never runs backwards along the log."""
        return as_datetime(self._row.recorded_at)

    @property
    def position(self) -> int:
        """Its place in the log."""
        return self._row.position

    @property
    def version(self) -> int:
        """Of the data's shape, as it was published."""
        return self._row.version

    @property
    def conversation(self) -> str:
        """The conversation that it belongs to."""
        return self._row.correlationid

    @property
    def cause(self) -> str | None:
        """What caused it: a run's uid, a step's key, or another event's id."""
        return self._row.causationid

    @property
    def traceparent(self) -> str | None:
        """The W3C trace context that it belongs to."""
        return self._row.traceparent

    @property
    def row(self) -> LoggedEvent:
        """As the log holds it."""
        return self._row

    def publish(self, event: object, data: Any = None, *, key: str | None = None, to: str | None = None) -> str:
        """Publish an event that this one has caused; it is committed with the delivery, or not at all.

        Args:
            event: an instance of a declared class, or a name.
            data: of a name.
            key: what it is about; by default the declared field, else this event's key.
            to: the id of the only run that may hear of it.

        Returns:
            the new event's id.

        Raises:
            WrongPlace: this event is not being delivered to a reaction now.
            WrongType, BadValue.
        """
        if self._outbox is None:
            raise WrongPlace(
                f"event {self.id} is not being delivered to a reaction here, so there is nothing to commit with; "
                "use flow.publish in a workflow, app.publish elsewhere"
            )
        return self._outbox(event, data, key, to)

    def __repr__(self) -> str:
        return f"<event {self.type} {self.key or self.id} {self.data!r}>"
