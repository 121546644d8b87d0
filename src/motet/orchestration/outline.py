"""What a workflow's source is going to do durably, in the order in which it is written.

`motet status` shows with it what is still ahead of a run. It is the text, not the run: a step in a loop is
listed once, one in a branch may never happen, and what other functions do with `flow` is not seen.

Invariant: nothing of the workflow is called; what an expression stands for is looked up, or left open.
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, cast, get_args

from motet.orchestration.source import Body, BodyReader, FunctionNode, read_body

OutlineKind = Literal["step", "transaction", "publish", "wait", "child", "sleep", "pivot", "restart"]
_KINDS: frozenset[str] = frozenset(get_args(OutlineKind))


@dataclass(frozen=True, slots=True)
class OutlineItem:
    """One use of a durable verb.

    Args:
        kind: the verb.
        expression: the source text of what it is about: a step, an event's class or name, a workflow, a
            duration, the next input; empty for a pivot.
        line: in the file.
        looped: inside a loop or comprehension, so it may happen many times.
        branch: inside an `if`, `match`, `except` or the like, or inside a function that the body defines, so it
            may never happen.
        target: the step, class, name or workflow itself, where that can be told without running anything; of a wait the
            classes and names, where all can.
        timeout: a wait's, in seconds where that can be told, else as its source says.
    """

    kind: OutlineKind
    expression: str
    line: int
    looped: bool
    branch: bool
    target: object | None
    timeout: float | str | None = None


def outline(function: Callable[..., object]) -> tuple[OutlineItem, ...] | None:
    """The durable verbs that the function uses on its flow, which is its first parameter.

    Returns:
        None where the source cannot be read: typed into a prompt, made by `exec`, changed since it was loaded.
    """
    body = read_body(function)
    if body is None:
        return None
    parameters = body.parameters[1:] if hasattr(function, "__self__") else body.parameters
    if not parameters:
        return ()
    reader = _Outliner(body, parameters[0])
    reader.read()
    return tuple(reader.items)


def published(reader: BodyReader, argument: ast.expr) -> tuple[str, object | None]:
    """What an event is called where it is published, and its class or name."""
    argument = reader.behind(argument)
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return argument.value, argument.value
    if isinstance(argument, ast.Call):
        argument = argument.func
    found = reader.resolve(argument)
    return ast.unparse(argument), found.value if found.known else None


def waited(reader: BodyReader, arguments: Sequence[ast.expr]) -> tuple[str, object | None]:
    """The events that a wait is for, as its operation is called: `a|b`."""
    found = [published(reader, argument) for argument in arguments]
    targets = tuple(target for _, target in found)
    return "|".join(expression for expression, _ in found), None if None in targets else targets


def _timeout(reader: BodyReader, call: ast.Call) -> float | str | None:
    given = next((word.value for word in call.keywords if word.arg == "timeout"), None)
    if given is None:
        return None
    length = reader.resolve(given).value
    plain: Any = given
    try:
        if isinstance(given, ast.Call) and reader.resolve(given.func).value is timedelta:
            length = timedelta(**{str(word.arg): ast.literal_eval(word.value) for word in given.keywords})
        elif length is None:
            length = ast.literal_eval(plain)
    except (ValueError, TypeError):
        return ast.unparse(given)
    if isinstance(length, timedelta):
        return length.total_seconds()
    return float(length) if isinstance(length, int | float) else None if length is None else ast.unparse(given)


class _Outliner(BodyReader):
    def __init__(self, body: Body, flow: str) -> None:
        super().__init__(body)
        self.items: list[OutlineItem] = []
        self._flow = flow
        self._loops = 0
        self._branches = 0

    # --- the verbs ----------------------------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> None:  # noqa: N802 - ast's name for it
        verb = self._verb(node.func)
        argument = node.args[0] if node.args else None
        if verb is None:
            self.generic_visit(node)
            return
        for part in (*node.args, *node.keywords):  # what it takes is made first
            self.visit(part)
        expression, target = waited(self, node.args) if verb == "wait" else self._subject(verb, argument)
        where = (node.lineno, self._loops > 0, self._branches > 0)
        self.items.append(
            OutlineItem(verb, expression, *where, target, _timeout(self, node) if verb == "wait" else None)
        )

    def _verb(self, called: ast.expr) -> OutlineKind | None:
        called = self.behind(called)
        if isinstance(called, ast.Attribute) and called.attr in _KINDS:
            owner = self.behind(called.value)
            if isinstance(owner, ast.Name) and owner.id == self._flow:
                return cast("OutlineKind", called.attr)
        sleep = asyncio.sleep  # tidy: recognised, not called
        return "sleep" if self.resolve(called).value is sleep else None

    def _subject(self, verb: OutlineKind, argument: ast.expr | None) -> tuple[str, object | None]:
        if argument is None or verb == "pivot":
            return "", None
        if verb in ("sleep", "restart"):
            return ast.unparse(argument), None
        if verb == "publish":
            return published(self, argument)
        argument = self._without_options(argument)
        found = self.resolve(argument)
        return ast.unparse(argument), found.value if found.known else None

    def _without_options(self, argument: ast.expr) -> ast.expr:
        seen = self.behind(argument)
        while isinstance(seen, ast.Call) and isinstance(seen.func, ast.Attribute) and seen.func.attr == "options":
            argument = seen.func.value
            seen = self.behind(argument)
        return argument

    # --- where they stand -----------------------------------------------------------------------------------

    def _visit_all(self, *parts: ast.AST | Iterable[ast.AST] | None, loops: int = 0, branches: int = 0) -> None:
        self._loops += loops
        self._branches += branches
        for part in parts:
            if part is not None:
                for node in [part] if isinstance(part, ast.AST) else part:
                    self.visit(node)
        self._loops -= loops
        self._branches -= branches

    def visit_function(self, node: FunctionNode) -> None:
        self._branches += 1
        super().visit_function(node)
        self._branches -= 1

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:  # noqa: N802 - ast's name for it
        self._visit_all(node.iter)
        self._visit_all(node.body, loops=1)
        self._visit_all(node.orelse, branches=1)

    visit_AsyncFor = visit_For  # noqa: N815 - ast's name for it

    def visit_While(self, node: ast.While) -> None:  # noqa: N802 - ast's name for it
        self._visit_all(node.test, node.body, loops=1)
        self._visit_all(node.orelse, branches=1)

    def visit_If(self, node: ast.If | ast.IfExp) -> None:  # noqa: N802 - ast's name for it
        self._visit_all(node.test)
        self._visit_all(node.body, node.orelse, branches=1)

    visit_IfExp = visit_If  # noqa: N815 - ast's name for it

    def visit_BoolOp(self, node: ast.BoolOp) -> None:  # noqa: N802 - ast's name for it
        self._visit_all(node.values[0])
        self._visit_all(node.values[1:], branches=1)

    def visit_Match(self, node: ast.Match) -> None:  # noqa: N802 - ast's name for it
        self._visit_all(node.subject)
        self._visit_all(node.cases, branches=1)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:  # noqa: N802 - ast's name for it
        self._visit_all(node.body, branches=1)

    def _visit_comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        first, *others = node.generators
        self._visit_all(first.iter)
        conditions = [test for generator in node.generators for test in generator.ifs]
        self._visit_all((generator.iter for generator in others), conditions, loops=1)
        made = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self._visit_all(made, loops=1, branches=bool(conditions))

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _visit_comprehension  # noqa: N815
