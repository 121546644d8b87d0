"""Which errors an operation may end with, and which handlers may catch them; by the names of their classes.

An error is its class's name with those that it inherits from; a name that begins with `?` may be anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from motet.errors import ChildFailed, StepFailed
from motet.model.history import STEPS
from motet.orchestration.plan.nodes import Node, lineage

Error = Sequence[str]
Caught = Literal["no", "perhaps", "surely"]

CANCELLED: Error = ("CancelledError", "BaseException")
TIMED_OUT: Error = tuple(lineage(TimeoutError))
IN_GROUP: Error = tuple(lineage(ExceptionGroup))
ANYTHING: Error = ("?",)
PLAIN: Error = ("?plain",)
"""What plain code between operations may raise: nothing that only operations raise."""


def errors_of(node: Node, *, wary: bool = True) -> list[Error]:
    """How an operation may end badly; `wary`: also by what stops it from outside."""
    found: list[Error] = [tuple(error) for error in node.errors]
    if node.kind in STEPS:
        found += [tuple(lineage(StepFailed)), CANCELLED]
    elif node.kind == "child":
        found += [tuple(lineage(ChildFailed)), CANCELLED]
    elif node.kind == "timeout":
        found += [TIMED_OUT]
    elif node.kind in ("wait", "sleep"):
        found += [CANCELLED]
    return [error for error in found if wary or error != CANCELLED]


def caught(handler: Node, error: Error, own: frozenset[str]) -> Caught:
    """Whether a handler catches an error.

    Args:
        own: the names of all errors that operations inside the `try` declare: plain code is not suspected of raising
            those.
    """
    if not handler.open:
        return "surely"
    found: Caught = "no"
    for name in handler.catches:
        one = _caught_by(name, error, own)
        if one == "surely":
            return "surely"
        if one == "perhaps":
            found = "perhaps"
    return found


def _caught_by(name: str, error: Error, own: frozenset[str]) -> Caught:
    if name == "BaseException":
        return "surely"
    if error == PLAIN:
        if name == "Exception":
            return "surely"
        return "perhaps" if name not in own else "no"
    if name.startswith("?"):
        return "perhaps"
    if error[0].startswith("?"):
        return "surely" if name == "Exception" else "perhaps"
    return "surely" if name in error else "no"
