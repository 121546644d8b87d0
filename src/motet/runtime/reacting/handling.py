"""Calling a reaction's handler for one event; what it publishes is written together with the delivery."""

from __future__ import annotations

from typing import Any, NamedTuple

from motet.choreography.reactions import Reaction
from motet.errors import WrongPlace
from motet.model.clock import Clock
from motet.model.event import LoggedEvent
from motet.model.event_types import EventTypes
from motet.model.identity import new_uid
from motet.orchestration.attempt import Attempt
from motet.store.mutations import AppendEvent, Mutation


class Handler(NamedTuple):
    """What all deliveries to one reaction have in common, for as long as its position has this owner."""

    reaction: Reaction
    name: str
    epoch: int
    types: EventTypes
    clock: Clock
    limit: int


class Handling:
    """One delivery as its handler sees it, until it has come to its end: what it publishes, and which try this is."""

    __slots__ = ("_handler", "_number", "_row", "closed", "units")

    def __init__(self, handler: Handler, row: LoggedEvent, number: int) -> None:
        self._handler = handler
        self._row = row
        self._number = number
        self.units: list[Mutation] = []
        self.closed = False

    def publish(self, event: object, data: Any, key: str | None, to: str | None) -> str:
        """The new event's id. Raises WrongType, BadValue; WrongPlace: the handler has ended."""
        handler, cause = self._handler, self._row
        if self.closed:
            raise WrongPlace(
                f"event.publish after the handler of {handler.name} has ended: it would not be written with the "
                "delivery; await whatever publishes"
            )
        announced = handler.types.announce(event, data, key, handler.limit, to)
        now = handler.clock.now()
        row = AppendEvent(
            new_uid(now), handler.name, announced.type,
            announced.subject if announced.subject is not None else cause.subject, now, now, cause.correlationid,
            cause.id, announced.data, announced.version, announced.recipient, cause.traceparent,
        )  # fmt: skip
        self.units.append(row)
        return row.id

    def attempt(self) -> Attempt:
        """What the handler is told about its try, if it asks."""
        reaction, row = self._handler.reaction, self._row
        return Attempt(
            key_of(reaction, row), self._number, self._handler.epoch, "", reaction.name, row.id, row.correlationid,
            row.traceparent, reaction.name,
        )  # fmt: skip


def key_of(reaction: Reaction, row: LoggedEvent) -> str:
    """The idempotency key of what the handler does with this event. A reaction that was renamed keeps its keys."""
    return f"{reaction.aliases[0] if reaction.aliases else reaction.name} {row.id}"
