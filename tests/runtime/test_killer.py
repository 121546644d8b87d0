"""A step that kills its process is parked with its reason after three crashes; all others go on."""

import subprocess
import sys
from pathlib import Path


def launch(folder: Path, *ids: str) -> subprocess.CompletedProcess[str]:
    program = Path(__file__).with_name("killing.py")
    command = [sys.executable, str(program), str(folder / "m.db"), str(folder / "ledger"), *ids]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_killer_is_parked_and_its_neighbour_completes(tmp_path: Path):
    crashes = 0
    result = launch(tmp_path, "neighbour", "killer")
    while result.returncode == 137:
        crashes += 1
        assert crashes < 8, "it is never parked"
        result = launch(tmp_path)
    assert result.returncode == 0, result.stderr
    assert "neighbour neighbour" in result.stdout
    assert "killer blocked" in result.stdout
    assert "dangerous#1 was running when its process died" in result.stdout
    # Three crashes make it a suspect; the fourth, alone, is the proof.
    assert crashes == 4
    killed = [line for line in (tmp_path / "ledger").read_text().splitlines() if line.startswith("killer")]
    assert len(killed) == 4
