"""A ledger to talk to, for every test that wants one."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.examples.ledger_process import RunningLedger, StartLedger, running_ledger


@pytest.fixture
def start_ledger(tmp_path: Path) -> Iterator[StartLedger]:
    """Start ledgers that end with the test; by default all on the same file."""
    with ExitStack() as running:

        def start(*options: str, file: Path | None = None) -> RunningLedger:
            return running.enter_context(running_ledger(file or tmp_path / "ledger.jsonl", *options))

        yield start
