"""Campaigns on PostgreSQL, of about three minutes together. Their seeds are chance, and printed; `--seed N` repeats."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def campaign(*options: str) -> None:
    command = [sys.executable, "-m", "tests.chaos", "--store", "postgres", *options]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout


@pytest.mark.timeout(900)
def test_all_promises_are_kept_in_all_kinds_of_trouble() -> None:
    campaign("--no-failpoints", "--seconds", "45", "--runs", "500", "--kills", "8", "--pauses", "3", "--others", "1")


@pytest.mark.timeout(600)
def test_each_failpoint_is_met_by_somebody() -> None:
    """With more of the runs whose records are rare."""
    campaign(
        "--seconds", "25", "--runs", "300", "--kills", "0", "--pauses", "0", "--others", "1", "--faults", "points",
        "--hurry", "6", "--kinds", "again,rounds,nap,family",
    )  # fmt: skip


@pytest.mark.timeout(300)
def test_an_outage_alone_reruns_nothing() -> None:
    campaign(
        "--no-failpoints", "--seconds", "15", "--runs", "200", "--kills", "0", "--pauses", "0", "--others", "1",
        "--faults", "crashes,outages",
    )  # fmt: skip


@pytest.mark.timeout(600)
def test_the_loose_edges_keep_their_promises_at_each_of_their_failpoints() -> None:
    """With a server that crashes, connections that are cut, and replies to COMMIT that are lost."""
    campaign(
        "--loose", "--seconds", "20", "--runs", "30", "--kills", "0", "--pauses", "0", "--others", "1",
        "--replies", "1", "--quiet", "300", "--faults", "points,crashes,cuts,replies", "--hurry", "2",
    )  # fmt: skip
