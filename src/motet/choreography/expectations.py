"""Expectations as users declare them: after one event, another one for the same key within a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final, Literal, Protocol

import msgspec

from motet.choreography.expecting import Rule
from motet.errors import DefinitionError, DuplicateName
from motet.model.clock import SECOND, Duration, Micros, from_datetime, micros
from motet.model.codec import check_text
from motet.model.event_types import EventTypes
from motet.store.protocol import Subscription

Start = Literal["now", "beginning"] | datetime
"""From where a new reader of the log begins: from its end as it is then, from its beginning, or from a time."""

LONGEST: Final = 1000 * 365 * 24 * 3600 * SECOND


class Named(Protocol):
    """Something with a name in records: a workflow."""

    @property
    def name(self) -> str: ...


class ExpectationNote(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the store keeps of an expectation for those who do not have its code.

    Args:
        within: microseconds.
        remedy: the workflow or function that a miss starts.
        place: where it is declared, as `shop/flows.py:42`.
    """

    expected: str
    after: str
    within: Micros
    each: bool = False
    remedy: str | None = None
    place: str | None = None


_decoder = msgspec.json.Decoder(ExpectationNote)


def read_note(definition: str) -> ExpectationNote:
    """What a cursor's definition says of its expectation."""
    return _decoder.decode(definition)


class Expectation:
    """After an event of one type, one of another type for the same key within a time; else it is missed.

    Declared with `app.expect(...)`.
    """

    def __init__(
        self, name: str, expected: type | str, after: type | str, within: Duration, *, each: bool, start: Start,
        aliases: Sequence[str], place: str | None,
    ) -> None:  # fmt: skip
        """Raises DefinitionError: it cannot work."""
        self.name = name
        self.expected = expected
        self.after = after
        self.each = each
        self.aliases = tuple(aliases)
        self.place = place
        self.remedy: Named | None = None
        self.within = micros(within)
        if not 0 < self.within <= LONGEST:
            raise DefinitionError(
                f"expectation {name}: within is {within!r}; it must be above 0 and at most 1000 years: a timedelta, or "
                "seconds"
            )
        self.start: Literal["now", "beginning"] | Micros = self._start(start)

    def rule(self, types: EventTypes) -> Rule:
        """Raises DefinitionError: an event is not declared, or has no key."""
        return Rule(self.name, self._type(self.expected, types), self._type(self.after, types), self.within, self.each)

    def subscription(self, rule: Rule) -> Subscription:
        """How the store knows it."""
        remedy = self.remedy.name if self.remedy is not None else None
        note = ExpectationNote(rule.expected, rule.after, rule.within, rule.each, remedy, self.place)
        return Subscription(
            self.name, "expectation", msgspec.json.encode(note).decode(), self.start, tuple(reversed(self.aliases))
        )

    def _start(self, start: Any) -> Literal["now", "beginning"] | Micros:
        if start in ("now", "beginning"):
            return "now" if start == "now" else "beginning"
        if isinstance(start, datetime) and start.tzinfo is not None:
            return from_datetime(start)
        raise DefinitionError(
            f"expectation {self.name}: start is {start!r}; it must be 'now', 'beginning' or a datetime with a time zone"
        )

    def _type(self, event: type | str, types: EventTypes) -> str:
        if isinstance(event, str):
            name = check_text(event, "an event's name")
            if "*" in name:
                raise DefinitionError(f"expectation {self.name}: {name!r} is a pattern; name one event")
            declared = types.by_name.get(name)
        else:
            declared = types.by_class.get(event)
            if declared is None:
                raise DefinitionError(
                    f"expectation {self.name}: {event.__name__} is not a declared event; decorate the class with "
                    "@app.event('...', key='...')"
                )
            name = declared.name
        if declared is not None and declared.key is None:
            raise DefinitionError(
                f"expectation {self.name}: event '{name}' has no key, so nobody could tell which one belongs to which; "
                f"declare one: @app.event('{name}', key='...')"
            )
        return name

    def __repr__(self) -> str:
        return f"<expectation {self.name}>"


def name_of(event: type | str, types: EventTypes) -> str:
    """How the default name of an expectation calls an event."""
    if isinstance(event, str):
        return event
    declared = types.by_class.get(event)
    return declared.name if declared is not None else event.__name__


class Expectations:
    """Those of an app or module, by name."""

    def __init__(self) -> None:
        self._by_name: dict[str, Expectation] = {}

    def add(self, expectation: Expectation) -> None:
        """Raises DuplicateName."""
        for name in (expectation.name, *expectation.aliases):
            if self._by_name.setdefault(name, expectation) is not expectation:
                raise DuplicateName(f"two expectations are named '{name}'; give one of them another name=")

    def include(self, other: Expectations, prefix: str) -> None:
        """Take over those of a module, under the app's name. Raises DuplicateName."""
        for expectation in other:
            if "/" not in expectation.name:
                expectation.name = prefix + expectation.name
            expectation.aliases = tuple(a if "/" in a else prefix + a for a in expectation.aliases)
            self.add(expectation)

    def __iter__(self) -> Iterator[Expectation]:
        """Each once, whatever earlier names it has."""
        return iter({id(found): found for found in self._by_name.values()}.values())
