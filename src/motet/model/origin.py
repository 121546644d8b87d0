"""Where a rerun comes from: whose history it keeps, and up to where.

A rerun of a rerun keeps parts of several runs. Which part is whose decides two things: from whose chance its body drew
(`flow.random`, `flow.uuid`) while it came so far, and who may undo what was done: two runs that share a step must not
both undo it.
"""

from __future__ import annotations

import msgspec


class Kept(msgspec.Struct, frozen=True):
    """Facts up to `position` come from this generation of this run (or, before them, from an earlier part)."""

    uid: str
    generation: int
    position: int


class Origin(msgspec.Struct, frozen=True):
    """What a rerun was made of.

    Args:
        uid: the run that it is a rerun of.
        run: that run's id, for people.
        operation: from which one on it does everything anew.
        kept: the parts, oldest first, their positions growing.
    """

    uid: str
    run: str
    operation: str
    kept: tuple[Kept, ...]

    @property
    def position(self) -> int:
        """Up to where the history is kept."""
        return self.kept[-1].position if self.kept else 0


_decoder = msgspec.json.Decoder(Origin)


def read_origin(text: str | None) -> Origin | None:
    """What a run's row says; None: it is no rerun."""
    return _decoder.decode(text) if text is not None else None


def write_origin(origin: Origin) -> str:
    return msgspec.json.encode(origin).decode()
