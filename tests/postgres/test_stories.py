"""Stories of runs, told on PostgreSQL: the same tests as on SQLite, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STORIES = {
    "test_runs.py": "cancel or sleep or restart or killed or deadline",
    "test_waits.py": "early or timeout or restart",
    "test_compensation.py": "reverse or cancel",
    "test_reactions.py": "order or retr or publish",
    "test_encryption.py": "files or encrypted or changed or moved",
    "test_pruning.py": "charges or stays or again",
    "test_pruning_beside.py": "misses",
    "test_forgetting.py": "word or behind or wait or wherever",
}


@pytest.mark.parametrize("file", STORIES)
@pytest.mark.timeout(400)
def test_a_story_is_the_same_on_postgresql(file: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/stories/{file}", "-k", STORIES[file]],
        cwd=ROOT, env={**os.environ, "MOTET_TEST_STORE": "postgres"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
