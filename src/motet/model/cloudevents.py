"""Events as CloudEvents 1.0 documents in their JSON format (https://github.com/cloudevents/spec, `json-format.md`).

Written with the extensions `correlationid`, `causationid` and `traceparent` (of the distributed tracing extension),
and with our own, whose names CloudEvents restricts to lower-case letters and digits: `dataversion`, `recipient`,
`recordedtime` and `position`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from motet.errors import WrongType
from motet.model.clock import Micros, as_datetime, from_datetime
from motet.model.codec import plain
from motet.model.event import LoggedEvent

SPEC_VERSION = "1.0"


class Document(NamedTuple):
    """What a CloudEvent from outside says. Its `id` is unique together with its `source`."""

    id: str
    source: str
    type: str
    subject: str | None
    time: Micros | None
    correlationid: str | None
    causationid: str | None
    traceparent: str | None
    version: int
    recipient: str | None
    data: Any


def to_document(row: LoggedEvent) -> dict[str, Any]:
    """A logged event as a CloudEvent, ready for JSON; attributes that are not set are left out."""
    document = {
        "specversion": SPEC_VERSION,
        "id": row.given_id,
        "source": row.source,
        "type": row.type,
        "subject": row.subject,
        "time": _text(row.time),
        "datacontenttype": "application/json",
        "correlationid": row.correlationid,
        "causationid": row.causationid,
        "traceparent": row.traceparent,
        "recipient": row.recipient,
        "dataversion": row.version,
        "recordedtime": _text(row.recorded_at),
        "position": row.position,
        "data": plain(row.data),
    }
    return {name: value for name, value in document.items() if value is not None or name == "data"}


def from_document(document: str | bytes | Mapping[str, Any]) -> Document:
    """A CloudEvent in its JSON form: text, bytes, or the mapping that it is.

    Raises:
        WrongType: it is none; the message names the attribute.
    """
    if isinstance(document, str | bytes):
        try:
            document = msgspec.json.decode(document)
        except msgspec.DecodeError as error:
            raise WrongType(f"this is no CloudEvent: {error}") from error
    if not isinstance(document, Mapping):
        raise WrongType("this is no CloudEvent: a JSON object is wanted")
    if document.get("specversion") != SPEC_VERSION:
        raise WrongType(f"CloudEvent: specversion is {document.get('specversion')!r}, this program reads '1.0'")
    if "data_base64" in document:
        raise WrongType("CloudEvent: data_base64 is binary data, and events here are JSON; store it elsewhere")
    return Document(
        id=_required(document, "id"), source=_required(document, "source"), type=_required(document, "type"),
        subject=_optional(document, "subject"), time=_time(document),
        correlationid=_optional(document, "correlationid"), causationid=_optional(document, "causationid"),
        traceparent=_optional(document, "traceparent"), version=_version(document),
        recipient=_optional(document, "recipient"), data=document.get("data"),
    )  # fmt: skip


def _required(document: Mapping[str, Any], name: str) -> str:
    value = _optional(document, name)
    if value is None:
        raise WrongType(f"CloudEvent: the attribute {name!r} is missing; CloudEvents 1.0 requires it")
    return value


def _optional(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is not None and (not isinstance(value, str) or not value):
        raise WrongType(f"CloudEvent: the attribute {name!r} is {value!r}; it must be a text that is not empty")
    return value


def _time(document: Mapping[str, Any]) -> Micros | None:
    text = _optional(document, "time")
    if text is None:
        return None
    try:
        return from_datetime(datetime.fromisoformat(text))
    except ValueError as error:
        raise WrongType(f"CloudEvent: time {text!r} is not a time with its zone (RFC 3339): {error}") from error


def _version(document: Mapping[str, Any]) -> int:
    version = document.get("dataversion", 1)
    if not isinstance(version, int) or version < 1:
        raise WrongType(f"CloudEvent: dataversion is {version!r}; it must be a number from 1")
    return version


def _text(at: Micros) -> str:
    return as_datetime(at).isoformat().replace("+00:00", "Z")
