"""Nothing can be asked of the command line that its help and its docs do not explain."""

import click
import pytest

from motet.cli import exits
from tests.cli.commanding import Command
from tests.cli.reference import FILE, commands, explanation, reference

PARAMETERS = [
    (name, parameter) for name, part in commands().items() for parameter in part.params if parameter.name != "help"
]


def test_all_commands_are_there() -> None:
    assert set(commands()) - {""} == {
        "demo", "worker", "start", "publish", "status", "runs", "events", "watch", "workers", "queues",
        "reactions list", "reactions forget", "expectations", "cancel", "retry", "skip", "pause", "resume", "replay",
        "dead-letters list", "dead-letters show", "dead-letters edit", "dead-letters redrive", "dead-letters discard",
        "backup", "doctor", "migrate", "prune", "forget", "rekey", "conversation", "map", "plan", "check", "versions",
        "export",
        "rerun",
    }  # fmt: skip


@pytest.mark.parametrize(("name", "part"), commands().items())
def test_every_command_is_explained(name: str, part: click.Command) -> None:
    assert part.help and part.help.strip().endswith("."), f"motet {name} has no help"
    options = {option for parameter in part.params for option in parameter.opts}
    assert "--store" in options
    assert name == "" or "--json" in options


@pytest.mark.parametrize(
    ("name", "parameter"), PARAMETERS, ids=[f"{name} {parameter.name}" for name, parameter in PARAMETERS]
)
def test_every_option_and_argument_is_explained(motet: Command, name: str, parameter: click.Parameter) -> None:
    assert explanation(parameter).endswith("."), f"{parameter.name} of motet {name} has no help"
    shown = " ".join(motet(*name.split(), "--help").stdout.replace("│", " ").split())
    assert explanation(parameter)[:30] in shown


def test_exit_codes_are_in_the_help(motet: Command) -> None:
    shown = " ".join(motet("--help").stdout.split())
    for code, meaning in exits.MEANINGS.items():
        assert f"{code} {meaning}" in shown


def test_exit_codes_are_all_explained() -> None:
    codes = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert codes == set(exits.MEANINGS)


def test_the_reference_in_the_docs_is_what_the_commands_say() -> None:
    assert FILE.read_text(encoding="utf-8") == reference(), "write it anew: python -m tests.cli.reference"
