"""Reads a workflow's source into its plan: statement by statement, and on into what it calls.

    statements (here) ──> expressions.py: operations in the order in which they are created
                               │
                               └──> following.py: functions that are read on into, here again

Invariants: nothing is called. What is neither durable nor a way out is left out, with the conditions around it. What
cannot be told from the text is said to be unknown, at its place.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

from motet.model.event_types import EventTypes
from motet.orchestration.plan import expressions
from motet.orchestration.plan.following import Followed, Home, body_and_flow, defined, home_of
from motet.orchestration.plan.names import Names
from motet.orchestration.plan.nodes import Kind, Node, lineage, matters, numbered
from motet.orchestration.plan.verbs import classes_of, length_of, site_of, together_of, verb_of

DEEPEST = 20
MOST_NODES = 2_000


def read_plan(function: Callable[..., object], types: EventTypes) -> list[Node] | None:
    """The plan of a workflow's function.

    Returns:
        None where the source cannot be read: typed into a prompt, made by `exec`, changed since it was loaded.
    """
    found = body_and_flow(function)
    if found is None:
        return None
    body, names = found
    reader = Reader(names, types, home_of(body.function), body.node.name)
    return numbered(reader.body_of(body.node))


class Reader:
    """One function that is being read.

    Args:
        function: its name, as its sites say.
        way: what stands before its sites: the calls that lead to it.
        file: its file, if that is not the workflow's.
        stack: the functions that are being read, outermost first.
    """

    def __init__(
        self, names: Names, types: EventTypes, home: Home, function: str, way: str = "", file: str | None = None,
        stack: tuple[object, ...] = (),
    ) -> None:  # fmt: skip
        self.names = names
        self.types = types
        self.home = home
        self.function = function
        self.way = way
        self.file = file
        self.stack = stack or (names.body.function.__code__,)
        self.home_file = names.body.function.__code__.co_filename if not stack else ""

    def body_of(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> list[Node]:
        nodes = self.statements(defined(node))
        if nodes and nodes[-1].kind == "return":
            nodes.pop()  # which is how each function ends
        return nodes

    def inside(self, called: Followed, way: str) -> Reader:
        """A reader of a function that is called here."""
        file = called.file if called.file != self.names.body.function.__code__.co_filename else self.file
        stack = (*self.stack, called.key)
        return Reader(called.names, self.types, self.home, called.name, way, file, stack)

    def node(self, kind: Kind, at: ast.AST, text: str = "", body: Sequence[Node] = (), **more: Any) -> Node:
        return Node(0, kind, text, getattr(at, "lineno", 0), file=self.file, body=list(body), **more)

    def where(self, at: ast.expr | ast.stmt) -> dict[str, Any]:
        """An operation's place."""
        end = at.end_lineno if at.end_lineno != at.lineno else None
        return {"line": at.lineno, "until": end, "site": site_of(self.function, at, self.way), "file": self.file}

    # --- statements -------------------------------------------------------------------------------------------

    def statements(self, statements: Sequence[ast.stmt]) -> list[Node]:
        found: list[Node] = []
        for statement in statements:
            read = _READ.get(type(statement))
            found += read(self, statement) if read is not None else self.expressions_of(statement)
            if found and found[-1].kind in ("return", "raise", "break", "continue"):
                break  # what stands behind it never runs
        return found

    def expressions_of(self, node: ast.AST) -> list[Node]:
        """The operations of all expressions in it, in the order in which they are evaluated."""
        return expressions.inside(self, node)

    def expression(self, node: ast.expr | None) -> list[Node]:
        return expressions.read(self, node) if node is not None else []

    def read_nothing(self, statement: Any) -> list[Node]:
        return []  # functions and classes run when they are called

    def read_if(self, statement: ast.If) -> list[Node]:
        found = self.expression(statement.test)
        arms = [self.node("arm", statement, f"if {ast.unparse(statement.test)}", self.statements(statement.body))]
        rest = statement.orelse
        while len(rest) == 1 and isinstance(rest[0], ast.If) and not self.expression(rest[0].test):
            text = f"elif {ast.unparse(rest[0].test)}"
            arms.append(self.node("arm", rest[0], text, self.statements(rest[0].body)))
            rest = rest[0].orelse
        if rest:
            arms.append(self.node("arm", rest[0], "else", self.statements(rest)))
        return found + self.branch(statement, arms, passes=not rest)

    def branch(self, at: ast.AST, arms: list[Node], *, passes: bool, text: str = "") -> list[Node]:
        return [self.node("branch", at, text, arms, open=passes)] if matters(arms) else []

    def read_match(self, statement: ast.Match) -> list[Node]:
        found = self.expression(statement.subject)
        arms: list[Node] = []
        caught = False
        for case in statement.cases:
            guard = f" if {ast.unparse(case.guard)}" if case.guard is not None else ""
            body = (self.expression(case.guard) if case.guard is not None else []) + self.statements(case.body)
            arms.append(self.node("arm", case.pattern, f"case {ast.unparse(case.pattern)}{guard}", body))
            caught = caught or (case.guard is None and _catches_all(case.pattern))
        return found + self.branch(statement, arms, passes=not caught, text=f"match {ast.unparse(statement.subject)}")

    def read_for(self, statement: ast.For | ast.AsyncFor) -> list[Node]:
        found = self.expression(statement.iter)
        turn = statement.target.id if isinstance(statement.target, ast.Name) else None
        if turn is not None:
            self.names.turns[turn] = statement.iter
        body = self.statements(statement.body)
        if turn is not None:
            self.names.turns.pop(turn, None)
        word = "async for" if isinstance(statement, ast.AsyncFor) else "for"
        text = f"{word} {ast.unparse(statement.target)} in {ast.unparse(statement.iter)}"
        return found + self._loop(statement, text, body, statement.orelse, passes=True)

    def read_while(self, statement: ast.While) -> list[Node]:
        test = self.expression(statement.test)
        body = self.statements(statement.body)
        condition = ast.unparse(statement.test)
        endless = isinstance(statement.test, ast.Constant) and bool(statement.test.value)
        if test and not endless:
            # The condition is an operation of each round: it is asked, then the loop ends or goes on.
            out = self.node("arm", statement, f"if not ({condition})", [self.node("break", statement)])
            body = [*test, self.node("branch", statement, "", [out], open=True), *body]
            endless = True
        return self._loop(statement, f"while {condition}", body, statement.orelse, passes=not endless)

    def _loop(
        self, at: ast.AST, text: str, body: list[Node], orelse: Sequence[ast.stmt], *, passes: bool
    ) -> list[Node]:
        after = self.statements(orelse)
        found = [self.node("loop", at, text, body, open=passes)] if _outlives(body) else []
        if after:
            found += self.branch(at, [self.node("arm", at, "unless it was broken off", after)], passes=True)
        return found

    def read_try(self, statement: ast.Try | ast.TryStar) -> list[Node]:
        body = self.statements(statement.body)
        parts = [self.node("part", statement, "try", body)]
        for handler in statement.handlers:
            catches = [_class_name(one.value, one.name) for one in classes_of(self.names, handler.type)]
            text = f"except {ast.unparse(handler.type)}" if handler.type is not None else "except"
            inner = self.statements(handler.body)
            parts.append(self.node("handler", handler, text, inner, catches=catches, open=handler.type is not None))
        if statement.orelse:
            parts.append(self.node("else", statement.orelse[0], "else", self.statements(statement.orelse)))
        if statement.finalbody:
            parts.append(self.node("finally", statement.finalbody[0], "finally", self.statements(statement.finalbody)))
        return [self.node("try", statement, "", parts)] if matters(parts) else []

    def read_with(self, statement: ast.With | ast.AsyncWith) -> list[Node]:
        return self._entered(statement, list(statement.items))

    def _entered(self, statement: ast.With | ast.AsyncWith, items: list[ast.withitem]) -> list[Node]:
        if not items:
            return self.statements(statement.body)
        made = self.names.behind(items[0].context_expr)
        if isinstance(made, ast.Call):
            verb = verb_of(self.names, made.func)
            way = together_of(self.names, made.func)
            if verb == "scope":
                inner = self._entered(statement, items[1:])
                return [self.node("scope", statement, "", inner)] if matters(inner) else []
            if way == "timeout":
                inner = self._entered(statement, items[1:])
                return self.timeout(statement, made.args[0] if made.args else None, inner)
            if way == "group":
                return expressions.group(self, statement, self._entered(statement, items[1:]))
        return self.expression(items[0].context_expr) + self._entered(statement, items[1:])

    def timeout(self, at: ast.expr | ast.stmt, given: ast.expr | None, inner: list[Node]) -> list[Node]:
        """A time limit, which is a timer of its own."""
        if given is None or (isinstance(given, ast.Constant) and given.value is None):
            return inner
        length = length_of(self.names, given)
        unsure = not isinstance(length, float)
        return [
            Node(
                0,
                "timeout",
                ast.unparse(given),
                name="timer",
                timeout=length,
                body=inner,
                open=unsure,
                **self.where(at),
            )
        ]

    def read_leave(self, statement: ast.Return | ast.Raise | ast.Break | ast.Continue) -> list[Node]:
        found = self.expressions_of(statement)
        kind: Kind = "break" if isinstance(statement, ast.Break) else "continue"
        errors: list[list[str]] = []
        if isinstance(statement, ast.Return):
            kind = "return"
        elif isinstance(statement, ast.Raise):
            kind = "raise"
            raised = statement.exc.func if isinstance(statement.exc, ast.Call) else statement.exc
            errors = [_lineage(one.value, one.name) for one in classes_of(self.names, raised)]
        text = ast.unparse(statement).partition("\n")[0] if kind in ("return", "raise") else ""
        return [*found, self.node(kind, statement, text.partition(" ")[2], errors=errors)]


