"""`motet demo`: thin; what it runs has tests of its own."""

import dataclasses
from pathlib import Path

from examples.course_purchase.options import DemoOptions
from motet.cli.main import command
from tests.cli.commanding import Command


def test_its_options_are_those_of_the_demo() -> None:
    ours = {parameter.name: parameter.default for parameter in command().commands["demo"].params}
    theirs = {field.name: field.default for field in dataclasses.fields(DemoOptions)}
    assert ours == theirs


def test_it_runs_the_demo_in_an_empty_folder(process: Command, folder: Path) -> None:
    done = process("demo", "--headless", "--json", "--purchases", "12", "--seed", "3", "--keep", "kept")
    assert (done.code, done.stderr) == (0, "")
    assert done.json["purchases"] == 12
    assert done.json["worker_kills"] == 1
    assert (folder / "kept" / "ledger.jsonl").exists()
    assert not (folder / "motet.db").exists(), "the demo has a store of its own"
