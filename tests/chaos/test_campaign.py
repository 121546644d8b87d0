"""A campaign of about three minutes. Its seed is chance, and printed: `python -m tests.chaos --seed N` repeats it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(900)
def test_all_promises_are_kept_in_all_kinds_of_trouble() -> None:
    command = [sys.executable, "-m", "tests.chaos", "--seconds", "100"]
    campaign = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    print(campaign.stdout)
    assert campaign.returncode == 0, campaign.stdout
