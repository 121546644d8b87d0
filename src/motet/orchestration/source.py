"""The source of a workflow's function as a tree, and what the names in it stand for.

Both readers of workflow bodies are built on it: `plan/` (what a workflow can do) and `reading.py` (what does not belong
into a body).

Invariants: nothing is called, imported or written. Attributes are looked up in modules, classes and instances
without running properties, descriptors of users, or a module's `__getattr__`.

Not here: following calls into other functions, which the plan does. What cannot be told from the text is
unknown, never guessed.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
from collections.abc import Callable, Iterator
from types import ClassMethodDescriptorType, FunctionType, ModuleType
from typing import Any, NamedTuple

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)

ALIASES = 10
"""How many assignments a name is followed through."""


class Found(NamedTuple):
    """What an expression stands for: the object, where it is known, and its dotted name, where it has one."""

    known: bool
    value: Any
    name: str | None


UNKNOWN = Found(False, None, None)


class Binding(NamedTuple):
    """How a local name got its value: by just one expression, by one import, or in a way we do not follow."""

    value: ast.expr | None = None
    imported: str | None = None


_OPAQUE = Binding()


class Body:
    """A function's tree, with line numbers and columns as in its file."""

    def __init__(self, function: FunctionType, node: ast.FunctionDef | ast.AsyncFunctionDef, lines: dict[int, str]):
        self.function = function
        self.node = node
        self.lines = lines

    @property
    def parameters(self) -> list[str]:
        arguments = self.node.args
        return [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]


def read_body(function: Callable[..., object]) -> Body | None:
    """None where there is no source, or no longer the one that the function was made from."""
    plain = inspect.unwrap(function)
    plain = getattr(plain, "__func__", plain)
    if not isinstance(plain, FunctionType):
        return None
    try:
        lines, first = inspect.getsourcelines(plain)
        # An indented function parses under a header of its own; dedenting would change its longer strings.
        indented = lines[0][:1].isspace()
        tree = ast.parse(("if True:\n" if indented else "") + "".join(lines))
    except (OSError, TypeError, SyntaxError, IndexError):
        return None
    ast.increment_lineno(tree, first - 1 - indented)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name != plain.__code__.co_name:
                return None
            return Body(plain, node, dict(enumerate(lines, start=first)))
    return None


class BodyReader(ast.NodeVisitor):
    """Walks a body in source order and knows what names stand for where it is."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.scopes: list[dict[str, Binding]] = []

    def read(self) -> None:
        self.scopes.append(bindings(self.body.node))
        for statement in self.body.node.body:
            self.visit(statement)
        self.scopes.pop()

    def visit_function(self, node: FunctionNode) -> None:
        """A function inside the body: its decorators and defaults belong outside, its body to a new scope."""
        outside = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
        if not isinstance(node, ast.Lambda):
            outside += node.decorator_list
        for expression in outside:
            self.visit(expression)
        self.scopes.append(bindings(node))
        for part in node.body if isinstance(node.body, list) else [node.body]:
            self.visit(part)
        self.scopes.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.visit_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_function(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit_function(node)

    def binding(self, name: str) -> Binding | None:
        """The innermost local binding of a name; None if it is no local one."""
        return next((scope[name] for scope in reversed(self.scopes) if name in scope), None)

    def behind(self, node: ast.expr) -> ast.expr:
        """The expression that a local name was given once; any other expression is itself."""
        for _ in range(ALIASES):
            bound = self.binding(node.id) if isinstance(node, ast.Name) else None
            if bound is None or bound.value is None:
                break
            node = bound.value
        return node

    def resolve(self, node: ast.expr) -> Found:
        """What a name or a chain of attributes stands for."""
        node = self.behind(node)
        if isinstance(node, ast.Name):
            return self._resolve_name(node.id)
        if isinstance(node, ast.Attribute):
            return _attribute(self.resolve(node.value), node.attr)
        return UNKNOWN

    def class_of(self, node: ast.expr) -> type[Any] | None:
        """The class of an expression's value, if it is plainly known: `Path("x") / "y"` is a Path."""
        node = self.behind(node)
        if isinstance(node, ast.Call):
            made = self.resolve(node.func)
            return _as_class(made.value)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            return self.class_of(node.left)
        found = self.resolve(node)
        if found.known and not isinstance(found.value, type | ModuleType):
            return _as_class(type(found.value))
        return None

    def _resolve_name(self, name: str) -> Found:
        bound = self.binding(name)
        if bound is not None:
            return imported(bound.imported) if bound.imported else UNKNOWN
        function = self.body.function
        for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
            if variable == name:
                try:
                    return _found(cell.cell_contents)
                except ValueError:  # not assigned yet
                    return UNKNOWN
        if name in function.__globals__:
            return _found(function.__globals__[name])
        if name in vars(builtins):
            return Found(True, vars(builtins)[name], f"builtins.{name}")
        return UNKNOWN


