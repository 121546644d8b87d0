"""How what is broken is told: how many, and the first few."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

SHOWN = 5


def some(what: str, names: Iterable[str]) -> Iterator[str]:
    listed = list(names)
    if listed:
        yield f"{len(listed)} {what}: {', '.join(listed[:SHOWN])}{' ...' if len(listed) > SHOWN else ''}"
