"""The README's words are true: every code block runs, and prints what the page says it prints."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
PROGRAM = next(code for language, code in BLOCKS if language == "python")
SESSIONS = [code for language, code in BLOCKS if language == "console"]
_FAILED, _MAKE, _KILLED = SESSIONS

LOOK = "motet status purchase-42 --json 2>/dev/null"
ASLEEP = f"""sleep() {{ until {LOOK} | grep -q '"due_at": *"2'; do command sleep 0.1; done; }}; """
"""What a reader's three seconds are for: that the store says that the run is asleep, however busy the machine is. Until
there is a store, that is what the command says."""


def environment(folder: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MOTET_", "COURSE_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "HOME": str(folder), "COLUMNS": "100", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}


def run(command: str, folder: Path, seconds: int = 120) -> str:
    """What the shell prints, standard error included."""
    result = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment(folder), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    return result.stdout


def steady(text: str) -> list[str]:
    """Lines without what differs from run to run: how long things took, and ids of payments."""
    text = re.sub(r"[<\d][\d.]* (ms|s)\b", "# s", text)
    text = text.replace("ends now", "ends in # s")  # a slow machine has slept it out
    text = re.sub(r"pay_\d+", "pay_#", text)
    text = re.sub(r"worker \S+ \(\d+\)", "worker #", text)
    text = re.sub(r"cents=\d+", "cents=#", text)
    return [re.sub(r" +", " ", line).strip() for line in text.splitlines() if line.strip()]


def commands(session: str) -> list[tuple[str, str]]:
    """Each command of a session, with the output that the page shows."""
    parts = re.split(r"^\$ (.*)\n", session, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def test_it_is_one_page():
    assert len(README.split()) <= 700
    assert {language for language, _ in BLOCKS} == {"console", "python"}, "no block that nothing runs"


def test_killed_looked_at_and_run_again(tmp_path: Path):
    (tmp_path / "shop.py").write_text(PROGRAM)
    for command, shown in commands(_KILLED):
        printed = run(ASLEEP + command, tmp_path)
        assert steady(printed) == steady(shown), f"$ {command}\n{printed}"


def test_the_program_is_short():
    assert len([line for line in PROGRAM.splitlines() if line.strip()]) <= 45


def test_the_failed_purchase_of_the_first_page(tmp_path: Path):
    """`motet demo` of the same seed leaves the very run that the page shows."""
    printed = run(f"motet demo --purchases 100 --seed 1 --keep {tmp_path / 'kept'}", tmp_path)
    assert "Every promise was kept" in printed
    store = next((tmp_path / "kept").rglob("*.db"))
    ((command, shown),) = commands(_FAILED)
    told = run(f"MOTET_STORE=sqlite:///{store} {command}", tmp_path)
    # Where the lines break follows from how wide the times are.
    assert " ".join(steady(told)).startswith(" ".join(steady(shown))), told


@pytest.mark.parametrize(("command", "shown"), commands(_MAKE))
def test_the_two_commands_are_targets_that_set_up_all_they_need(command: str, shown: str):
    """`make demo` is run for real; to run `make test` here would never end, so its recipe is shown instead."""
    assert shown == ""
    if command == "make demo":
        result = run(command, ROOT)
        assert "Every promise was kept" in result, result
    else:
        planned = run(f"{command} --dry-run --always-make", ROOT)
        assert "-m venv .venv" in planned and "pytest" in planned
