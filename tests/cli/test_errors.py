"""What goes wrong is one clean line, or one JSON document, and an exit code; never a traceback unless asked for."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from motet import errors
from motet.cli import exits
from tests.cli.commanding import MOTET, Command

FAILING: list[tuple[list[str], int, str, str]] = [
    (["status", "nope"], exits.NOT_FOUND, "RunNotFound", "there is no run 'nope'"),
    (["watch", "nope"], exits.NOT_FOUND, "RunNotFound", "there is no run 'nope'"),
    (["--store", "sqlite:///no.db", "runs"], exits.NOT_FOUND, "StoreMissing", "there is no store at"),
    (["runs", "--store", "no.db"], exits.USAGE, "ConfigError", "is not an address"),
    (["runs", "--store", "oracle:///x"], exits.USAGE, "ConfigError", "is not understood"),
    (["runs", "--store", "sqlite:///shop.py"], exits.STORE, "StoreRefused", "is not a SQLite database"),
    (["backup", "shop.py"], exits.STORE, "StoreRefused", "a backup never overwrites"),
    (["backup", "no/folder.db"], exits.USAGE, "UsageError", "there is no folder no"),
    (["cancel", "purchase-fine"], exits.NOT_POSSIBLE, "NotPossible", "has ended as completed"),
    (["retry", "purchase-fine"], exits.NOT_POSSIBLE, "NotPossible", "not blocked"),
    (["skip", "purchase-stuck", "--operation", "x#1", "--note", "n"], exits.NOT_POSSIBLE, "NotPossible", "'x#1'"),
    (["skip", "purchase-stuck"], exits.USAGE, "UsageError", "Missing option '--note'"),
    (["start", "shop", "run_purchase", "--id=q", "--input", '{"id": 3}'], exits.USAGE, "WrongType", "is not Purchase"),
    (["start", "shop", "run_purchase", "--id", "q"], exits.USAGE, "WrongType", "is not Purchase"),
    (["start", "shop", "buy_two", "--id", "q", "--input", "1"], exits.USAGE, "WrongType", "takes no input"),
    (["start", "shop", "nope", "--id", "q"], exits.USAGE, "UnknownWorkflow", "known: shop/buy_two, shop/run_purchase"),
    (["start", "shop", "buy_two", "--id", "purchase-fine"], exits.NOT_POSSIBLE, "RunExists", "choose another id"),
    (["start", "shop", "buy_two", "--id", "q", "--input", "{"], exits.USAGE, "UsageError", "--input is not JSON"),
    (["start", "shop", "buy_two", "--id", "q", "--input-file", "no"], exits.USAGE, "UsageError", "cannot read no"),
    (["start", "shop", "buy_two", "--id=q", "--input=1", "--input-file=-"], exits.USAGE, "UsageError", "choose one"),
    (["start", "shop", "buy_two", "--id", "q", "--attributes", "[1]"], exits.USAGE, "UsageError", "is no JSON object"),
    (["start", "shop", "buy_two", "--id", ""], exits.USAGE, "UnstorableText", "it must have 1 to 512"),
    (["worker", "no_such_module"], exits.USAGE, "ModuleProblem", "there is no module 'no_such_module'"),
    (["worker", "shop.py"], exits.USAGE, "ModuleProblem", "name the module as in an import: shop"),
    (["worker", "shop:nope"], exits.USAGE, "ModuleProblem", "has no such name; choose one: shop:shop"),
    (["worker", "shop:Purchase"], exits.USAGE, "ModuleProblem", "holds type there, not an App"),
    (["worker", "json"], exits.USAGE, "ModuleProblem", "holds no app"),
    (["worker", "broken_module"], exits.USAGE, "ModuleBroken", "cannot import name 'no_such_name'"),
    (["demo", "--purchases", "3"], exits.USAGE, "UsageError", "too few"),
    (["demo", "--input", "no.jsonl"], exits.USAGE, "UsageError", "no.jsonl"),
    (["runs", "--limit", "0"], exits.USAGE, "UsageError", "--limit"),
    (["runs", "--state", "happy"], exits.USAGE, "UsageError", "'happy' is not one of"),
    (["stat"], exits.USAGE, "UsageError", "No such command 'stat'"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "kind", "message"), FAILING, ids=str)
def test_errors(motet: Command, stories: Path, arguments: list[str], code: int, kind: str, message: str) -> None:
    said = motet(*arguments)
    assert (said.code, said.stdout) == (code, "")
    assert "error: " in said.stderr
    assert message in " ".join(said.stderr.split())
    if kind != "ModuleBroken":
        assert "Traceback" not in said.stderr
    as_json = motet(*arguments, "--json")
    assert as_json.code == code
    assert as_json.error["type"] == kind
    assert message in as_json.error["message"]
    assert json.loads(as_json.stderr)["exit_code"] == code


def test_an_error_in_the_users_module_is_shown_with_their_own_traceback(motet: Command) -> None:
    said = motet("worker", "broken_module").stderr
    assert said.startswith("Traceback (most recent call last):\n  File ")
    assert "broken_module.py" in said.splitlines()[1]
    assert "importlib" not in said and "motet/cli" not in said
    assert said.endswith(
        "error: module 'broken_module' cannot be imported: ImportError: cannot import name 'no_such_name' from 'json' "
        f"({json.__file__})\n"
    )
    assert "broken_module.py" in motet("worker", "broken_module", "--json").error["traceback"]


def test_a_module_that_imports_what_is_missing_is_broken_not_absent(motet: Command, folder: Path) -> None:
    (folder / "needs_more.py").write_text("import no_such_package\n")
    said = motet("worker", "needs_more").stderr
    assert "No module named 'no_such_package'" in said
    assert 'needs_more.py", line 1' in said


def test_several_apps_are_candidates(motet: Command, folder: Path) -> None:
    (folder / "two_apps.py").write_text("from motet import App\none = App('one')\nother = App('other')\nsame = one\n")
    said = motet("worker", "two_apps").stderr
    assert said == (
        "error: module 'two_apps' holds several apps; choose one: two_apps:one, two_apps:other, two_apps:same\n"
    )


def test_an_app_without_workflows_is_no_use(motet: Command, folder: Path) -> None:
    (folder / "idle.py").write_text("from motet import App\napp = App('idle')\nagain = app\n")
    assert motet("worker", "idle").stderr.startswith("error: app 'idle' has no workflow to drive")


def test_debugging_shows_the_traceback(motet: Command, stories: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTET_DEBUG", "1")
    said = motet("status", "nope")
    assert said.code == exits.NOT_FOUND
    assert said.stderr.startswith("Traceback") and "motet.errors.RunNotFound" in said.stderr


def test_what_nobody_foresaw_has_a_code_of_its_own(
    motet: Command, stories: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("motet.cli.reading.story", broken)
    said = motet("status", "purchase-fine")
    assert said.code == exits.INTERNAL
    assert "ZeroDivisionError: oops" in said.stderr
    assert said.stderr.splitlines()[-1].startswith("error: nobody foresaw this")


def test_a_reader_that_has_seen_enough_is_no_error(stories: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([MOTET, "runs"], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (exits.OK, "")


def test_every_error_of_motet_has_a_code() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.MotetError)]
    by_user = {kind.__name__ for kind in kinds if exits.code_of(kind("")) == exits.INTERNAL}
    # These never leave a workflow or a worker; if one does, it is a fault of ours.
    assert by_user == {
        "MotetError", "WrongPlace", "StepCalledDirectly", "NotInWorkflow", "BlockingCallInWorkflow", "NotInStep",
        "PublishInWorkflow", "NeverAwaited", "StepFailed", "StepTimedOut", "StepInterrupted", "ChildFailed",
        "DeadlineExceeded", "HistoryTooLong", "EndlessLoop", "Divergence", "ProcessKiller",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("state", "code"), [("completed", 0), ("failed", 1), ("blocked", 4), ("cancelled", 6), ("running", 0)]
)
def test_codes_of_states(state: str, code: int) -> None:
    assert exits.code_of_state(state) == code  # type: ignore[arg-type]
