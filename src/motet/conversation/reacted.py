"""What became of an event: which reactions it has reached, is on its way to, or is a dead letter of.

A delivery that simply succeeded leaves no trace but its reaction's position, so much is told from that alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from motet.choreography.patterns import Patterns
from motet.choreography.reactions import ReactionNote, read_note
from motet.model.delivery import DeliveryRow
from motet.model.event import LoggedEvent
from motet.model.failure import decode_failure
from motet.store.protocol import CursorRow


class Delivered(NamedTuple):
    """One event at one reaction.

    Args:
        state: that of its row; without one `delivered`, or `pending` or `paused` before the reaction has come so far.
        row: if it is not simply in order.
    """

    reaction: str
    state: str
    note: ReactionNote
    row: DeliveryRow | None = None

    @property
    def error(self) -> str | None:
        if self.row is None or self.row.error is None:
            return None
        return str(decode_failure(self.row.error))


class _Follower(NamedTuple):
    cursor: CursorRow
    note: ReactionNote
    patterns: Patterns


class Reached:
    """Tells it of any event.

    Args:
        cursors: all there are.
        rows: the deliveries of these events that have rows.
    """

    def __init__(self, cursors: Iterable[CursorRow], rows: Iterable[DeliveryRow]) -> None:
        self._followers: list[_Follower] = []
        for cursor in cursors:
            if cursor.kind == "reaction":
                note = read_note(cursor.definition)
                self._followers.append(_Follower(cursor, note, Patterns(note.events)))
        self._rows = {(row.reaction, row.position): row for row in rows}
        self.names = {follower.cursor.name for follower in self._followers} | {name for name, _ in self._rows}

    def by(self, event: LoggedEvent, effects: Sequence[str] = ()) -> list[Delivered]:
        """The deliveries of an event.

        Args:
            effects: the reactions that are known to have handled it, because it has caused something by them.
        """
        if event.recipient is not None:
            return []
        found: list[Delivered] = []
        for cursor, note, patterns in self._followers:
            row = self._rows.get((cursor.name, event.position))
            if row is None and cursor.name not in effects and not _is_for(cursor, note, patterns, event):
                continue
            found.append(Delivered(cursor.name, _state(cursor, row, event), note, row))
        return found


def _is_for(cursor: CursorRow, note: ReactionNote, patterns: Patterns, event: LoggedEvent) -> bool:
    """A reaction that began later has not seen what was there already, unless it asked for it."""
    if not patterns.match(event.type):
        return False
    if note.since is None:
        return event.recorded_at >= cursor.created_at
    return event.recorded_at >= min(note.since, cursor.created_at)


def _state(cursor: CursorRow, row: DeliveryRow | None, event: LoggedEvent) -> str:
    if row is not None and row.state != "done":
        return row.state
    if row is not None or cursor.position >= event.position:
        return "delivered"
    return "paused" if cursor.paused else "pending"
