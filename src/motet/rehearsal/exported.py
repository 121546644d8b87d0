"""A run in a file: everything that a replay needs, for another machine. Payloads are in it as they were recorded.

The format is JSON and has a number of its own; a reader refuses another one. Payloads are embedded as the JSON that
they are, laid out for people; one that is missing is left out, which is not the same as a recorded `null`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, NamedTuple

import msgspec

from motet.errors import BadValue
from motet.model.clock import Micros
from motet.model.history import Recorded
from motet.model.run import Run
from motet.status import iso

FORMAT = 1

_RUN_PAYLOADS = frozenset({"input", "result", "error", "current", "attributes", "first_input", "consumed", "origin"})


class Exported(NamedTuple):
    """A run as it was, with the history of each of its generations."""

    run: Run
    histories: dict[int, list[Recorded]]
    catalog: str | None = None  # what the code that drove it has said of itself

    @property
    def history(self) -> list[Recorded]:
        """That of the present generation."""
        return self.histories.get(self.run.generation, [])


class _File(msgspec.Struct, frozen=True):
    motet_export: int
    exported_at: str
    program: dict[str, str]
    run: dict[str, msgspec.Raw]
    histories: dict[str, list[dict[str, msgspec.Raw]]]
    catalog: msgspec.Raw


_decoder = msgspec.json.Decoder(_File)


def write(run: Run, histories: Mapping[int, Sequence[Recorded]], catalog: str | None, at: Micros) -> bytes:
    """The file's content, one readable document."""
    file = _File(
        motet_export=FORMAT,
        exported_at=iso(at) or "",
        program={
            "motet": metadata.version("motet"), "python": f"{sys.version_info.major}.{sys.version_info.minor}",
            "run_python": run.python, "run_code": run.fingerprint,
        },
        run=_raw(run._asdict(), _RUN_PAYLOADS),
        histories={
            str(generation): [_raw(row._asdict(), frozenset({"payload"})) for row in rows]
            for generation, rows in histories.items()
        },
        catalog=msgspec.Raw((catalog or "null").encode()),
    )  # fmt: skip
    return msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n"


def read(data: bytes, name: str) -> Exported:
    """Raises BadValue: it is no export, or one of a newer Motet."""
    try:
        version: Any = msgspec.json.decode(data)["motet_export"]
        if version != FORMAT:
            raise BadValue(
                f"{name} has format {version}, this Motet reads format {FORMAT}; read it with the Motet that made it"
            )
        file = _decoder.decode(data)
        run = _record(Run, file.run, _RUN_PAYLOADS)
        histories = {
            int(generation): [_record(Recorded, row, frozenset({"payload"})) for row in rows]
            for generation, rows in file.histories.items()
        }
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise BadValue(f"{name} is no exported run ({error}); make one with: motet export RUN FILE") from error
    catalog = bytes(file.catalog).decode()
    return Exported(run, histories, catalog if catalog != "null" else None)


def _raw(fields: Mapping[str, Any], payloads: frozenset[str]) -> dict[str, msgspec.Raw]:
    return {
        name: msgspec.Raw(value.encode() if name in payloads else msgspec.json.encode(value))
        for name, value in fields.items()
        if not (name in payloads and value is None)
    }


def _record(kind: Any, fields: Mapping[str, msgspec.Raw], payloads: frozenset[str]) -> Any:
    values: dict[str, Any] = dict.fromkeys(payloads & {*kind._fields})
    for name in kind._fields:
        if name in fields:
            raw = bytes(fields[name])
            compact = name in payloads
            values[name] = msgspec.json.format(raw, indent=-1).decode() if compact else msgspec.json.decode(raw)
    return kind(**values)
