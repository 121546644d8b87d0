"""What has happened, from a CSV file: one event a row, with the case that it belongs to.

A file is read whole and checked before anything is published, so that a mistake in its last line leaves nothing half
done. Rows may stand in any order; they happen in the order of their times, and in the file's order at the same moment.
"""

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, NamedTuple

DEFAULT_FILE = Path(__file__).resolve().parents[3] / "shared" / "data" / "permit-receipt.csv.gz"
"""Beside the checkout. The file is not ours to publish."""

DOI = "10.4121/uuid:a07386a5-7be3-4367-9535-70bc9e77dbe6"
SAMPLE = "examples/permit_receipt/sample.csv"

NEEDED = ("case", "activity", "time")
LONGEST_NAME = 512
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class BadFile(Exception):
    """The file cannot be used. The message names the line and says what to change."""


class Record(NamedTuple):
    """One event.

    Args:
        case: what it belongs to; the event's key.
        activity: what has happened; the event's name.
        time: when.
        details: the other columns; the event's data.
    """

    case: str
    activity: str
    time: datetime
    details: dict[str, str]


def read(path: Path) -> list[Record]:
    """All records of a file, plain or gzipped, in order of time. Raises BadFile."""
    try:
        with _opened(path) as file:
            records = list(_records(path, csv.DictReader(file, strict=True)))
    except FileNotFoundError as error:
        raise BadFile(_not_there(path)) from error
    except UnicodeDecodeError as error:
        raise BadFile(f"{path} is not UTF-8 text: the byte at {error.start} is none") from error
    except (OSError, EOFError, zlib.error) as error:
        raise BadFile(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if not records:
        raise BadFile(f"{path} holds no events; write one a line, under the line with the columns' names")
    return sorted(records, key=lambda record: record.time)


def _opened(path: Path) -> IO[str]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if packed:
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _not_there(path: Path) -> str:
    if path == DEFAULT_FILE:
        return (
            f"the log of the permits is not at {path}. It is not ours to publish; anyone gets it from "
            f"https://doi.org/{DOI} (then: --file FILE). To look around without it: --file {SAMPLE}"
        )
    return f"there is no file {path}"


def _records(path: Path, rows: "csv.DictReader[str]") -> Iterator[Record]:
    try:
        _check_columns(path, rows.fieldnames or ())
        for row in rows:
            yield _record(f"{path}, line {rows.line_num}", row)
    except csv.Error as error:
        raise BadFile(f"{path}, after line {rows.line_num}: not CSV: {error}") from error


def _check_columns(path: Path, found: Sequence[str]) -> None:
    missing = [column for column in NEEDED if column not in found]
    if missing:
        raise BadFile(
            f"{path} has no column {' and no column '.join(missing)}; its first line must name at least the columns "
            f"{', '.join(NEEDED)}, and names {', '.join(found) or 'nothing'}"
        )
    doubled = sorted({column for column in found if found.count(column) > 1})
    if doubled:
        raise BadFile(f"{path} has the column {doubled[0]!r} twice; keep one of them")


def _record(place: str, row: dict[str, str]) -> Record:
    if None in row or None in row.values():
        raise BadFile(f"{place}: it has {'more' if None in row else 'fewer'} fields than the first line has columns")
    for column in ("case", "activity"):
        if not 0 < len(row[column]) <= LONGEST_NAME:
            raise BadFile(
                f"{place}: column '{column}' must hold 1 to {LONGEST_NAME} characters, not {len(row[column])}"
            )
    details = {column: value for column, value in row.items() if column not in NEEDED}
    return Record(row["case"], row["activity"], _time(place, row["time"]), details)


def _time(place: str, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadFile(f"{place}: {text!r} is no time; write it as 2011-03-24 09:30:00+01:00") from error
    if time.tzinfo is None:
        raise BadFile(f"{place}: {text!r} has no time zone, so it names no moment; write it as {text}+01:00")
    if not EARLIEST <= time < LATEST:
        raise BadFile(f"{place}: {text!r} is not in the years from {EARLIEST.year} to {LATEST.year - 1}")
    return time
