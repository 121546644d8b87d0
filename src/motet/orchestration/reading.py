"""Finds in a workflow's source what would make replay differ or hold up the worker, before the first run.

A body is executed again from its history after each crash, so it may not ask clocks, chance, the environment or
the outside world; and all runs of a worker share one thread, so it may not block. Names are followed through
imports, globals, closures and simple assignments to the real objects: `from time import time as now; now()` is
found, a function of yours that is called `open` is not.

A line that is right all the same says so: `# motet: ok <reason>`.

Not seen: what other functions do that the body calls, methods of parameters, names looked up at run time. In
development mode `guard.py` sees the I/O among these. What counts as suspicious is listed in `suspects.py`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass

from motet.orchestration.dubious import ENVIRONMENT, SET_ORDER, Suspect, current_suspects
from motet.orchestration.source import Body, BodyReader, read_body

_ACCEPTED = re.compile(r"#\s*motet:\s*ok\s+\S")
_MAX_TEXT = 60
_IN_ORDER = frozenset(("list", "tuple", "enumerate", "iter", "zip", "map", "filter", "reversed", "next"))


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Something in a workflow's body that does not belong there.

    Args:
        line: in the file.
        column: in the line, from 0.
        call: the source text, shortened.
        reason: what it does: "reads the clock".
        advice: the way out: "use flow.now(), which is the same in replay".
    """

    line: int
    column: int
    call: str
    reason: str
    advice: str

    def warning_text(self, workflow_name: str, filename: str) -> str:
        return (
            f"workflow {workflow_name} {self.reason}: {self.call} at {filename}:{self.line}; {self.advice} "
            "(silence with '# motet: ok <reason>')"
        )


def suspicious_calls(function: Callable[..., object]) -> tuple[Suspicion, ...]:
    """What a workflow's function should not do, in source order; nothing where the source cannot be read."""
    body = read_body(function)
    if body is None:
        return ()
    parameters = body.parameters[1:] if hasattr(function, "__self__") else body.parameters
    reader = _Reader(body, parameters[0] if parameters else "flow")
    reader.read()
    return tuple(sorted(reader.found, key=lambda suspicion: (suspicion.line, suspicion.column)))


class _Reader(BodyReader):
    def __init__(self, body: Body, flow: str) -> None:
        super().__init__(body)
        self.found: list[Suspicion] = []
        self._flow = flow
        self._suspects = current_suspects()
        self._reported: set[tuple[ast.expr, str]] = set()

    def _report(self, node: ast.expr, suspect: Suspect) -> None:
        lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        if any(_ACCEPTED.search(self.body.lines.get(line, "")) for line in lines):
            return
        if (node, suspect.reason) in self._reported:
            return
        part: ast.expr | None = node
        while part is not None:  # in `Path("x").open().read()` only the whole is of interest
            self._reported.add((part, suspect.reason))
            part = getattr(part, "func", None) or getattr(part, "value", None)
        advice = suspect.advice.replace("flow.", f"{self._flow}.")
        self.found.append(Suspicion(node.lineno, node.col_offset, _text(node), suspect.reason, advice))

    # --- calls ------------------------------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> None:  # noqa: N802 - ast's name for it
        suspect = self._suspect(node)
        if suspect is not None:
            self._report(node, suspect)
        name = self.resolve(node.func).name or ""
        if name.startswith("builtins.") and name[9:] in _IN_ORDER:
            for argument in node.args:
                self._iterated(argument)
        self.generic_visit(node)

    def _suspect(self, node: ast.Call) -> Suspect | None:
        called = self.behind(node.func)
        found = self.resolve(called)
        suspect = self._suspects.of_call(found, len(node.args) + len(node.keywords))
        if suspect is None and not found.known and isinstance(called, ast.Attribute):
            owner = self.class_of(called.value)
            made_here = isinstance(self.behind(called.value), ast.Call)
            suspect = self._suspects.of_method(owner, called.attr, made_here) if owner is not None else None
        return suspect

    # --- the environment, which is no call ----------------------------------------------------------------

    def visit_Attribute(self, node: ast.Attribute) -> None:  # noqa: N802 - ast's name for it
        if not self._environment(node):
            self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:  # noqa: N802 - ast's name for it
        if isinstance(node.ctx, ast.Load):
            self._environment(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:  # noqa: N802 - ast's name for it
        if self._suspects.is_environment(self.resolve(node.value)):
            self._report(node, ENVIRONMENT)
            self.visit(node.slice)
        else:
            self.generic_visit(node)

    def _environment(self, node: ast.Name | ast.Attribute) -> bool:
        found = self._suspects.is_environment(self.resolve(node))
        if found:
            self._report(node, ENVIRONMENT)
        return found

    # --- the order of sets --------------------------------------------------------------------------------

    def _iterated(self, node: ast.expr) -> None:
        made = self.behind(node)
        if isinstance(made, ast.Set):
            # Small numbers and truth values hash alike everywhere.
            plain = all(isinstance(item, ast.Constant) and isinstance(item.value, int) for item in made.elts)
        elif isinstance(made, ast.Call):
            plain = self.resolve(made.func).name not in ("builtins.set", "builtins.frozenset")
        else:
            plain = not isinstance(made, ast.SetComp)
        if not plain:
            self._report(node, SET_ORDER)

    def visit_For(self, node: ast.For) -> None:  # noqa: N802 - ast's name for it
        self._iterated(node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._iterated(node.iter)
        self.generic_visit(node)

    def visit_Starred(self, node: ast.Starred) -> None:  # noqa: N802 - ast's name for it
        if isinstance(node.ctx, ast.Load):
            self._iterated(node.value)
        self.generic_visit(node)


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Call) and (node.args or node.keywords):
        whole = ast.unparse(node)
        text = whole if len(whole) <= _MAX_TEXT else f"{ast.unparse(node.func)}(...)"
    else:
        text = ast.unparse(node)
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 3]}..."
