"""What a step or a handler publishes, read from its source, as the plan reads a workflow's.

Seen are `event.publish(...)` on its first parameter, and `app.publish(...)`, also of `app.sync`, on whatever has the
verbs of an app. What other functions publish for it is not.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

from motet.orchestration.plan.verbs import published
from motet.orchestration.source import Body, BodyReader, read_body


def publishes(function: Callable[..., object], *, own: bool) -> list[tuple[str, object | None]]:
    """Each event as it is called there, and its class or name where that can be told; empty without a source.

    Args:
        own: whether its first parameter publishes, as an event does.
    """
    body = read_body(function)
    if body is None:
        return []
    reader = _Publishing(body, body.parameters[0] if own and body.parameters else None)
    reader.read()
    return reader.found


class _Publishing(BodyReader):
    def __init__(self, body: Body, own: str | None) -> None:
        super().__init__(body)
        self.found: list[tuple[str, object | None]] = []
        self._own = own

    def visit_Call(self, node: ast.Call) -> None:  # noqa: N802 - ast's name for it
        called = self.behind(node.func)
        if (
            isinstance(called, ast.Attribute)
            and called.attr == "publish"
            and node.args
            and self._publishes(called.value)
        ):
            self.found.append(published(self, node.args[0]))
        self.generic_visit(node)

    def _publishes(self, owner: ast.expr) -> bool:
        owner = self.behind(owner)
        if isinstance(owner, ast.Name) and owner.id == self._own:
            return True
        found: object = self.resolve(owner).value
        return hasattr(found.__class__, "publish_cloudevent")
