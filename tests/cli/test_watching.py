"""`motet watch`, with a terminal and without; and what else depends on there being one."""

import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from motet.cli import exits
from motet.cli.watching import Tally
from tests.cli.commanding import MOTET, Command, Terminal, WorkerProcess

LINGERING = ["start", "shop", "run_purchase", "--id", "p", "--input", '{"id": "p", "mode": "lingering"}']


@pytest.fixture
def lingering(motet: Command, folder: Path, worker: Callable[..., WorkerProcess]) -> Path:
    """The file that holds up the last step of run `p`, which a worker drives."""
    (folder / "linger").touch()
    worker()
    assert motet(*LINGERING).code == 0
    return folder / "linger"


def test_without_a_terminal_each_change_is_a_line(lingering: Path) -> None:
    watching = subprocess.Popen([MOTET, "watch", "p"], stdout=subprocess.PIPE, text=True)
    assert watching.stdout is not None
    told: list[str] = []
    while not any(">>  linger" in line for line in told):
        told.append(watching.stdout.readline())
        assert told[-1], told
    lingering.unlink()
    told += watching.stdout.readlines()
    watching.stdout.close()
    assert watching.wait() == exits.OK
    assert all(re.match(r"\d\d:\d\d:\d\d  ", line) for line in told[: told.index("\n")])
    changes = [re.sub(r"   .*", "", line[10:].rstrip()) for line in told[: told.index("\n")]]
    assert changes[0] == "RUNNING"
    for change in ("ok  authorize_payment", "ok  create_enrollment", "ok  linger", "ok  publish purchase.completed"):
        assert changes.count(change) == 1
    assert "COMPLETED" in changes
    story = "".join(told[told.index("\n") :])
    assert "p   run_purchase v1   COMPLETED   after " in story
    assert "\x1b" not in "".join(told), "no terminal, no colours and no cursor"


def test_a_live_view_is_drawn_in_place(lingering: Path) -> None:
    given_up = Terminal("watch", "p")
    watching = Terminal("watch", "p")
    given_up.until("RUNNING")
    given_up.signal(signal.SIGINT)
    assert given_up.ended() == exits.INTERRUPTED
    assert "Traceback" not in given_up.written

    watching.until(">>\x1b[0m  linger")
    lingering.unlink()
    assert watching.ended() == exits.OK, "Ctrl-C has ended the view, not the run"
    assert "\x1b[?25l" in watching.written and "\x1b[?25h" in watching.written, "the cursor hides and comes back"
    assert "\x1b[1A" in watching.written, "what was drawn is drawn over"
    assert watching.written.count("\x1b[2J") == 0, "nothing flickers: the screen is never cleared"
    assert "\x1b[32mCOMPLETED\x1b[0m" in watching.written
    assert watching.written.rpartition("COMPLETED")[2].count("authorize_payment") == 1, "the last drawing is whole"


def test_a_run_that_has_ended_is_shown_at_once(motet: Command, stories: Path) -> None:
    for mode, code in {"fine": 0, "failing": 1, "stuck": 4, "stopped": 6}.items():
        seen = motet("watch", f"purchase-{mode}")
        assert seen.code == code
        shown = motet("status", f"purchase-{mode}").stdout
        # How long it has been so far may be a second more by now.
        watched = seen.stdout.partition("\n\n")[2].splitlines()[0]
        assert re.sub(r"\d+ s", "# s", watched) == re.sub(r"\d+ s", "# s", shown.splitlines()[0])
        as_json = motet("watch", f"purchase-{mode}", "--json")
        assert (as_json.code, as_json.json["id"]) == (code, f"purchase-{mode}")


# --- all runs --------------------------------------------------------------------------------------------------


def test_all_runs_are_counted_until_ctrl_c(motet: Command, stories: Path) -> None:
    watching = subprocess.Popen([MOTET, "watch"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert watching.stdout is not None
    line = watching.stdout.readline()
    assert line[10:] == "2 waiting   1 completed   2 failed   1 cancelled   1 blocked   7 in all   0.0 ended/s\n"
    motet("start", "shop", "buy_two", "--id", "two")
    assert "1 pending   2 waiting" in watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    _, complaints = watching.communicate()
    assert (watching.returncode, complaints) == (exits.OK, "")


def test_all_runs_in_a_terminal(stories: Path) -> None:
    terminal = Terminal("watch")
    terminal.until("4 of 7 ended")
    terminal.signal(signal.SIGINT)
    assert terminal.ended() == exits.OK
    assert "WAITING" in terminal.written and "BLOCKED" in terminal.written
    assert "sqlite:///motet.db" in terminal.written


def test_all_runs_as_json(motet: Command, stories: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("motet.cli.watching.TICK_SECONDS", 0.01)
    document = motet("watch", "--json").json
    assert document["counts"] == {"waiting": 2, "completed": 1, "failed": 2, "cancelled": 1, "blocked": 1}
    assert document["ended_per_second"] == 0


def test_the_rate_is_that_of_the_last_seconds() -> None:
    tally = Tally()
    tally.take({"running": 90, "completed": 10}, at=100.0)
    assert (tally.rate, tally.left()) == (0.0, "")
    tally.take({"running": 70, "completed": 20, "failed": 5, "blocked": 5}, at=102.0)
    assert (tally.ended, tally.total, tally.rate, tally.left()) == (25, 100, 7.5, "about 9 s left")
    tally.take({"completed": 95, "blocked": 5}, at=120.0)
    assert tally.rate == pytest.approx(70 / 18)
    assert tally.left() == "", "what is blocked does not end by itself"


# --- where a terminal matters ----------------------------------------------------------------------------------


def test_status_in_a_terminal_is_coloured(stories: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coloured = Terminal("status", "purchase-stuck")
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal("status", "purchase-stuck")
    assert coloured.ended() == plain.ended() == exits.OK
    assert "\x1b[1;31mBLOCKED\x1b[0m" in coloured.written
    assert "BLOCKED" in plain.written and "\x1b[1;31m" not in plain.written


def test_the_width_is_that_of_the_terminal(stories: Path) -> None:
    terminal = Terminal("runs", columns=52)
    terminal.ended()
    lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.written).splitlines()
    assert max(len(line) for line in lines) <= 52
    assert len(lines) == 10, "each run on a line of its own, and the counts on two"


def test_a_copy_shows_a_bar_only_in_a_terminal(motet: Command, stories: Path) -> None:
    terminal = Terminal("backup", "copy.db")
    assert terminal.ended() == 0
    assert "copying" in terminal.written and "pages/s" in terminal.written
    assert motet("backup", "other.db").stderr == ""


def test_no_character_is_too_much_for_a_terminal(
    motet: Command, stories: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    motet("start", "shop", "buy_two", "--id", "合唱-2")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = subprocess.run([MOTET, "status", "合唱-2"], capture_output=True, check=False, encoding="ascii")
    assert done.returncode == 0
    assert done.stdout.startswith(r"\u5408\u5531-2   buy_two v1   PENDING")
