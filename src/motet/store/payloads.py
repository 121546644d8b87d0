"""What a store must do for those who exchange payloads in place: encrypting anew, and forgetting.

A part of the store's protocol (`motet.store.protocol`), with the same rules. Rows are read as they are stored, in
pages, and exchanged by compare-and-set in short transactions: whoever changed one meanwhile, such as a run's owner, has
the last word. What was there before is overwritten where the database can do that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Protocol, runtime_checkable

from motet.model.clock import Micros

Table = Literal["run", "history", "event", "inbox", "delivery"]
TABLES: Final[tuple[Table, ...]] = ("run", "history", "event", "inbox", "delivery")

KEYS: Final[dict[Table, tuple[str, ...]]] = {
    "run": ("uid",),
    "history": ("uid", "generation", "position"),
    "event": ("position",),
    "inbox": ("uid", "key"),
    "delivery": ("reaction", "position"),
}
COLUMNS: Final[dict[Table, tuple[str, ...]]] = {
    "run": ("input", "first_input", "result", "error", "current", "note", "attributes"),
    "history": ("payload", "digest"),
    "event": ("data",),
    "inbox": ("payload",),
    "delivery": ("error", "data"),
}
"""Everything that holds what users have put in, and the digest that is made of it."""

ABOUT: Final[dict[Table, tuple[str, ...]]] = {
    "run": ("state",),
    "history": ("kind", "operation_kind"),
    "event": ("id", "source"),
    "inbox": ("kind",),
    "delivery": ("state",),
}

Key = tuple[str | int, ...]
Values = tuple[str | int | None, ...]


class PayloadRow(NamedTuple):
    """One row: its key (`KEYS`), what else is to be known of it (`ABOUT`), and its payloads (`COLUMNS`)."""

    key: Key
    about: tuple[str, ...]
    values: Values


class PayloadChange(NamedTuple):
    """Other payloads for a row, if it still has those of `before`."""

    key: Key
    before: Values
    after: Values


@runtime_checkable
class Payloads(Protocol):
    """Payloads as they are stored."""

    async def payloads(
        self, table: Table, conversation: str | None, after: Key | None, limit: int
    ) -> list[PayloadRow]:  # fmt: skip
        """Rows behind this key, in the order of their keys: of one conversation, or all."""
        ...

    async def replace_payloads(self, table: Table, changes: Sequence[PayloadChange]) -> int:
        """Exchange them; returns how many were still as they were. Events that are forgotten come for no wait."""
        ...

    async def forget_digests(self, conversation: str) -> int:
        """Erase what tombstones of a conversation know of inputs; returns how many did."""
        ...

    async def scrub(self) -> bool:
        """Empty what the database keeps beside its tables of earlier states, as far as it can; False: somebody still
        reads an earlier state, and it goes later."""
        ...


@runtime_checkable
class Sealing(Protocol):
    """With which keys payloads were encrypted: their names, and proofs by which they are known again."""

    async def sealing(self) -> dict[str, str]:
        """By name, the proof of each key."""
        ...

    async def note_key(self, name: str, proof: str, now: Micros) -> None:
        """From now on payloads may be encrypted with it."""
        ...

    async def drop_keys(self, names: Sequence[str]) -> None:
        """Nothing is encrypted with these any more."""
        ...
