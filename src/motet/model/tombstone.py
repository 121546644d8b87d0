"""What is left of a run that was pruned: enough that its id cannot start anything twice, and nothing else.

A start with the id again is told what became of the run; whether its input is the same is known by a digest. The
digest is salted with the run's uid, so equal inputs of two runs do not look alike; with keys at hand it is made with
one of them, so that whoever has the store but not the keys cannot try inputs out.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

import msgspec

from motet.errors import RunPruned
from motet.model.clock import Micros, as_datetime
from motet.model.codec import canonical
from motet.model.keyring import Keyring
from motet.model.run import Run, RunState

PLAIN: Final = "sha256"


class Tombstone(NamedTuple):
    """A pruned run.

    Args:
        epoch: its fencing token; a run that takes the id over goes on from there.
        digest: of the input that it was started with; None: nobody knows any more.
    """

    id: str
    uid: str
    workflow: str
    version: int
    state: RunState
    epoch: int
    conversation: str
    created_at: Micros
    ended_at: Micros
    pruned_at: Micros
    digest: str | None

    def as_run(self) -> Run:
        """As a run of which nothing but its end is known."""
        return Run(
            uid=self.uid, id=self.id, workflow=self.workflow, version=self.version, state=self.state, generation=1,
            epoch=self.epoch, owner=None, input=None, result=None, error=None, current=None, note=None,
            attributes=None, conversation=self.conversation, cause=None, parent=None, created_at=self.created_at,
            started_at=self.created_at, ended_at=self.ended_at, deadline_at=None, wake_at=None, crashes=0,
            parked=None, python="", fingerprint="",
        )  # fmt: skip


def was_pruned(tombstone: Tombstone) -> RunPruned:
    """For who wants to know more of it than a tombstone says."""
    ended, pruned = as_datetime(tombstone.ended_at), as_datetime(tombstone.pruned_at)
    return RunPruned(
        f"run '{tombstone.id}' ended as {tombstone.state} on {ended:%Y-%m-%d} and was pruned on {pruned:%Y-%m-%d}: "
        "what it was given and what came of it is not kept any more"
    )


def digest_of(uid: str, input: str | None, keys: Keyring | None = None) -> str:
    """Of an input's JSON text, however its fields are ordered; with the current key, if there is one."""
    if keys is not None and keys.current is not None:
        return f"{keys.current}:{keys.digest(keys.current, salted(uid, input))}"
    return f"{PLAIN}:{hashlib.sha256(salted(uid, input)).hexdigest()}"


def digest_like(tombstone: Tombstone, input: str | None, keys: Keyring | None) -> str | None:
    """Of another input, in the way in which the tombstone's was made; None: that cannot be done (any more)."""
    kind = (tombstone.digest or "").partition(":")[0]
    if kind == PLAIN:
        return digest_of(tombstone.uid, input)
    if keys is None or kind not in keys:
        return None
    return f"{kind}:{keys.digest(kind, salted(tombstone.uid, input))}"


def salted(uid: str, input: str | None) -> bytes:
    """What a digest is made of."""
    if input is None:
        return f"{uid}\n".encode()
    try:
        text = canonical(msgspec.json.decode(input))
    except msgspec.DecodeError:  # a corrupt row
        text = input.encode(errors="replace")
    return f"{uid}\n".encode() + text
