"""The types of events that an app has declared: their names, keys and versions, and how old data is brought up to date.

What is published is checked and encoded here; what the log holds is read here, by name and version, into the declared
class. Data of an older version goes through the upcasters, one version at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from motet.errors import DefinitionError, WrongType
from motet.model.cloudevents import Document
from motet.model.codec import Codec, check_text, convert, encode, plain
from motet.model.event import ENGINE, Announcement, LoggedEvent
from motet.model.expected import MISSED_EVENT, Missed

Upcaster = Callable[[Any], Any]
"""A function of one version's data (plain JSON) that returns the next version's."""


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


class EventTypes:
    """The event types that an app has declared."""

    def __init__(self) -> None:
        missed = EventType(MISSED_EVENT, "key", 1, Missed)
        self.by_name: dict[str, EventType] = {missed.name: missed}
        self.by_class: dict[type, EventType] = {missed.cls: missed}
        self.upcasters: dict[tuple[str, int], Upcaster] = {}
        self._codecs: dict[str, Codec[Any]] = {}

    def declare(self, cls: type, name: str, key: str | None, version: int) -> None:
        """Raises DefinitionError: the name or class is taken, is the engine's own, or the key is no field."""
        check_text(name, "an event's name")
        _refuse_engine(name)
        if name in self.by_name and self.by_name[name].cls is not cls:
            raise DefinitionError(f"event '{name}' is declared twice; give one of them another name")
        if key is not None and key not in getattr(cls, "__annotations__", {}) and not hasattr(cls, key):
            fields = ", ".join(getattr(cls, "__annotations__", {})) or "none"
            raise DefinitionError(f"event '{name}': key {key!r} is not a field of {cls.__name__} (it has: {fields})")
        if version < 1:
            raise DefinitionError(f"event '{name}': version {version} is below 1; versions are counted from 1")
        kind = EventType(name, key, version, cls)
        self.by_name[name] = self.by_class[cls] = kind

    def upcast(self, name: str, version: int, function: Upcaster) -> None:
        """Bring this version's data to the next. Raises DefinitionError: there is one already."""
        if self.upcasters.setdefault((name, version), function) is not function:
            raise DefinitionError(f"event '{name}': version {version} has an upcaster already; there can be one")

    def include(self, other: EventTypes) -> None:
        for kind in other.by_name.values():
            if kind.cls is Missed:
                continue  # every app knows the engine's own
            self.declare(kind.cls, kind.name, kind.key, kind.version)
        for (name, version), function in other.upcasters.items():
            self.upcast(name, version, function)

    def prepare(self) -> None:
        """Raises DefinitionError: an upcaster leads nowhere."""
        for name, version in self.upcasters:
            declared = self.by_name.get(name)
            if declared is None:
                raise DefinitionError(f"there is an upcaster of event '{name}', which is not declared here")
            if version >= declared.version:
                raise DefinitionError(
                    f"event '{name}' has version {declared.version}; an upcaster of version {version} leads beyond it"
                )

    def name_of(self, event: type | str) -> str:
        """The name of a declared class, or the name itself. Raises WrongType, BadValue."""
        if isinstance(event, str):
            return check_text(event, "an event's name")
        declared = self.by_class.get(event)
        if declared is None:
            raise WrongType(
                f"{getattr(event, '__name__', event)!r} is not a declared event; decorate the class with "
                "@app.event('...'), or give a name"
            )
        return declared.name

    def announce(
        self, event: object, data: Any, key: str | None, limit: int, recipient: str | None = None
    ) -> Announcement:
        """An event to publish, from an instance of a declared class or from a name and its data.

        Raises:
            WrongType: neither of those; or the data has not the declared class.
            BadValue: the data or key cannot be stored.
        """
        version = 1
        if isinstance(event, str):
            name = check_text(event, "an event's name")
            _refuse_engine(name)
            declared = self.by_name.get(name)
            if declared is not None:
                version = declared.version
                typed = data if isinstance(data, declared.cls) else convert(data, declared.cls)
                key = key if key is not None else declared.subject(typed)
        else:
            declared = self.by_class.get(type(event))
            if declared is None:
                raise WrongType(
                    f"{type(event).__name__} is not a declared event; decorate the class with @app.event('...'), "
                    "or publish a name with its data"
                )
            _refuse_engine(declared.name)
            name, data, version = declared.name, event, declared.version
            key = key if key is not None else declared.subject(event)
        if key is not None:
            check_text(key, f"the key of event '{name}'")
        if recipient is not None:
            check_text(recipient, f"the recipient of event '{name}'")
        return Announcement(name, key, encode(data, f"the data of event '{name}'", limit), version, recipient)

    def receive(self, document: Document, limit: int) -> Announcement:
        """A CloudEvent as somebody else has published it, in whatever version; its data is checked when it is read.

        Raises:
            DefinitionError: its type is one of the engine's own.
            BadValue: it cannot be stored.
        """
        name = check_text(document.type, "an event's name")
        _refuse_engine(name)
        for text, what in ((document.source, "source"), (document.subject, "key"), (document.recipient, "recipient")):
            if text is not None:
                check_text(text, f"the {what} of event '{name}'")
        data = encode(document.data, f"the data of event '{name}'", limit)
        return Announcement(name, document.subject, data, document.version, document.recipient)

    def read(self, row: LoggedEvent, data: str | None = None) -> Any:
        """The data of a logged event: of the declared class if there is one, else plain.

        Args:
            data: JSON text to be read in the place of the event's own.

        Raises:
            WrongType: it does not have the declared shape; a version that nobody brings up to date.
        """
        declared = self.by_name.get(row.type)
        text = row.data if data is None else data
        if declared is None:
            return plain(text)
        codec = self._codecs.get(row.type)
        if codec is None:
            codec = self._codecs[row.type] = Codec(declared.cls)
        if row.version == declared.version or data is not None:
            return codec.decode(text, "the data of event %s (%s)", row.id, row.type)
        return convert(self._upcast(plain(text), row, declared), declared.cls)

    def _upcast(self, data: Any, row: LoggedEvent, declared: EventType) -> Any:
        for version in range(row.version, declared.version):
            function = self.upcasters.get((row.type, version))
            if function is None:
                raise WrongType(
                    f"event {row.id} ({row.type}) has version {row.version}, the code has {declared.version}, and "
                    f"nothing brings version {version} up to date; write: @app.upcast({row.type!r}, {version})"
                )
            data = function(data)
        if row.version > declared.version:
            raise WrongType(
                f"event {row.id} ({row.type}) has version {row.version}, which is newer than this program's "
                f"{declared.version}; deploy the newer code, then redrive what was parked"
            )
        return data


def _refuse_engine(name: str) -> None:
    if name == ENGINE or name.startswith(f"{ENGINE}."):
        raise DefinitionError(f"event '{name}': names that begin with '{ENGINE}.' are the engine's own; choose another")