def _outlives(body: Sequence[Node]) -> bool:
    """Whether a loop does more than leave itself."""
    return any(node.kind not in ("break", "continue", "branch", "arm") for node in _all(body))


def _all(nodes: Sequence[Node]) -> list[Node]:
    return [one for node in nodes for one in (node, *_all(node.body))]


def _catches_all(pattern: ast.pattern) -> bool:
    return isinstance(pattern, ast.MatchAs) and pattern.pattern is None


def _class_name(value: object, name: str | None) -> str:
    return value.__name__ if isinstance(value, type) else f"?{name or ''}"


def _lineage(value: object, name: str | None) -> list[str]:
    """What a `raise` raises."""
    if isinstance(value, type) and issubclass(value, BaseException):
        return lineage(value)
    return [f"?{name or ''}"]


_READ: dict[type[ast.stmt], Callable[[Reader, Any], list[Node]]] = {
    ast.FunctionDef: Reader.read_nothing,
    ast.AsyncFunctionDef: Reader.read_nothing,
    ast.ClassDef: Reader.read_nothing,
    ast.If: Reader.read_if,
    ast.Match: Reader.read_match,
    ast.For: Reader.read_for,
    ast.AsyncFor: Reader.read_for,
    ast.While: Reader.read_while,
    ast.Try: Reader.read_try,
    ast.TryStar: Reader.read_try,
    ast.With: Reader.read_with,
    ast.AsyncWith: Reader.read_with,
    ast.Return: Reader.read_leave,
    ast.Raise: Reader.read_leave,
    ast.Break: Reader.read_leave,
    ast.Continue: Reader.read_leave,
}
