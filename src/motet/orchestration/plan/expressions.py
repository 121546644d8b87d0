"""The operations in an expression, in the order in which they are created: verbs, asyncio's ways of doing things
together, functions that are read on into, and comprehensions.

A coroutine that nobody awaits at once (it is given to `gather`, or made a task) runs beside what follows: it becomes
a part of a `parallel`. A verb is created where it is called, whoever awaits it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from motet.orchestration.plan.following import Followed, followed
from motet.orchestration.plan.names import arguments_of
from motet.orchestration.plan.nodes import Node, matters, walk
from motet.orchestration.plan.verbs import (
    HARMLESS,
    VERBS,
    child_node,
    inner_way,
    keyword,
    length_of,
    publish_node,
    site_of,
    step_node,
    together_of,
    verb_of,
    wait_node,
)

if TYPE_CHECKING:
    from motet.orchestration.plan.reader import Reader

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)
_MOST_TEXT = 70


def inside(reader: Reader, node: ast.AST) -> list[Node]:
    """Of all expressions in it, one after the other."""
    found: list[Node] = []
    for child in ast.iter_child_nodes(node):
        found += read(reader, child) if isinstance(child, ast.expr) else inside(reader, child)
    return found


def read(reader: Reader, node: ast.expr, *, awaited: bool = False) -> list[Node]:
    """Of one expression; `awaited`: its coroutine runs here and now."""
    match node:
        case ast.Await():
            return read(reader, node.value, awaited=True)
        case ast.Call():
            return _call(reader, node, awaited)
        case ast.Lambda():
            return []
        case ast.IfExp():
            found = read(reader, node.test)
            arms = [
                reader.node("arm", node.body, f"if {ast.unparse(node.test)}", read(reader, node.body, awaited=awaited)),
                reader.node("arm", node.orelse, "else", read(reader, node.orelse, awaited=awaited)),
            ]
            return found + reader.branch(node, arms, passes=False)
        case ast.BoolOp():
            return _bool(reader, node)
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
            return _comprehension(reader, node, awaited=awaited)
        case _:
            return inside(reader, node)


def _bool(reader: Reader, node: ast.BoolOp) -> list[Node]:
    found = read(reader, node.values[0])
    word = "if" if isinstance(node.op, ast.And) else "unless"
    rest = node.values[1:] if len(node.values) == 2 else [ast.copy_location(ast.BoolOp(node.op, node.values[1:]), node)]
    inner = read(reader, rest[0])
    arm = reader.node("arm", rest[0], f"{word} {ast.unparse(node.values[0])}", inner)
    return found + reader.branch(node, [arm], passes=True)


def _comprehension(reader: Reader, node: Any, *, awaited: bool = False) -> list[Node]:
    first, *others = node.generators
    found = read(reader, first.iter)
    inner, text = _turn(reader, node)
    if not inner:
        return found
    if len(inner) == 1 and inner[0].kind == "parallel" and inner[0].background and not others:
        for part in inner[0].body:  # coroutines that are made here, and run later
            part.many, part.text = True, text
        return found + inner
    return [*found, reader.node("loop", node, text, inner, open=True)]


def _turn(reader: Reader, node: Any) -> tuple[list[Node], str]:
    """What one turn of a comprehension does, and its head as text."""
    generators: list[ast.comprehension] = node.generators
    turns = {one.target.id: one.iter for one in generators if isinstance(one.target, ast.Name)}
    reader.names.turns |= turns
    made = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
    inner = [one for part in made for one in read(reader, part)]
    tests = [test for one in generators for test in one.ifs]
    asked = [one for test in tests for one in read(reader, test)]
    for name in turns:
        reader.names.turns.pop(name, None)
    if tests and inner:
        condition = " and ".join(ast.unparse(test) for test in tests)
        if inner[0].kind != "parallel":
            inner = reader.branch(node, [reader.node("arm", node, f"if {condition}", inner)], passes=True)
    later = [one for part in generators[1:] for one in read(reader, part.iter)]
    heads = [f"for {ast.unparse(one.target)} in {ast.unparse(one.iter)}" for one in generators]
    return [*later, *asked, *inner], " ".join(heads)


# --- calls --------------------------------------------------------------------------------------------------------


def _call(reader: Reader, call: ast.Call, awaited: bool) -> list[Node]:
    names = reader.names
    verb = verb_of(names, call.func)
    if verb is not None:
        return _verb(reader, call, verb)
    way = together_of(names, call.func)
    if way is not None:
        return _TOGETHER[way](reader, call)
    functions = followed(names, call, reader.home)
    if functions:
        inner = [_followed(reader, call, function, awaited) for function in functions]
        if len(inner) > 1:
            arms = [reader.node("arm", call, f"one of {len(inner)}", one) for one in inner]
            return _arguments(reader, call) + reader.branch(call, arms, passes=False)
        return _arguments(reader, call) + inner[0]
    found = inside(reader, call)
    if names.handed and not isinstance(call.func, ast.Attribute) and not names.resolve(call.func).known:
        return [*found, _unknown(reader, call)]
    if names.has_flow(arguments_of(call)) or names.flow_fields(_owner(call)):
        if names.resolve(call.func).value is not None and _makes_holder(reader, call):
            return found
        found.append(_unknown(reader, call))
    return found


def _owner(call: ast.Call) -> ast.expr:
    return call.func.value if isinstance(call.func, ast.Attribute) else call.func


def _makes_holder(reader: Reader, call: ast.Call) -> bool:
    """Whether it only makes an object that holds the flow."""
    return isinstance(reader.names.resolve(call.func).value, type) and bool(reader.names.flow_fields(call))


def _unknown(reader: Reader, call: ast.Call) -> Node:
    return reader.node("unknown", call, _short(call), site=site_of(reader.function, call, reader.way))


def _short(node: ast.expr) -> str:
    text = ast.unparse(node).replace("\n", " ")
    return text if len(text) <= _MOST_TEXT else f"{text[: _MOST_TEXT - 3]}..."


def _arguments(reader: Reader, call: ast.Call) -> list[Node]:
    return [one for argument in arguments_of(call) for one in inside(reader, ast.Expr(_value(argument)))]


def _value(argument: ast.expr | ast.keyword) -> ast.expr:
    return argument.value if isinstance(argument, ast.keyword | ast.Starred) else argument


def _verb(reader: Reader, call: ast.Call, verb: str) -> list[Node]:
    if verb in HARMLESS or verb == "scope":
        return inside(reader, call)
    if verb not in VERBS:
        return [*_arguments(reader, call), _unknown(reader, call)]
    found = _arguments(reader, call)
    argument = call.args[0] if call.args else None
    where = reader.where(call)
    if argument is not None and isinstance(argument, ast.Starred):
        kind: Any = verb
        return [*found, Node(0, kind, ast.unparse(argument), **where)]
    match verb:
        case "step" | "transaction":
            found.append(step_node(reader.names, verb, argument, where))
        case "publish":
            found.append(publish_node(reader.names, reader.types, argument, where))
        case "wait":
            found += _wait(reader, call, where)
        case "child":
            found.append(child_node(reader.names, argument, where))
        case "sleep":
            found += _sleep(reader, call)
        case "pivot":
            found.append(Node(0, "pivot", name="pivot", **where))
        case _:
            text = ast.unparse(argument) if argument is not None else ""
            found.append(reader.node("restart", call, text, name="restart"))
    return found


def _wait(reader: Reader, call: ast.Call, where: dict[str, Any]) -> list[Node]:
    node = wait_node(reader.names, reader.types, call, where)
    limit = keyword(call, "timeout")
    if limit is None or (isinstance(limit, ast.Constant) and limit.value is None):
        return [node]
    timer = Node(0, "timeout", ast.unparse(limit), name="timer", timeout=node.timeout, open=True, **where)
    return [node, timer]


def _sleep(reader: Reader, call: ast.Call) -> list[Node]:
    given = call.args[0] if call.args else keyword(call, "delay") or keyword(call, "duration")
    length = length_of(reader.names, given)
    if length == 0:
        return []  # which only lets others run
    text = ast.unparse(given) if given is not None else ""
    return [Node(0, "sleep", text, name="sleep", timeout=length, **reader.where(call))]


# --- asyncio ------------------------------------------------------------------------------------------------------


def _gather(reader: Reader, call: ast.Call) -> list[Node]:
    parts = [part for argument in call.args for part in _parts(reader, argument)]
    if not matters(parts):
        return []
    collects = keyword(call, "return_exceptions")
    collected = isinstance(collects, ast.Constant) and bool(collects.value)
    return [reader.node("parallel", call, "gather", parts, collects=collected)]


def _parts(reader: Reader, argument: ast.expr) -> list[Node]:
    """What one argument of `gather` adds: a part of its own, or one that runs any number of times."""
    names = reader.names
    if isinstance(argument, ast.Starred):
        shown = argument.value
        if isinstance(shown, ast.Tuple | ast.List):
            return [part for one in shown.elts for part in _parts(reader, one)]
        if isinstance(shown, ast.ListComp | ast.GeneratorExp | ast.SetComp):
            found = read(reader, shown.generators[0].iter)
            inner, text = _turn(reader, shown)
            if len(inner) == 1 and inner[0].kind == "parallel" and inner[0].background:
                inner = [one for part in inner[0].body for one in part.body]
            parts = [reader.node("part", shown, text, inner, many=True)] if matters(inner) else []
            return [*([reader.node("part", shown, "", found)] if matters(found) else []), *parts]
        argument = shown
    if names.behind(argument) is not argument:
        return []  # made before, and read where it was made
    inner = beside(read(reader, argument))
    return [reader.node("part", argument, "", inner)] if matters(inner) else []


def beside(nodes: list[Node]) -> list[Node]:
    """What is made here to run beside what follows, without the words for that."""
    found: list[Node] = []
    for node in nodes:
        if node.kind == "parallel" and node.background and len(node.body) == 1 and not node.body[0].many:
            found += node.body[0].body
        else:
            found.append(node)
    return found


def _begin(reader: Reader, call: ast.Call) -> list[Node]:
    """`create_task`: what it is given runs beside what follows."""
    inner = beside(read(reader, call.args[0])) if call.args else []
    return _beside(reader, call, inner) if matters(inner) else []


def _in_time(reader: Reader, call: ast.Call) -> list[Node]:
    """`wait_for`: the timer is started when it is awaited, which is after a verb in its arguments is created."""
    inner = beside(read(reader, call.args[0])) if call.args else []
    limit = keyword(call, "timeout", 1)
    if inner and inner[0].is_operation:
        return [*inner[:-1], inner[-1], *reader.timeout(call, limit, [])]
    return reader.timeout(call, limit, inner)


def _shield(reader: Reader, call: ast.Call) -> list[Node]:
    return beside(read(reader, call.args[0])) if call.args else []


def _wait_all(reader: Reader, call: ast.Call) -> list[Node]:
    """`asyncio.wait`: tasks that were made before, or are made here."""
    limit = reader.timeout(call, keyword(call, "timeout"), [])
    for node in limit:
        node.collects = True
    return inside(reader, call) + limit


def _enter(reader: Reader, call: ast.Call) -> list[Node]:
    return inside(reader, call)


def group(reader: Reader, at: ast.stmt, inner: list[Node]) -> list[Node]:
    """`async with TaskGroup()`: what is begun in it runs together, if it does nothing else itself."""
    if not matters(inner):
        return []
    if all(node.kind == "parallel" and node.background for node in inner):
        parts = [part for node in inner for part in node.body]
    else:
        parts = [reader.node("part", at, "", inner)]
    return [reader.node("parallel", at, "TaskGroup", parts)]


def _rest(reader: Reader, call: ast.Call) -> list[Node]:
    return [*_arguments(reader, call), *_sleep(reader, call)]


_TOGETHER: dict[str, Callable[[Reader, ast.Call], list[Node]]] = {
    "gather": _gather,
    "wait": _wait_all,
    "wait_for": _in_time,
    "shield": _shield,
    "begin": _begin,
    "timeout": _enter,
    "group": _enter,
    "sleep": _rest,
}


# --- functions ----------------------------------------------------------------------------------------------------


def _followed(reader: Reader, call: ast.Call, function: Followed, awaited: bool) -> list[Node]:
    text = f"{function.name}(...)"
    here = site_of(reader.function, call, reader.way)
    alone = function.is_async and not awaited  # in a task of its own, which nobody's call leads to
    if function.key in reader.stack or len(reader.stack) >= 20:
        again = reader.node("call", call, text, again=True, name=function.name, site=here)
        return _beside(reader, call, [again]) if alone else [again]
    inner = reader.inside(function, "" if alone else inner_way(here)).body_of(function.node)
    if not _does_more(inner):
        return []
    found = [reader.node("call", call, text, inner, name=function.name, site=here)]
    return _beside(reader, call, found) if alone else found


def _does_more(nodes: list[Node]) -> bool:
    """Whether it does anything but return."""
    return any(node.is_operation or node.kind in ("unknown", "raise") or node.again for node in walk(nodes))


def _beside(reader: Reader, call: ast.Call, nodes: list[Node]) -> list[Node]:
    return [reader.node("parallel", call, "", [reader.node("part", call, "", nodes)], background=True)]
