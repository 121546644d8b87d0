"""Values that are given on the command line or in a file: JSON, times; each error says which one it is about."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from motet.cli.group import UsageError


def given_json(text: str | None, file: str | None, option: str, words: str) -> Any:
    """What stands in `--OPTION` or in the file of `--OPTION-file` (`-` is stdin); None: neither is given.

    Args:
        words: what it is, as `the input`.
    """
    if text is not None and file is not None:
        raise UsageError(f"{option} and {option}-file are both given; choose one")
    if text is not None:
        return parsed(text, option)
    if file is None:
        return None
    return parsed(content(file), f"{words} on stdin" if file == "-" else file)


def content(file: str) -> bytes:
    """What a file holds; `-` is stdin."""
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error


def parsed(text: str | bytes, what: str) -> Any:
    """JSON. Raises UsageError: it is none."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise UsageError(f"{what} is not JSON: {error}") from error


def moment_of(text: str, option: str) -> datetime:
    """A time with its zone. Raises UsageError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise UsageError(f"{option} {text}: give a time with its zone, as 2026-03-01T12:00:00Z or ...T12:00:00+01:00")
    return found
