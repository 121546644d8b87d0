"""What the ledger writes down: every attempt with what it changed outside, and what it was told.

Entries are numbered in the order in which they came to the ledger. That order is the only clock here: it
decides whether an attempt came after the record that should have prevented it.
"""

from dataclasses import asdict, dataclass
from typing import Literal, get_args

from .fields import BadField, Fields
from .protocol import ANSWERS, OPERATIONS, Answer, Operation, encode

Outcome = Answer | Literal["hung"]
OUTCOMES: tuple[Outcome, ...] = (*ANSWERS, "hung")

ReplyFate = Literal["sent", "lost", "withheld", "never"]
"""What was to become of the reply: `lost` on purpose, `withheld` until the ledger is told to go on, `never`
where it hung. Known before the entry is written, because the entry is durable before anything is said."""

REPLY_FATES: tuple[ReplyFate, ...] = get_args(ReplyFate)

Event = Literal["withholding", "released", "worker_killed", "worker_paused"]
EVENTS: tuple[Event, ...] = get_args(Event)


@dataclass(frozen=True, slots=True)
class Effect:
    """One change in the world. `undoes` names the effect that it takes back."""

    id: str
    undoes: str | None = None
    cents: int | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request for work. `effects` is empty where nothing changed; `duplicate_of` names the first effect
    of a key that was honoured when it came again; `caller` and `line` are those of the call."""

    number: int
    operation: Operation
    key: str
    attempt: int
    token: int
    purchase: str
    outcome: Outcome
    reply: ReplyFate
    effects: tuple[Effect, ...] = ()
    duplicate_of: str | None = None
    caller: str = ""
    line: str = ""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The engine says: the record that this step completed is durable. From here on its key must not come
    again."""

    number: int
    key: str
    step: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that the demo did, in its place among the attempts."""

    number: int
    event: Event


Entry = Attempt | Acknowledged | Mark


def encode_entry(entry: Entry) -> bytes:
    """Return the entry as one line."""
    return encode({"kind": type(entry).__name__.lower(), **asdict(entry)})


def decode_entry(line: bytes) -> Entry:
    """Read one line; raises `BadField`."""
    fields = Fields.parse(line)
    kind = fields.one_of("kind", ("attempt", "acknowledged", "mark"))
    number = fields.whole("number")
    if kind == "acknowledged":
        return Acknowledged(number, fields.text("key"), fields.text("step"), fields.whole("attempt"))
    if kind == "mark":
        return Mark(number, fields.one_of("event", EVENTS))
    return Attempt(
        number=number,
        operation=fields.one_of("operation", OPERATIONS),
        key=fields.text("key"),
        attempt=fields.whole("attempt", at_least=1),
        token=fields.whole("token"),
        purchase=fields.text("purchase"),
        outcome=fields.one_of("outcome", OUTCOMES),
        reply=fields.one_of("reply", REPLY_FATES),
        effects=tuple(_decode_effect(Fields.of(effect)) for effect in fields.list_of("effects")),
        duplicate_of=fields.optional_text("duplicate_of"),
        caller=fields.text_or_nothing("caller"),
        line=fields.text_or_nothing("line"),
    )


def _decode_effect(fields: Fields) -> Effect:
    return Effect(
        id=fields.text("id"),
        undoes=fields.optional_text("undoes"),
        cents=fields.optional_whole("cents"),
    )


def decode_entries(data: bytes) -> tuple[list[Entry], int]:
    """Read a ledger file's content; return its entries and the length in bytes of the part that is whole.

    A last line without its line end is what a crash in the middle of a write leaves. It was never
    acknowledged to anyone, so it is left out. A broken line anywhere else is damage: raises `BadField` with
    the line's number.
    """
    whole = data.rfind(b"\n") + 1
    entries: list[Entry] = []
    for number, line in enumerate(data[:whole].splitlines(), start=1):
        try:
            entries.append(decode_entry(line))
        except BadField as error:
            raise BadField(f"line {number} of the ledger is damaged: {error}") from error
    return entries, whole
