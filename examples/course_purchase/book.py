"""The ledger's book: what was done outside, and the decision about each request.

Pure: no sockets, no files, no clock.

A bank or a campus that honours idempotency keys does the work of a key once, and gives the first result to
everyone who comes with that key again. One that ignores them does the work each time it is asked: that too
can be played.

An undo that names an effect is done as told. One that names none looks up what the purchase has that is not
undone yet, and may find nothing: then it is an attempt without an effect.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from .entries import Acknowledged, Attempt, Effect, Entry, Event, Mark, Outcome, ReplyFate
from .faults import FaultKind, fault_for
from .protocol import UNDOES, Call, Operation, Reply

EFFECT_PREFIX: dict[Operation, str] = {
    "charge": "pay",
    "refund": "refund",
    "enroll": "seat",
    "remove": "removal",
    "mail": "mail",
    "count": "conversion",
    "recommend": "recommendation",
    "refer": "referral",
}


class Decision(NamedTuple):
    """What comes of a request, before anyone is told."""

    outcome: Outcome
    effects: tuple[Effect, ...] = ()
    duplicate_of: str | None = None


@dataclass
class Book:
    """Everything the ledger knows, and the numbering of its entries."""

    honours_keys: bool = True
    next_number: int = 1
    attempts: int = 0
    _first_of_key: dict[str, Attempt] = field(default_factory=dict[str, Attempt])
    _not_undone: dict[tuple[Operation, str], list[Effect]] = field(
        default_factory=dict[tuple[Operation, str], list[Effect]]
    )

    def replay(self, entries: list[Entry]) -> None:
        """Take in what an earlier process of this ledger wrote."""
        for entry in entries:
            self.next_number = entry.number + 1
            if isinstance(entry, Attempt):
                self._remember(entry)

    def take(self, call: Call, *, withholding: bool) -> Attempt:
        """Decide about a request and remember the decision; the entry returned must be durable before the
        reply."""
        fault = fault_for(call)
        outcome, effects, duplicate_of = self._decide(call, fault)
        attempt = Attempt(
            number=self._take_number(),
            operation=call.operation,
            key=call.key,
            attempt=call.attempt,
            token=call.token,
            purchase=call.purchase,
            outcome=outcome,
            reply=_fate(fault, withholding=withholding),
            effects=effects,
            duplicate_of=duplicate_of,
            caller=call.caller,
            line=call.line,
        )
        self._remember(attempt)
        return attempt

    def acknowledge(self, key: str, step: str, attempt: int) -> Acknowledged:
        """Note that the engine has a durable record of a completed step."""
        return Acknowledged(self._take_number(), key, step, attempt)

    def mark(self, event: Event) -> Mark:
        """Note what the demo did, in its place among the attempts."""
        return Mark(self._take_number(), event)

    def _take_number(self) -> int:
        number = self.next_number
        self.next_number += 1
        return number

    def _decide(self, call: Call, fault: FaultKind | None) -> Decision:
        first = self._first_of_key.get(call.key) if self.honours_keys else None
        if first is not None and (first.operation, first.purchase) != (call.operation, call.purchase):
            return Decision("key_conflict")
        if fault == "hangs":
            return Decision("hung")
        if fault is not None and fault != "reply_lost":
            return Decision(fault)
        if first is not None:
            return Decision("done", duplicate_of=first.effects[0].id)
        return self._work(call)

    def _work(self, call: Call) -> Decision:
        undone_operation = UNDOES.get(call.operation)
        if undone_operation is None:
            return Decision("done", (self._new_effect(call, 1, undoes=None),))
        undone = (call.effect,) if call.effect is not None else self._open_effects(undone_operation, call.purchase)
        if not undone:
            return Decision("nothing_to_undo")
        return Decision("done", tuple(self._new_effect(call, i, undoes=id) for i, id in enumerate(undone, start=1)))

    def _open_effects(self, operation: Operation, purchase: str) -> tuple[str, ...]:
        return tuple(effect.id for effect in self._not_undone.get((operation, purchase), ()))

    def _new_effect(self, call: Call, part: int, undoes: str | None) -> Effect:
        name = f"{EFFECT_PREFIX[call.operation]}_{self.next_number}"
        return Effect(name if part == 1 else f"{name}_{part}", undoes, call.cents)

    def _remember(self, attempt: Attempt) -> None:
        self.attempts += 1
        if not attempt.effects:
            return
        self._first_of_key.setdefault(attempt.key, attempt)
        undone_operation = UNDOES.get(attempt.operation)
        if undone_operation is None:
            self._not_undone.setdefault((attempt.operation, attempt.purchase), []).extend(attempt.effects)
            return
        undone = {effect.undoes for effect in attempt.effects}
        still_open = self._not_undone.get((undone_operation, attempt.purchase), [])
        still_open[:] = [effect for effect in still_open if effect.id not in undone]


def reply_to(attempt: Attempt) -> Reply:
    """Return what the sender is told, if it is told anything."""
    if attempt.outcome == "hung":
        raise ValueError("a hung attempt has no reply")
    effect = attempt.effects[0].id if attempt.effects else attempt.duplicate_of
    return Reply(attempt.outcome, effect)


def _fate(fault: FaultKind | None, *, withholding: bool) -> ReplyFate:
    if fault == "hangs":
        return "never"
    if fault == "reply_lost":
        return "lost"
    return "withheld" if withholding else "sent"
