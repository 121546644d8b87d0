"""Who is who: uids of runs, names of operations, keys of effects.

A run's identity is `(uid, generation, operation)`. The uid is random per started run and never the business id:
after a restart or the reuse of an id, February's invoice must not be dropped as a duplicate of January's. An
operation is called by its name and occurrence (`create_enrollment#1`), counted when it is created.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import random

from motet.model.clock import Micros

# Seeded by the system, and again in a forked child; to ask the system for each uid would cost a call into it.
_chance = random.Random(os.urandom(32))
os.register_at_fork(after_in_child=lambda: _chance.seed(os.urandom(32)))

_number = itertools.count()  # whose next() is one step for all threads

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [a + b for a in _DIGITS for b in _DIGITS]


def new_uid(at: Micros) -> str:
    """26 characters that sort by time to the millisecond, and those of one process by their order within it: 50 bits of
    time, 16 that count, 64 of chance."""
    return _text((at // 1000 << 80) | ((next(_number) & 0xFFFF) << 64) | _chance.getrandbits(64))


def first_uid(at: Micros) -> str:
    """The smallest uid of this time."""
    return _text(max(at, 0) // 1000 << 80)


def child_uid(parent_uid: str, generation: int, operation: str, at: Micros) -> str:
    """The uid of a child run: the same whenever the parent's operation is sent again after a crash."""
    seed = f"{parent_uid}.{generation}.{operation}".encode()
    chance = int.from_bytes(hashlib.blake2b(seed, digest_size=10).digest(), "big")
    return _text((at // 1000 << 80) | chance)


def effect_key(uid: str, generation: int, operation: str) -> str:
    """The idempotency key of an operation's effect; the same on every attempt. Also the id of its event."""
    return f"{uid}.{generation}.{operation}"


def _text(number: int) -> str:
    # In two halves: arithmetic on small integers is several times faster.
    high, low = number >> 60, number & (1 << 60) - 1
    pairs = _PAIRS
    return (
        pairs[high >> 60 & 1023] + pairs[high >> 50 & 1023] + pairs[high >> 40 & 1023] + pairs[high >> 30 & 1023]
        + pairs[high >> 20 & 1023] + pairs[high >> 10 & 1023] + pairs[high & 1023]
        + pairs[low >> 50 & 1023] + pairs[low >> 40 & 1023] + pairs[low >> 30 & 1023] + pairs[low >> 20 & 1023]
        + pairs[low >> 10 & 1023] + pairs[low & 1023]
    )  # fmt: skip
