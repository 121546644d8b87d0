"""Which functions a plan is read on into: those of the workflow's own package that can do something durable.

Followed are local functions and lambdas, functions and methods of the same package (or, for a single file, of modules
beside it), and workflows that are called as plain coroutines. Not followed: other packages' functions, what is looked
up at run time, generators.
"""

from __future__ import annotations

import ast
import inspect
import os
import sys
from types import FunctionType
from typing import Any, NamedTuple, cast

from motet.orchestration.plan.names import Definition, Given, Names, arguments_of, zip_arguments
from motet.orchestration.plan.verbs import as_workflow
from motet.orchestration.source import Body, FunctionNode, read_body


class Home(NamedTuple):
    """Where a workflow is at home."""

    package: str
    folder: str


def home_of(function: FunctionType) -> Home:
    name = function.__module__ or ""
    file = function.__code__.co_filename
    return Home(name.partition(".")[0], os.path.dirname(os.path.abspath(file)))


class Followed(NamedTuple):
    """A function that is called, ready to be read: `key` tells it from others, for the guard against recursion."""

    key: object
    name: str
    node: FunctionNode
    names: Names
    file: str

    @property
    def is_async(self) -> bool:
        return isinstance(self.node, ast.AsyncFunctionDef)


def followed(names: Names, call: ast.Call, home: Home) -> list[Followed]:
    """The function that this calls, if it is one that is followed; several, if it is one of them."""
    found = [_followed(one, names, call, home) for one in names.alternatives(call.func)]
    return [one for one in found if one is not None] if all(one is not None for one in found) else []


def _followed(called: Given, names: Names, call: ast.Call, home: Home) -> Followed | None:
    shown, there = called
    if isinstance(shown, ast.Lambda):
        return _local(there, names, shown, "<lambda>", call)
    if isinstance(shown, ast.Name) and shown.id in there.definitions and there.binding(shown.id) is not None:
        return _local(there, names, there.definitions[shown.id], shown.id, call)
    owner: ast.expr | None = None
    target: Any = there.resolve(shown).value
    if target is None and isinstance(shown, ast.Attribute):
        owner = shown.value
        kind = there.class_of(owner)
        target = inspect.getattr_static(kind, shown.attr, None) if kind is not None else None
        if isinstance(target, staticmethod):
            target, owner = cast("staticmethod[..., Any]", target).__func__, None
    workflow = as_workflow(target)
    if workflow is not None:
        target = workflow.function
    if isinstance(target, staticmethod | classmethod) or not isinstance(target, FunctionType):
        return None
    return _function(target, there, names, call, owner, home)


def _local(there: Names, caller: Names, node: FunctionNode, name: str, call: ast.Call) -> Followed:
    given = {parameter: Given(value, caller) for parameter, value in zip_arguments(call, _parameters(node))}
    names = Names(there.body, node, given, there)
    names.handed = there.handed or caller.hands_on(arguments_of(call))
    return Followed(node, name, node, names, there.body.function.__code__.co_filename)


def _function(
    target: FunctionType, there: Names, caller: Names, call: ast.Call, owner: ast.expr | None, home: Home
) -> Followed | None:
    if not _at_home(target, home):
        return None
    # Only what gets the flow, or can wait by itself, does anything durable.
    fields = there.flow_fields(owner) if owner is not None else set[str]()
    if not (caller.has_flow(arguments_of(call)) or fields or inspect.iscoroutinefunction(target)):
        return None
    body = read_body(target)
    if body is None or inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
        return None
    parameters = _parameters(body.node)
    given: dict[str, Given] = {}
    if owner is not None and parameters:
        given[parameters[0]] = Given(owner, there)
        parameters = parameters[1:]
    given |= {name: Given(value, caller) for name, value in zip_arguments(call, parameters)}
    names = Names(body, body.node, given)
    names.handed = caller.hands_on(arguments_of(call))
    return Followed(target.__code__, target.__name__, body.node, names, target.__code__.co_filename)


def _parameters(node: FunctionNode) -> list[str]:
    return [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]


def _at_home(target: FunctionType, home: Home) -> bool:
    module = target.__module__ or ""
    if module.partition(".")[0] in ("motet", "asyncio") and not module.startswith("motet._examples"):
        return False
    if home.package and module.partition(".")[0] == home.package:
        return True
    file = os.path.abspath(target.__code__.co_filename)
    beside = os.path.dirname(file)
    return (beside == home.folder or beside.startswith(home.folder + os.sep)) and not _is_installed(file)


def _is_installed(file: str) -> bool:
    return f"{os.sep}site-packages{os.sep}" in file or file.startswith(os.path.join(sys.base_prefix, "lib"))


def body_and_flow(function: Any) -> tuple[Body, Names] | None:
    """The names of a workflow's own body. None: its source cannot be read."""
    body = read_body(function)
    if body is None:
        return None
    parameters = body.parameters
    given: dict[str, Given] = {}
    owner = getattr(function, "__self__", None)
    names = Names(body, body.node, given)
    if owner is not None and parameters:
        names.held = (parameters[0], owner)
        parameters = parameters[1:]
    names.flows = set(parameters[:1])
    return body, names


def defined(node: Definition | ast.Lambda) -> list[ast.stmt]:
    """A function's statements; a lambda's expression is what it returns."""
    if isinstance(node, ast.Lambda):
        return [ast.copy_location(ast.Return(node.body), node.body)]
    return node.body
