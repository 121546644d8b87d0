"""Campaigns of about three minutes together. Their seeds are chance, and printed: `python -m tests.chaos --seed N`."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", [["--seconds", "90"], ["--loose"]], ids=["the core", "the loose edges"])
def test_all_promises_are_kept_in_all_kinds_of_trouble(kind: list[str]) -> None:
    command = [sys.executable, "-m", "tests.chaos", *kind]
    campaign = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    print(campaign.stdout)
    assert campaign.returncode == 0, campaign.stdout
