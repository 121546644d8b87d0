"""Errors as records: what a failed step or run leaves, and how a declared error comes back as itself.

A declared error is rebuilt from its fields as the class *that the reading code declares*, without calling its
`__init__`; no class is looked up by a name found in data. A subclass of a declared error comes back as the
declared class.
"""

from __future__ import annotations

import traceback
import typing
from collections.abc import Sequence
from typing import Any

import msgspec

from motet.model.codec import Codec, convert, encode

TRACE_LIMIT = 4_000


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """A recorded error.

    Args:
        type: the class's name.
        message: its text.
        declared: the name of the declared class it stands for; None for a fault.
        args: the error's arguments, for a declared error.
        fields: its attributes, for a declared error.
        trace: where it was raised, for a fault; the last part of a long one.
        cause: the error behind it.
    """

    type: str
    message: str
    declared: str | None = None
    args: list[Any] = []
    fields: dict[str, Any] = {}
    trace: str | None = None
    cause: Failure | None = None

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


_codec: Codec[Failure] = Codec(Failure)


def name_of(kind: type[BaseException]) -> str:
    """How records name an error's class."""
    return f"{kind.__module__}.{kind.__qualname__}"


def declared_class(error: BaseException, declared: Sequence[type[BaseException]]) -> type[BaseException] | None:
    """The most specific declared class of an error; None if it is a fault."""
    for kind in type(error).__mro__:
        if kind in declared:
            return kind
    return None


def encode_declared(error: BaseException, kind: type[BaseException], what: str, limit: int) -> str:
    """The record of a declared error.

    Raises:
        NotEncodable, UnstorableText, PayloadTooLarge: a field cannot be recorded.
    """
    record = Failure(
        type=type(error).__name__,
        message=_message(error),
        declared=name_of(kind),
        args=list(error.args),
        fields=dict(vars(error)),
    )
    return encode(record, f"error {type(error).__name__} of {what}", limit)


def encode_fault(error: BaseException, *, trace: bool = True, limit: int = 65_536) -> str:
    """The record of a fault; never fails: what cannot be stored of its text is replaced."""
    return encode(_fault(error, trace, depth=3), "a fault", limit=limit * 16)


def _fault(error: BaseException, trace: bool, depth: int) -> Failure:
    cause = error.__cause__
    text = "".join(traceback.format_exception(error)) if trace and error.__traceback__ else None
    return Failure(
        type=type(error).__name__,
        message=_storable(_message(error))[:TRACE_LIMIT],
        trace=_storable(text)[-TRACE_LIMIT:] if text else None,
        cause=_fault(cause, False, depth - 1) if cause is not None and depth else None,
    )


def decode_failure(text: str) -> Failure:
    """The record as data.

    Raises:
        WrongType: the row is corrupt.
    """
    return _codec.decode(text, "the error record")


def rebuild(failure: Failure, declared: Sequence[type[BaseException]]) -> BaseException | None:
    """A declared error as itself, or None when none of these classes is meant (a fault, or changed code)."""
    for kind in declared:
        if name_of(kind) == failure.declared:
            error = kind.__new__(kind, *failure.args)
            error.args = tuple(failure.args)
            hints = _hints(kind)
            for name, value in failure.fields.items():
                object.__setattr__(error, name, convert(value, hints[name]) if name in hints else value)
            return error
    return None


def _hints(kind: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind)
    except (NameError, TypeError, AttributeError):  # annotations that only a type checker can read
        return {}


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # a user's __str__ may itself be broken; the record must still be made
        return f"(its text could not be read: {type(broken).__name__})"


def _storable(text: str) -> str:
    return text.encode(errors="replace").decode().replace("\x00", "\\0")
