"""Values in, JSON text out, and back: typed, prepared once per definition, never a pickle.

Invariants: what is decoded is what was recorded, live as in replay; no class is ever looked up by a name found
in data, only by the annotations of the code that reads it.
"""

from __future__ import annotations

import re
from typing import Any, Generic, TypeVar

import msgspec

from motet.errors import NotEncodable, PayloadTooLarge, UnstorableText, WrongType

T = TypeVar("T")

pydantic: Any
try:  # an extra; its models are encoded by their own rules where it is installed
    import pydantic
except ImportError:
    pydantic = None

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def _encode_foreign(value: Any) -> Any:
    if pydantic is not None and isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json")
    raise NotImplementedError(f"{type(value).__module__}.{type(value).__qualname__} is not JSON-able")


def _decode_foreign(kind: type, value: Any) -> Any:
    if kind is object:
        return value
    if pydantic is not None and issubclass(kind, pydantic.BaseModel):
        model: Any = kind
        try:
            return model.model_validate(value)
        except pydantic.ValidationError as error:
            raise ValueError(str(error)) from None
    raise NotImplementedError(f"{kind!r} cannot be read from JSON")


_encoder = msgspec.json.Encoder(enc_hook=_encode_foreign)
_canonical = msgspec.json.Encoder(enc_hook=_encode_foreign, order="sorted")


def encode(value: object, what: str, limit: int) -> str:
    """A value as JSON text.

    Args:
        value: anything JSON-able: builtins, dataclasses, msgspec.Struct, TypedDict, pydantic models.
        what: how an error names the value, as "the input of workflow 'shop/buy'".
        limit: the most bytes.

    Raises:
        NotEncodable, UnstorableText, PayloadTooLarge: nothing was recorded.
    """
    try:
        data = _encoder.encode(value)
    except UnicodeEncodeError as error:
        raise UnstorableText(_half_pair(what)) from error
    except (TypeError, ValueError, NotImplementedError, RecursionError, OverflowError) as error:
        raise NotEncodable(f"{what} is not JSON-able: {error}; use plain data or encode it yourself") from error
    if len(data) > limit:
        raise PayloadTooLarge(
            f"{what} is {len(data):,} bytes, the limit is {limit:,}; store large data elsewhere and pass a "
            "reference, or raise Settings(payload_limit_bytes=...)"
        )
    text = data.decode()
    if "\\u0000" in text and _NUL.search(text):
        raise UnstorableText(f"{what} holds a NUL character, which databases cannot store; remove or encode it")
    return text


def check_text(text: str, what: str) -> str:
    """The same text, if a database can hold it and it is not empty.

    Raises:
        UnstorableText: it holds NUL or half of a surrogate pair, or is empty or too long for a name (512).
    """
    if 0 < len(text) <= 512 and text.isascii() and "\x00" not in text:
        return text
    if "\x00" in text:
        raise UnstorableText(f"{what} holds a NUL character, which databases cannot store; remove or encode it")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UnstorableText(_half_pair(what)) from error
    if not text or len(text) > 512:
        raise UnstorableText(f"{what} has {len(text)} characters; it must have 1 to 512")
    return text


def canonical(value: object) -> bytes:
    """Bytes that are equal for equal values, whatever order their mappings have."""
    return _canonical.encode(value)


def plain(text: str) -> Any:
    """Recorded JSON as builtins, for readers that have no types (the command line, other programs)."""
    return msgspec.json.decode(text)


class Codec(Generic[T]):
    """The reader and writer for one annotated type, prepared once."""

    __slots__ = ("_decoder", "kind")

    def __init__(self, kind: Any) -> None:
        """Raises WrongType when the annotation cannot be read from JSON."""
        self.kind = kind
        try:
            self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind, dec_hook=_decode_foreign)
        except (TypeError, NotImplementedError) as error:
            raise WrongType(f"type {kind!r} cannot be read from JSON: {error}") from error

    def decode(self, text: str, what: str, *about: object) -> T:
        """The recorded value.

        Args:
            what: how an error calls the record; `about` is put into it then, with %.

        Raises:
            WrongType: the record does not have this type.
        """
        try:
            value: T = self._decoder.decode(text)
        except (msgspec.DecodeError, NotImplementedError, ValueError) as error:
            raise WrongType(f"{what % about if about else what} is not {_name(self.kind)}: {error}") from error
        return value


def convert(value: object, kind: Any) -> Any:
    """Builtins as a typed value; raises WrongType."""
    try:
        return msgspec.convert(value, kind, dec_hook=_decode_foreign)
    except (msgspec.ValidationError, NotImplementedError, TypeError) as error:
        raise WrongType(f"{value!r} is not {_name(kind)}: {error}") from error


def _half_pair(what: str) -> str:
    return f"{what} holds half of a surrogate pair, which is no text and which databases cannot store; fix the text"


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)
