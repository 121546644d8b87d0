"""What names stand for where a plan is being read: also those that a followed function was given by its caller.

`BodyReader` knows one function's own names. Here a parameter stands for the expression that the caller has written, in
the caller's names; so a step that is handed to a helper function is known there, and so is the flow.

Invariant: nothing is called; what is looked up is looked up statically, as `source.py` does.

Not here: what is made of it. `reader.py` reads statements, `verbs.py` knows the verbs.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping, Sequence
from types import FunctionType
from typing import Any, NamedTuple, cast

from motet.orchestration.source import Body, BodyReader, Found, FunctionNode, bindings, read_body

Definition = ast.FunctionDef | ast.AsyncFunctionDef

MOST_CHOICES = 12


class Given(NamedTuple):
    """An expression, in the names of whoever wrote it."""

    expression: ast.expr
    names: Names


class Names(BodyReader):
    """The names inside one function. Of a function inside it, with those of the outer one behind its own."""

    def __init__(self, body: Body, node: FunctionNode, given: dict[str, Given], outer: Names | None = None) -> None:
        super().__init__(body)
        self.node = node
        self.given = given
        self.flows: set[str] = set()
        self.handed = False  # whether a function that uses the flow was handed to this one
        self.held: tuple[str, object] | None = None  # the object whose method the workflow is
        own = bindings(node)
        if outer is not None:
            self.scopes = list(outer.scopes)
            self.given = {name: one for name, one in outer.given.items() if name not in own} | given
            self.flows = {name for name in outer.flows if name not in own}
            self.held = outer.held
        self.scopes.append(own)
        self.definitions: dict[str, Definition] = dict(outer.definitions) if outer is not None else {}
        self.definitions = {name: one for name, one in self.definitions.items() if name not in own}
        for part in node.body if isinstance(node.body, list) else []:
            self.definitions |= {one.name: one for one in _defined_in(part)}
        self.turns: dict[str, ast.expr] = {}  # what the loops that we are in go over, by their variable

    # --- looking names up -------------------------------------------------------------------------------------

    def behind_all(self, node: ast.expr) -> Given:
        """The expression that a name stands for, however many calls away."""
        node, names = self.behind(node), self
        for _ in range(20):
            if not (isinstance(node, ast.Name) and node.id in names.given):
                break
            node, names = names.given[node.id]
            node = names.behind(node)
        return Given(node, names)

    def resolve(self, node: ast.expr) -> Found:
        node = self.behind(node)
        if isinstance(node, ast.Name) and node.id in self.given:
            expression, names = self.given[node.id]
            return names.resolve(expression)
        if self.held is not None and isinstance(node, ast.Name) and node.id == self.held[0]:
            return Found(True, self.held[1], None)
        return super().resolve(node)

    def class_of(self, node: ast.expr) -> type[Any] | None:
        node = self.behind(node)
        if isinstance(node, ast.Name) and node.id in self.given:
            expression, names = self.given[node.id]
            return names.class_of(expression)
        return super().class_of(node)

    def is_flow(self, node: ast.expr) -> bool:
        """Whether it is the run's flow: by its name, by another one, or as a field of an object that was made with
        it."""
        found, names = self.behind_all(node)
        if isinstance(found, ast.Name):
            return found.id in names.flows
        if isinstance(found, ast.Attribute):
            return found.attr in names.flow_fields(found.value)
        return False

    def has_flow(self, nodes: Sequence[ast.expr | ast.keyword]) -> bool:
        """Whether the flow, or something that holds it, is among these arguments."""
        return any(self.is_flow(one) or self.flow_fields(one) for one in map(_value, nodes)) or self.hands_on(nodes)

    def hands_on(self, nodes: Sequence[ast.expr | ast.keyword]) -> bool:
        """Whether a function that uses the flow is among these arguments."""
        return any(self.captures(one) for one in map(_value, nodes))

    def flow_fields(self, owner: ast.expr) -> set[str]:
        """In which fields an object holds the flow, if it is plain how it was made."""
        made, names = self.behind_all(owner)
        if not isinstance(made, ast.Call) or not names.has_own_flow(made):
            return set()
        kind = names.resolve(made.func).value
        if not isinstance(kind, type):
            return set()
        parameters = [name for name, given in zip_arguments(made, fields_of(kind)) if names.is_flow(given)]
        if "__dataclass_fields__" in vars(kind) or hasattr(kind, "__struct_fields__"):
            return set(parameters)
        start = inspect.getattr_static(kind, "__init__", None)
        body = read_body(start) if isinstance(start, FunctionType) else None
        return set() if body is None else {field for field, name in _kept(body.node) if name in parameters}

    def has_own_flow(self, call: ast.Call) -> bool:
        return any(self.is_flow(part.value if isinstance(part, ast.keyword) else part) for part in arguments_of(call))

    def captures(self, node: ast.expr) -> bool:
        """A function written here that uses the flow."""
        made, names = self.behind_all(node)
        if names is not self:
            return names.captures(made)
        if isinstance(made, ast.Tuple | ast.List | ast.Dict):
            return any(self.captures(one) for one in ast.iter_child_nodes(made) if isinstance(one, ast.expr))
        inner: ast.AST | None = made if isinstance(made, ast.Lambda) else None
        if isinstance(made, ast.Name):
            inner = self.definitions.get(made.id)
        if inner is None:
            return False
        return any(isinstance(part, ast.Name) and part.id in self.flows for part in ast.walk(inner))

    # --- one of several ----------------------------------------------------------------------------------------

    def choices(self, node: ast.expr) -> list[Found]:
        """All that an expression may stand for, if that is a few known things; else nothing."""
        found: list[Found] = []
        for one, names in self.alternatives(node):
            known = names.resolve(one)
            if not known.known:
                return []
            found.append(known)
            if len(found) > MOST_CHOICES:
                return []
        return found

    def alternatives(self, node: ast.expr) -> list[Given]:
        """The expressions of which this one is one."""
        return list(self.one_of(node, 0))

    def one_of(self, node: ast.expr, depth: int) -> Iterator[Given]:
        node, names = self.behind_all(node)
        if depth < 5 and isinstance(node, ast.IfExp):
            yield from names.one_of(node.body, depth + 1)
            yield from names.one_of(node.orelse, depth + 1)
        elif depth < 5 and isinstance(node, ast.Name) and node.id in names.turns:
            yield from names.elements(names.turns[node.id], depth + 1)
        elif depth < 5 and isinstance(node, ast.Subscript):
            yield from names.elements(node.value, depth + 1)
        elif depth < 5 and isinstance(node, ast.Call) and _is_lookup(node):
            yield from names.elements(cast("ast.Attribute", node.func).value, depth + 1)
        else:
            yield Given(node, names)

    def elements(self, node: ast.expr, depth: int) -> Iterator[Given]:
        """What is in a display, or in a dict or sequence of the module."""
        shown, names = self.behind_all(node)
        values: Sequence[ast.expr] = ()
        if isinstance(shown, ast.Tuple | ast.List):
            values = shown.elts
        elif isinstance(shown, ast.Dict):
            values = shown.values
        if values:
            for value in values:
                yield from names.one_of(value, depth)
            return
        held = _held(names.resolve(shown).value)
        if not held:
            yield Given(node, self)  # which will not resolve to anything useful
        for value in held[: MOST_CHOICES + 1]:
            yield Given(ast.Name(f"{id(value)}"), _Holding(names, value))


class _Holding(Names):
    """A value of the module itself, which no expression stands for."""

    def __init__(self, names: Names, value: object) -> None:
        super().__init__(names.body, names.node, names.given)
        self._value = value

    def resolve(self, node: ast.expr) -> Found:
        return Found(True, self._value, None)


def _held(value: Any) -> list[Any]:
    """What is in a dict or a sequence."""
    if isinstance(value, dict):
        return [*cast("Mapping[Any, Any]", value).values()]
    return [*cast("Sequence[Any]", value)] if isinstance(value, list | tuple) else []


def _is_lookup(call: ast.Call) -> bool:
    """`table.get(key)`, without another answer for what is missing."""
    return isinstance(call.func, ast.Attribute) and call.func.attr == "get" and len(call.args) == 1


def _value(node: ast.expr | ast.keyword) -> ast.expr:
    return node.value if isinstance(node, ast.keyword | ast.Starred) else node


def arguments_of(call: ast.Call) -> list[ast.expr | ast.keyword]:
    return [*call.args, *call.keywords]


def zip_arguments(call: ast.Call, parameters: Sequence[str]) -> Iterator[tuple[str, ast.expr]]:
    """Which parameter gets which argument, as far as that is plain."""
    for name, given in zip(parameters, call.args, strict=False):
        if isinstance(given, ast.Starred):
            break
        yield name, given
    for word in call.keywords:
        if word.arg is not None:
            yield word.arg, word.value


def fields_of(kind: type[Any]) -> list[str]:
    """What a class takes when it is called."""
    try:
        return list(inspect.signature(kind).parameters)
    except (TypeError, ValueError):
        return []


def _kept(start: Definition) -> Iterator[tuple[str, str]]:
    """What an `__init__` keeps of its parameters: field and parameter."""
    for node in ast.walk(start):
        match node:
            case (
                ast.Assign(targets=[ast.Attribute(attr=field)], value=ast.Name(id=name))
                | ast.AnnAssign(target=ast.Attribute(attr=field), value=ast.Name(id=name))
            ):
                yield field, name
            case _:
                pass


def _defined_in(part: ast.AST) -> Iterator[Definition]:
    """Functions that are defined there, not those inside them."""
    if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
        yield part
    elif not isinstance(part, ast.ClassDef | ast.Lambda):
        for child in ast.iter_child_nodes(part):
            yield from _defined_in(child)
