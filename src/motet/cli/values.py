"""Recorded values for people: the JSON of a result as the Python that made it would show it."""

from __future__ import annotations

from typing import Any, cast

from motet.cli.layout import clean, shorten

LONGEST_ARGUMENT = 24
_PLAIN_TYPES = frozenset({"dict", "Any", "Mapping", "object", "Dict"})


def rendered(value: Any, type_name: str | None) -> str:
    """`Payment(id='pay_1', cents=4200)` for a recorded object whose type is known; else as Python shows plain data."""
    if value is None:
        return ""
    fields = cast("dict[str, Any]", value) if isinstance(value, dict) else None
    if fields is not None and type_name is not None and type_name not in _PLAIN_TYPES:
        inside = ", ".join(f"{name}={field!r}" for name, field in fields.items())
        return clean(f"{type_name}({inside})")
    return clean(repr(cast("object", value)))


def argument(value: Any) -> str:
    """The few characters that tell which result is meant: its id, if it has one; empty if nothing short does."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        scalars = {name: field for name, field in fields.items() if isinstance(field, str | int | float)}
        named = [name for name in scalars if name == "id"] + [name for name in scalars if name.endswith("id")]
        if not named and len(scalars) != 1:
            return ""
        return argument(scalars[named[0]] if named else next(iter(scalars.values())))
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return shorten(clean(str(value)), LONGEST_ARGUMENT)
    return ""
