"""Campaigns on PostgreSQL, of about 90 seconds together. Their seeds are chance, and printed; `--seed N` repeats."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def campaign(*options: str) -> None:
    command = [sys.executable, "-m", "tests.chaos", "--store", "postgres", "--no-failpoints", *options]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout


@pytest.mark.timeout(900)
def test_all_promises_are_kept_in_all_kinds_of_trouble() -> None:
    campaign("--seconds", "45", "--runs", "500", "--kills", "8", "--pauses", "3", "--others", "1")


@pytest.mark.timeout(300)
def test_an_outage_alone_reruns_nothing() -> None:
    campaign(
        "--seconds", "15", "--runs", "200", "--kills", "0", "--pauses", "0", "--others", "1",
        "--faults", "crashes,outages",
    )  # fmt: skip
