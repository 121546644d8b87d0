"""Finds in a step's source what it visibly sends, and what must not be sent twice: HTTP's POST and PATCH, and mails.

RFC 9110, section 9.2.2: of HTTP's methods, these two are not idempotent. A function that asks for its attempt, or that
names an idempotency key anywhere, has thought of it, and is not reported.

Not seen: what other functions send for it, clients that come from elsewhere (a field, a parameter, a resource).
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, NamedTuple

from motet.orchestration.source import Body, BodyReader, imported, read_body

_CALLS = {
    "requests.post": "sends a POST", "requests.patch": "sends a PATCH", "requests.api.post": "sends a POST",
    "requests.api.patch": "sends a PATCH", "httpx.post": "sends a POST", "httpx.patch": "sends a PATCH",
    "httpx._api.post": "sends a POST", "httpx._api.patch": "sends a PATCH",
}  # fmt: skip
_METHODS = {
    "requests.Session": {"post": "sends a POST", "patch": "sends a PATCH"},
    "httpx.Client": {"post": "sends a POST", "patch": "sends a PATCH"},
    "httpx.AsyncClient": {"post": "sends a POST", "patch": "sends a PATCH"},
    "aiohttp.ClientSession": {"post": "sends a POST", "patch": "sends a PATCH"},
    "smtplib.SMTP": {"send_message": "sends a mail", "sendmail": "sends a mail"},
}
_URLOPEN = "urllib.request.urlopen"
_THOUGHT_OF = ("idempotency", "idempotent", "attempt(")


class Sent(NamedTuple):
    """A call that sends something: its lines, and what it does, as `sends a POST`."""

    file: str
    line: int
    until: int
    what: str


def sends(function: Callable[..., object]) -> list[Sent]:
    """What a function sends without a word of an idempotency key; empty without a source."""
    body = read_body(function)
    if body is None:
        return []
    code = ast.unparse(body.node).lower()
    if any(word in code for word in _THOUGHT_OF):
        return []
    reader = _Sending(body)
    reader.read()
    return reader.found


class _Sending(BodyReader):
    def __init__(self, body: Body) -> None:
        super().__init__(body)
        self.found: list[Sent] = []
        self._file = body.function.__code__.co_filename
        self._entered: dict[str, ast.expr] = {}

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:  # noqa: N802 - ast's name for it
        """`async with httpx.AsyncClient() as client`: what is entered is what is used."""
        for item in node.items:
            if isinstance(item.optional_vars, ast.Name):
                self._entered[item.optional_vars.id] = item.context_expr
        self.generic_visit(node)

    visit_AsyncWith = visit_With  # noqa: N815 - ast's name for it

    def visit_Call(self, node: ast.Call) -> None:  # noqa: N802 - ast's name for it
        what = self._what(node)
        if what is not None:
            self.found.append(Sent(self._file, node.lineno, node.end_lineno or node.lineno, what))
        self.generic_visit(node)

    def _what(self, call: ast.Call) -> str | None:
        called = self.behind(call.func)
        found = self.resolve(called)
        name = found.name
        if name is None and found.known and callable(found.value):
            value: Any = found.value
            name = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"
        if name == _URLOPEN:
            return "sends a POST" if len(call.args) > 1 or any(word.arg == "data" for word in call.keywords) else None
        if name in _CALLS:
            return _CALLS[name]
        if isinstance(called, ast.Attribute):
            owner = self._class_of(called.value)
            for kind, methods in _METHODS.items():
                if owner is not None and owner is imported(kind).value and called.attr in methods:
                    return methods[called.attr]
        return None

    def _class_of(self, node: ast.expr) -> type[Any] | None:
        if isinstance(node, ast.Name) and node.id in self._entered:
            node = self._entered[node.id]
        return self.class_of(node)
