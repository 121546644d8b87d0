"""A step that kills its process is parked with its reason after three crashes; all others go on."""

import subprocess
import sys
from pathlib import Path

import pytest

NEIGHBOURS = [f"neighbour-0.{number:03}" for number in range(1, 41)]


def launch(folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    program = Path(__file__).with_name("killing.py")
    command = [sys.executable, str(program), str(folder / "m.db"), str(folder / "ledger"), *names]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def until_parked(folder: Path, *names: str, crashes: int = 4) -> str:
    """What the first process tells that is not killed; three crashes make suspects, the fourth is the proof."""
    for found in range(8):
        result = launch(folder, *names)
        if result.returncode != 137:
            assert result.returncode == 0, result.stderr
            assert found == crashes
            return result.stdout
    raise AssertionError("it is never parked")


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["neighbour-0.3", "killer-0.1"], id="beside a slower one"),
        pytest.param(["killer-1.5"], id="slow and alone"),
        pytest.param(["killer-0", *NEIGHBOURS], id="at once, before its neighbours are in memory"),
        pytest.param([*NEIGHBOURS[:20], "killer-0", *NEIGHBOURS[20:]], id="amid its neighbours"),
    ],
)
def test_the_killer_is_parked_and_its_neighbours_complete(tmp_path: Path, names: list[str]):
    (killer,) = [name for name in names if name.startswith("killer")]
    told = until_parked(tmp_path, *names)
    assert f"{killer} blocked" in told
    assert "dangerous#1 was running when its process died" in told
    for name in names:
        assert name == killer or f"{name} {name}\n" in told
    killed = [line for line in (tmp_path / "ledger").read_text().splitlines() if line.startswith(killer)]
    assert len(killed) == 4


@pytest.mark.parametrize(("neighbours", "crashes"), [(0, 4), (30, 5)])
def test_a_body_that_kills_is_parked_as_well(tmp_path: Path, neighbours: int, crashes: int):
    """Beside others it was one of a few that were accused together, and is found among these."""
    names = [*NEIGHBOURS[: neighbours // 2], "body-1", *NEIGHBOURS[neighbours // 2 : neighbours]]
    told = until_parked(tmp_path, *names, crashes=crashes)
    assert "body-1 blocked" in told
    assert "the workflow's body was running when its process died" in told
    for name in names:
        assert name == "body-1" or f"{name} {name}\n" in told