def imported(name: str) -> Found:
    """The object of that dotted name, if its module is loaded; else only the name."""
    found = Found(False, None, None)
    for part in name.split("."):
        path = f"{found.name}.{part}" if found.name else part
        if path in sys.modules:
            found = Found(True, sys.modules[path], path)
        else:
            found = _attribute(found._replace(name=found.name or ""), part)._replace(name=path)
    return found


def _found(value: object) -> Found:
    return Found(True, value, value.__name__ if isinstance(value, ModuleType) else None)


def _as_class(value: Any) -> type[Any] | None:
    return value if isinstance(value, type) else None


def _attribute(owner: Found, name: str) -> Found:
    path = f"{owner.name}.{name}" if owner.name else None
    value: Any = None
    known = False
    if owner.known and isinstance(owner.value, ModuleType):
        known = name in vars(owner.value)
        value = vars(owner.value).get(name)
    elif owner.known:
        known, value = _static_attribute(owner.value, name)
    if isinstance(value, ModuleType):
        path = value.__name__
    return Found(known, value, path)


def _static_attribute(owner: object, name: str) -> tuple[bool, Any]:
    try:
        value = inspect.getattr_static(owner, name)
    except AttributeError:
        return False, None
    if isinstance(owner, type):
        # Bound as the interpreter would, for descriptors that run no code of users, as that of datetime.now.
        if isinstance(value, classmethod | staticmethod | ClassMethodDescriptorType):
            return True, getattr(owner, name)
        return True, value
    if isinstance(value, property) or hasattr(_as_class(type(value)), "__get__"):
        return False, None
    return True, value


# --- local names ----------------------------------------------------------------------------------------


def bindings(function: FunctionNode) -> dict[str, Binding]:
    arguments = function.args
    names = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    names += [argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
    bound = {argument.arg: _OPAQUE for argument in names}
    elsewhere: set[str] = set()
    for part in function.body if isinstance(function.body, list) else [function.body]:
        for name, binding in _bound_by(part, elsewhere):
            bound[name] = _OPAQUE if name in bound else binding
    return {name: binding for name, binding in bound.items() if name not in elsewhere}


def _bound_by(node: ast.AST, elsewhere: set[str]) -> Iterator[tuple[str, Binding]]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name, _OPAQUE
            return
        case ast.Lambda():
            return
        case ast.Global() | ast.Nonlocal():
            elsewhere.update(node.names)
        case ast.Import() | ast.ImportFrom():
            yield from _bound_by_import(node)
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=ast.expr() as value)
            | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            | ast.NamedExpr(target=ast.Name(id=name), value=value)
        ):
            yield name, Binding(value=value)
            yield from _bound_by(value, elsewhere)
            return
        case ast.Name(ctx=ast.Store() | ast.Del()):
            yield node.id, _OPAQUE
        case (
            ast.ExceptHandler(name=str() as name) | ast.MatchAs(name=str() as name) | ast.MatchStar(name=str() as name)
        ):
            yield name, _OPAQUE
        case ast.MatchMapping(rest=str() as name):
            yield name, _OPAQUE
        case _:
            pass
    for child in ast.iter_child_nodes(node):
        yield from _bound_by(child, elsewhere)


def _bound_by_import(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Binding]]:
    for alias in node.names:
        if isinstance(node, ast.Import):
            first = alias.name.partition(".")[0]
            yield alias.asname or first, Binding(imported=alias.name if alias.asname else first)
        elif node.level or not node.module:
            yield alias.asname or alias.name, _OPAQUE
        else:
            yield alias.asname or alias.name, Binding(imported=f"{node.module}.{alias.name}")
