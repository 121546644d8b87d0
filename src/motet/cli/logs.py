"""What a worker logs, on stderr: one line per record, with the run, step and attempt that it is about."""

from __future__ import annotations

import logging

from motet.cli.layout import clean
from motet.cli.spans import clock_time
from motet.model.clock import SECOND

LEVELS = ("debug", "info", "warning", "error")


class LineFormatter(logging.Formatter):
    """`12:00:01 warning motet.worker: ... run=purchase-42 step=create_enrollment attempt=3`, times in UTC; where
    there are several workers, with their numbers: `motet.worker[2]`."""

    def __init__(self, number: int | None) -> None:
        super().__init__()
        self._number = "" if number is None else f"[{number}]"

    def format(self, record: logging.LogRecord) -> str:
        where = ""
        for name in ("run", "step", "attempt"):
            value = getattr(record, name, "")
            if value != "":
                where += f" {name}={clean(str(value))}"
        at = clock_time(round(record.created * SECOND))
        line = f"{at} {record.levelname.lower()} {record.name}{self._number}: {clean(record.getMessage())}{where}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def log_to_stderr(level: str, number: int | None = None) -> None:
    """Have everything logged; a module that has set up logging of its own keeps it.

    Args:
        number: the worker's, where there are several.
    """
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter(number))
    root.addHandler(handler)
    root.setLevel(level.upper())
