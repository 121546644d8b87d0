"""Which events a reaction is for, by their types: names, and names with `*` for any characters."""

from __future__ import annotations

import re
from collections.abc import Sequence

from motet.model.event import ENGINE

_OWN = f"{ENGINE}."


class Patterns:
    """The types that one reaction is for. The engine's own events match only what names them as such: `motet.*`."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.texts = tuple(patterns)
        self._known: dict[str, bool] = {}

    def match(self, type: str) -> bool:
        """Whether events of this type are meant."""
        found = self._known.get(type)
        if found is None:
            found = self._known[type] = any(_matches(pattern, type) for pattern in self.texts)
        return found


def _matches(pattern: str, type: str) -> bool:
    if type.startswith(_OWN) and not pattern.startswith(_OWN):
        return False
    if "*" not in pattern:
        return pattern == type
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), type, re.DOTALL) is not None
