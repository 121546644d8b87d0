"""Events: past-tense facts, committed in the same transaction as the change that they report.

The log's rows carry the attributes of CloudEvents 1.0 (https://cloudevents.io): `source` and `id` identify an
event, `subject` is its key, `correlationid` its conversation and `causationid` what caused it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from motet.errors import DefinitionError, WrongType
from motet.model.clock import Micros
from motet.model.codec import check_text, encode


class EventRow(NamedTuple):
    """One row of the log, before the store gives it a position. `data` is JSON text."""

    id: str
    source: str
    type: str
    subject: str | None
    time: Micros
    recorded_at: Micros
    correlationid: str
    causationid: str | None
    data: str


@dataclass(frozen=True, slots=True)
class EventType:
    """A declared type of event.

    Args:
        name: as `purchase.completed`.
        key: the field that names what the event is about; None: the publishing run's id.
        version: of the data's shape.
        cls: the class of its data.
    """

    name: str
    key: str | None
    version: int
    cls: type

    def subject(self, data: object) -> str | None:
        """The event's key, as text."""
        if self.key is None:
            return None
        value = getattr(data, self.key)
        if not isinstance(value, str | int):
            raise WrongType(
                f"the key of event '{self.name}' is its field {self.key!r}, which is {value!r}; keys are str or int"
            )
        return check_text(str(value), f"the key of event '{self.name}'")


class Announcement(NamedTuple):
    """An event that somebody wants to publish: checked and encoded, not yet recorded."""

    type: str
    subject: str | None
    data: str


class EventTypes:
    """The event types that an app has declared."""

    def __init__(self) -> None:
        self.by_name: dict[str, EventType] = {}
        self.by_class: dict[type, EventType] = {}

    def declare(self, cls: type, name: str, key: str | None, version: int) -> None:
        """Raises DefinitionError: the name or class is taken, or the key is no field of the class."""
        check_text(name, "an event's name")
        if name in self.by_name and self.by_name[name].cls is not cls:
            raise DefinitionError(f"event '{name}' is declared twice; give one of them another name")
        if key is not None and key not in getattr(cls, "__annotations__", {}) and not hasattr(cls, key):
            fields = ", ".join(getattr(cls, "__annotations__", {})) or "none"
            raise DefinitionError(f"event '{name}': key {key!r} is not a field of {cls.__name__} (it has: {fields})")
        kind = EventType(name, key, version, cls)
        self.by_name[name] = self.by_class[cls] = kind

    def include(self, other: EventTypes) -> None:
        for kind in other.by_name.values():
            self.declare(kind.cls, kind.name, kind.key, kind.version)

    def announce(self, event: object, data: Any, key: str | None, limit: int) -> Announcement:
        """An event to publish, from an instance of a declared class or from a name and its data.

        Raises:
            WrongType: neither of those.
            BadValue: the data or key cannot be stored.
        """
        if isinstance(event, str):
            name = check_text(event, "an event's name")
            declared = self.by_name.get(name)
            if declared is not None and isinstance(data, declared.cls):
                key = key if key is not None else declared.subject(data)
        else:
            declared = self.by_class.get(type(event))
            if declared is None:
                raise WrongType(
                    f"{type(event).__name__} is not a declared event; decorate the class with @app.event('...'), "
                    "or publish a name with its data"
                )
            name, data = declared.name, event
            key = key if key is not None else declared.subject(event)
        if key is not None:
            check_text(key, f"the key of event '{name}'")
        return Announcement(name, key, encode(data, f"the data of event '{name}'", limit))
