"""Reading one line of JSON field by field, with an error that names the field and what was found in it.

Purchases files, messages on the wire and the ledger's file are all lines of JSON objects; each says in its
own words where the line stands, and takes the rest of the sentence from here.
"""

import json
from typing import TypeVar, cast

T = TypeVar("T", bound=str)


class BadField(ValueError):
    """A line that is not a JSON object, or a field that is missing or holds the wrong thing."""


class Fields:
    """The fields of one JSON object."""

    def __init__(self, values: dict[str, object]) -> None:
        self.values = values

    @classmethod
    def parse(cls, line: str | bytes) -> "Fields":
        """Read a line that must hold one JSON object; raises `BadField`."""
        try:
            found: object = json.loads(line)
        except json.JSONDecodeError as error:
            raise BadField(f"not JSON: {error.msg} at column {error.colno}") from error
        except UnicodeDecodeError as error:
            raise BadField("not JSON: not UTF-8 text") from error
        return cls.of(found)

    @classmethod
    def of(cls, found: object) -> "Fields":
        """Take a decoded value that must be a JSON object; raises `BadField`."""
        if not isinstance(found, dict):
            raise BadField(f"expected a JSON object, not {_show(found)}")
        return cls(cast("dict[str, object]", found))

    def refuse_unknown(self, known: tuple[str, ...]) -> None:
        """Raise `BadField` for a field that is not among the known ones: a typing error must not pass as an
        absence."""
        for name in self.values:
            if name not in known:
                raise BadField(f"unknown field {name!r}; expected {', '.join(known)}")

    def text(self, name: str) -> str:
        """Return a text that is not empty."""
        value = self._present(name)
        if not isinstance(value, str) or not value.strip():
            raise BadField(f"field {name!r} must be a text that is not empty, not {_show(value)}")
        return value

    def whole(self, name: str, at_least: int = 0) -> int:
        """Return a whole number of at least `at_least`."""
        value = self._present(name)
        if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
            raise BadField(f"field {name!r} must be a whole number, {at_least} or more, not {_show(value)}")
        return value

    def one_of(self, name: str, allowed: tuple[T, ...]) -> T:
        """Return the one of the allowed texts that the field holds."""
        value = self._present(name)
        for choice in allowed:
            if value == choice:
                return choice
        raise BadField(f"field {name!r} must be one of {', '.join(allowed)}, not {_show(value)}")

    def list_of(self, name: str) -> list[object]:
        """Return a list of anything."""
        value = self._present(name)
        if not isinstance(value, list):
            raise BadField(f"field {name!r} must be a list, not {_show(value)}")
        return cast("list[object]", value)

    def optional_text(self, name: str) -> str | None:
        """Return a text, or None where the field is missing or null."""
        return self.text(name) if self._given(name) else None

    def text_or_nothing(self, name: str) -> str:
        """Return a text, the empty one where the field is missing or empty."""
        return self.text(name) if self.values.get(name) else ""

    def optional_whole(self, name: str) -> int | None:
        """Return a whole number, or None where the field is missing or null."""
        return self.whole(name) if self._given(name) else None

    def optional_one_of(self, name: str, allowed: tuple[T, ...]) -> T | None:
        """Return one of the allowed texts, or None where the field is missing or null."""
        return self.one_of(name, allowed) if self._given(name) else None

    def _given(self, name: str) -> bool:
        return self.values.get(name) is not None

    def _present(self, name: str) -> object:
        if name not in self.values:
            raise BadField(f"field {name!r} is missing")
        return self.values[name]


def _show(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
