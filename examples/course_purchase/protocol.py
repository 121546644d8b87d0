"""What is said on the wire between the shop's clients and the ledger: one JSON object per line.

A connection carries one request at a time. A reply that never comes is not an error of the protocol: it is
the case that this example is about, and shows as a connection closed, or silent, with a request unanswered.
"""

import json
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from .fields import Fields
from .purchases import TROUBLES, Trouble

Purchasing = Literal["charge", "refund", "enroll", "remove"]
"""What a purchase consists of: money and seats."""

Notice = Literal["mail", "count", "recommend", "refer"]
"""What others do when they hear of a purchase: a mail to the learner, a conversion counted, a recommendation drawn up,
a callback to the affiliate who has sent the learner."""

Operation = Purchasing | Notice
PURCHASING: tuple[Purchasing, ...] = get_args(Purchasing)
NOTICES: tuple[Notice, ...] = get_args(Notice)
OPERATIONS: tuple[Operation, ...] = (*PURCHASING, *NOTICES)

UNDOES: dict[Operation, Operation] = {"refund": "charge", "remove": "enroll"}
"""Which operation undoes which."""

Answer = Literal["done", "nothing_to_undo", "card_declined", "course_full", "unavailable", "key_conflict"]
ANSWERS: tuple[Answer, ...] = get_args(Answer)


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt at one operation.

    `key` is the idempotency key, the same on every attempt of one step. An undo names what it undoes by
    `effect`, or, where the shop never learnt whether there is anything to undo, by nothing: then the ledger
    looks it up by `purchase`. `caller` is the app that asks; `line` is what the token counts the owners of: a run, or
    a reaction.
    """

    operation: Operation
    key: str
    attempt: int
    token: int
    purchase: str
    trouble: Trouble | None = None
    effect: str | None = None
    cents: int | None = None
    caller: str = ""
    line: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a call. `effect` names what was done, for the answer `done` only."""

    answer: Answer
    effect: str | None = None


def encode_call(call: Call) -> bytes:
    """Return the call as one line."""
    return encode(asdict(call))


def decode_call(fields: Fields) -> Call:
    """Read a call; raises `BadField`."""
    return Call(
        operation=fields.one_of("operation", OPERATIONS),
        key=fields.text("key"),
        attempt=fields.whole("attempt", at_least=1),
        token=fields.whole("token"),
        purchase=fields.text("purchase"),
        trouble=fields.optional_one_of("trouble", TROUBLES),
        effect=fields.optional_text("effect"),
        cents=fields.optional_whole("cents"),
        caller=fields.text_or_nothing("caller"),
        line=fields.text_or_nothing("line"),
    )


def encode_reply(reply: Reply) -> bytes:
    """Return the reply as one line."""
    return encode(asdict(reply))


def decode_reply(line: bytes) -> Reply:
    """Read a reply; raises `BadField`."""
    fields = Fields.parse(line)
    return Reply(
        answer=fields.one_of("answer", ANSWERS),
        effect=fields.optional_text("effect"),
    )


def encode(message: dict[str, object]) -> bytes:
    """Return a JSON object as one line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"
