"""What a worker logs, on stderr: one line per record, with the run, step and attempt that it is about."""

from __future__ import annotations

import logging

from motet.cli.layout import clean
from motet.cli.spans import clock_time
from motet.model.clock import SECOND

LEVELS = ("debug", "info", "warning", "error")


class LineFormatter(logging.Formatter):
    """`12:00:01 warning motet.worker: ... run=purchase-42 step=create_enrollment attempt=3`, times in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        where = ""
        for name in ("run", "step", "attempt"):
            value = getattr(record, name, "")
            if value != "":
                where += f" {name}={clean(str(value))}"
        at = clock_time(round(record.created * SECOND))
        line = f"{at} {record.levelname.lower()} {record.name}: {clean(record.getMessage())}{where}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def log_to_stderr(level: str) -> None:
    """Have everything logged; a module that has set up logging of its own keeps it."""
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    root.addHandler(handler)
    root.setLevel(level.upper())
