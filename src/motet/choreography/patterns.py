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

    def match(self, name: str) -> bool:
        """Whether events of the type with this name are meant."""
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = any(_matches(pattern, name) for pattern in self.texts)
        return found


def _matches(pattern: str, name: str) -> bool:
    if name.startswith(_OWN) and not pattern.startswith(_OWN):
        return False
    if "*" not in pattern:
        return pattern == name
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL) is not None
