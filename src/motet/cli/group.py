"""How every command ends: an exit code that means something, one clean line for what went wrong, JSON if asked for."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Coroutine, Sequence
from typing import Any, NoReturn, TypeVar

import click
import msgspec
from rich.text import Text
from typer.core import TyperGroup

from motet.cli import exits
from motet.cli.layout import clean
from motet.cli.opening import ModuleBroken
from motet.cli.terminal import ReaderGone, err, say
from motet.errors import MotetError
from motet.runtime import loops

T = TypeVar("T")


class UsageError(MotetError):
    """The command was asked for something that its own rules refuse."""


class Commands(TyperGroup):
    """The top of the command tree. Errors of Motet become one line and an exit code; MOTET_DEBUG=1 shows tracebacks."""

    def main(
        self, args: Sequence[str] | None = None, prog_name: str | None = None, complete_var: str | None = None,
        standalone_mode: bool = True, windows_expand_args: bool = True, **extra: Any,
    ) -> NoReturn:  # fmt: skip
        """Run one command and exit."""
        words = list(sys.argv[1:] if args is None else args)
        sys.exit(self._run(words, prog_name or "motet", as_json="--json" in words, **extra))

    def _run(self, words: list[str], prog_name: str, *, as_json: bool, **extra: Any) -> int:
        try:
            code = super().main(words, prog_name, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            return exits.USAGE
        except click.ClickException as error:
            return _usage(error, as_json)
        except (click.Abort, KeyboardInterrupt):
            return exits.INTERRUPTED
        except MotetError as error:
            return _refused(error, as_json)
        except ReaderGone:
            # What is still in the buffer is written when Python exits: give it a place to go.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return exits.OK
        except Exception as error:
            return _unforeseen(error, as_json)
        return code if isinstance(code, int) else exits.OK


class DefaultGroup(TyperGroup):
    """A command of several commands, of which `list` is meant where none is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The words behind the group's own name."""
        asks_help = bool(args) and args[0] in ctx.help_option_names
        if not asks_help and (not args or args[0] not in self.commands):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work on an event loop of its own."""
    return loops.run(work)


def leave(code: int) -> NoReturn:
    """End the command with this exit code."""
    raise click.exceptions.Exit(code)


def _usage(error: click.ClickException, as_json: bool) -> int:
    if as_json:
        _tell_json("UsageError", error.format_message(), exits.USAGE)
        return exits.USAGE
    context = getattr(error, "ctx", None)
    say([Text.assemble(("error: ", "bold red"), clean(error.format_message()))], err())
    if isinstance(context, click.Context):
        say([f"see: {context.command_path} --help"], err())
    return exits.USAGE


def _refused(error: MotetError, as_json: bool) -> int:
    code = exits.USAGE if isinstance(error, UsageError) else exits.code_of(error)
    if debugging():
        traceback.print_exception(error)
    if as_json:
        trace = error.trace if isinstance(error, ModuleBroken) else None
        _tell_json(type(error).__name__, str(error), code, trace)
        return code
    if isinstance(error, ModuleBroken) and not debugging():
        sys.stderr.write(error.trace)
    say([Text.assemble(("error: ", "bold red"), clean(str(error)))], err())
    return code


def _unforeseen(error: Exception, as_json: bool) -> int:
    traceback_text = "".join(traceback.format_exception(error))
    if as_json:
        _tell_json(type(error).__name__, str(error), exits.INTERNAL, traceback_text)
    else:
        sys.stderr.write(traceback_text)
        say(
            [Text.assemble(("error: ", "bold red"), "nobody foresaw this; please report it with the lines above")],
            err(),
        )
    return exits.INTERNAL


def _tell_json(kind: str, message: str, code: int, trace: str | None = None) -> None:
    told: dict[str, object] = {"type": kind, "message": message}
    if trace is not None:
        told["traceback"] = trace
    sys.stderr.write(msgspec.json.encode({"error": told, "exit_code": code}).decode() + "\n")


def debugging() -> bool:
    """Whether whoever runs this wants tracebacks."""
    return os.environ.get("MOTET_DEBUG", "") not in ("", "0")
