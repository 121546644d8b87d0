"""Where things are written, told briefly: from the current folder, or from the folder that all share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from motet.map.sheet import Sheet

Shorten = Callable[[str], str]


def places_of(sheet: Sheet) -> list[str]:
    """All places that a map tells of."""
    found = [publisher.place for event in sheet.events for publisher in event.publishers]
    found += [policy.place for policy in sheet.policies]
    found += [finding.place for finding in sheet.findings]
    return [place for place in found if place is not None]


def shortener(places: Iterable[str]) -> Shorten:
    """Cuts off what stands before all that are not in the current folder, and the current folder before the others."""
    here = os.getcwd() + os.sep
    folders = {os.path.dirname(place) for place in places if os.path.isabs(place) and not place.startswith(here)}
    try:
        shared = os.path.commonpath(folders) if folders else ""
    except ValueError:  # on several drives
        shared = ""
    there = os.path.join(os.path.dirname(shared), "")  # their own folder's name tells something

    def shorten(place: str) -> str:
        if place.startswith(here):
            return place.removeprefix(here)
        return place.removeprefix(there) if len(there) > 1 else place

    return shorten
