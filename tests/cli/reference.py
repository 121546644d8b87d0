"""The reference of the command line, made from the commands themselves: `python -m tests.cli.reference` writes it."""

from pathlib import Path

import click

from motet.cli import exits
from motet.cli.main import command

OPENING = (
    "Where a command needs your code, it takes a `MODULE`; all others need only the store. With `--json`, stdout holds "
    "one JSON document and nothing else, and an error is one JSON document on stderr, with its type and message. "
    "Commands that only read never create a store."
)
FILE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"


def commands() -> dict[str, click.Command]:
    """All commands by name; the empty name is `motet` itself."""
    tree = command()
    found: dict[str, click.Command] = {"": tree}
    for name, part in tree.commands.items():
        if isinstance(part, click.Group):
            found |= {f"{name} {verb}": verb_part for verb, verb_part in part.commands.items()}
        else:
            found[name] = part
    return found


def explanation(parameter: click.Parameter) -> str:
    """What the help says of it; empty if it says nothing."""
    return str(getattr(parameter, "help", None) or "")


def reference() -> str:
    """The page."""
    parts = [
        "# The command line",
        OPENING,
        "## Exit codes",
        _table(["code", "means"], [[str(code), meaning] for code, meaning in exits.MEANINGS.items()]),
        "`MOTET_DEBUG=1` shows tracebacks. `NO_COLOR=1` takes the colours away; without a terminal there are none.",
    ]
    for name, part in commands().items():
        parts += [f"## motet {name}".rstrip(), _paragraphs(part)]
        rows = [
            [f"`{_form(parameter)}`", explanation(parameter)] for parameter in part.params if parameter.name != "help"
        ]
        parts.append(_table(["", ""], rows))
    return "\n\n".join(parts) + "\n"


def _paragraphs(part: click.Command) -> str:
    text = (part.help or "").strip()
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _form(parameter: click.Parameter) -> str:
    metavar = parameter.metavar or ""
    if isinstance(parameter, click.Argument):
        return metavar
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return " / ".join([*parameter.opts, *parameter.secondary_opts])
    if isinstance(parameter.type, click.Choice):
        metavar = "|".join(parameter.type.choices)
    return f"{', '.join(parameter.opts)} {metavar or 'TEXT'}"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    FILE.write_text(reference(), encoding="utf-8")
