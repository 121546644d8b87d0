"""What stands in the place of payloads that were erased: a conversation keeps its shape and loses its content.

A reader of JSON sees the text `(forgotten)`. The blank at the end is what no encoder of ours writes: so nobody's data
can be taken for it. Errors keep their class, requests of people keep what they asked for.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from motet.model.event import LoggedEvent

WORD: Final = "(forgotten)"
FORGOTTEN: Final = f'"{WORD}" '

_FAILURES: Final = frozenset({"answered", "failed", "retrying", "stuck"})
_REQUESTS: Final = frozenset({"cancel", "retry", "skipped"})
_CONTENT: Final = frozenset({"error", "data", "result", "reason", "incidents"})
_KEPT: Final = frozenset({"op", "compensate"})


def is_forgotten(text: str | None) -> bool:
    """Whether a recorded text was erased."""
    return text == FORGOTTEN


def forgotten_failure(text: str | None) -> str | None:
    """An error record that only says of which class it was."""
    if text is None:
        return None
    kind = _as_object(text).get("type")
    return msgspec.json.encode({"type": kind if isinstance(kind, str) else WORD, "message": WORD}).decode()


def forgotten_fact(kind: str, operation_kind: str, payload: str | None) -> str | None:
    """The payload of a history's row. Of an event that a wait has taken, its data is erased."""
    if payload is None:
        return None
    if kind in _FAILURES:
        return forgotten_failure(payload)
    if kind in _REQUESTS:
        said = _as_object(payload)
        known = {name: value if name in _KEPT or value is None else WORD for name, value in said.items()}
        return msgspec.json.encode(known).decode()
    if operation_kind == "wait" and kind == "completed":
        try:
            row = msgspec.json.decode(payload, type=LoggedEvent)
        except msgspec.DecodeError:
            return FORGOTTEN
        return msgspec.json.encode(row._replace(data=FORGOTTEN)).decode()
    return FORGOTTEN


def forgotten_report(data: str | None) -> str | None:
    """The data of an event of the engine's, which says what happened to what, and why."""
    if data is None:
        return None
    found = _as_object(data)
    for name in _CONTENT & found.keys():
        value: Any = found[name]
        kind = _mapping(value).get("type")
        found[name] = {"type": kind, "message": WORD} if kind is not None else value and WORD
    return msgspec.json.encode(found).decode() if found else FORGOTTEN


def _as_object(text: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
    return _mapping(found)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]
