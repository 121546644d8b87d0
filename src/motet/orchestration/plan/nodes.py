"""What a plan is made of: nodes as a tree, in the order of the source. Plain data, kept in the catalog as JSON.

    operations   step transaction wait sleep timeout child publish pivot restart
    structure    branch(arm ...)  loop  parallel(part ...)  try(part, handler ..., else, finally)  scope  call
    leaving      return raise break continue
    unknown      "cannot know": from here the source is too dynamic to read

Invariants: ids are given in the order of the source, from 0; a `branch` holds only arms, a `parallel` only parts. An
operation's `site` is what its run records (`sites.py`).

Not here: what may follow what (`ways.py`), and what a run has done of it (`lights.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

Kind = Literal[
    "step", "transaction", "wait", "sleep", "timeout", "child", "publish", "pivot", "restart",
    "branch", "arm", "loop", "parallel", "part", "try", "handler", "else", "finally", "scope", "call",
    "return", "raise", "break", "continue",
    "unknown",
]  # fmt: skip

OPERATIONS: frozenset[str] = frozenset(
    {"step", "transaction", "wait", "sleep", "timeout", "child", "publish", "pivot", "restart"}
)
LEAVING: frozenset[str] = frozenset({"return", "raise", "break", "continue"})


class Node(msgspec.Struct, omit_defaults=True):
    """One thing in a workflow's source.

    Args:
        text: what it is about, as the source says: a condition, a loop's head, a duration, what cannot be read.
        until: the last of its lines, if there are several.
        name: what histories call the operation; None if that cannot be told before it happens.
        choices: the names of which it is one, if those are known.
        site: where a run that does this operation records it.
        file: where it stands, if not in the workflow's own file.
        attempts, timeout, compensation, admits_none: of a step or transaction (a timeout also of others). A timeout is
            in seconds, or as its source says.
        errors: what it declares to raise, each with the names of the classes that it inherits from.
        open: a branch that may take none of its arms; a loop that may end, or not run at all; a timeout that may be
            none.
        many: a part that runs any number of times.
        background: a parallel that nobody waits for at its end (a loose asyncio task).
        collects: a parallel whose parts' errors are results; a timeout that is no error.
        again: a call of a function inside itself.
        catches: the classes that a handler is for; empty for all. What cannot be told begins with a `?`.
    """

    id: int
    kind: Kind
    text: str = ""
    line: int = 0
    until: int | None = None
    name: str | None = None
    choices: list[str] = []
    site: str | None = None
    file: str | None = None
    body: list[Node] = []
    attempts: int | None = None
    timeout: float | str | None = None
    compensation: str | None = None
    admits_none: bool = False
    errors: list[list[str]] = []
    open: bool = False
    many: bool = False
    background: bool = False
    collects: bool = False
    again: bool = False
    catches: list[str] = []

    @property
    def is_operation(self) -> bool:
        return self.kind in OPERATIONS

    @property
    def title(self) -> str:
        """What to call an operation: its name, else what it is one of, else as the source says."""
        return self.name or " or ".join(self.choices) or self.text


def lineage(kind: type[BaseException]) -> list[str]:
    """A class of errors by name, then those that it inherits from."""
    return [one.__name__ for one in kind.__mro__ if issubclass(one, BaseException)]


def walk(nodes: Sequence[Node]) -> Iterator[Node]:
    """All nodes, outer before inner, in the order of the source."""
    for node in nodes:
        yield node
        yield from walk(node.body)


def paths(nodes: Sequence[Node], above: tuple[Node, ...] = ()) -> Iterator[tuple[Node, tuple[Node, ...]]]:
    """All nodes, each with those that it is inside of, outermost first."""
    for node in nodes:
        yield node, above
        yield from paths(node.body, (*above, node))


def numbered(nodes: list[Node]) -> list[Node]:
    """The same nodes with their ids."""
    for number, node in enumerate(walk(nodes)):
        node.id = number
    return nodes


def matters(nodes: Sequence[Node]) -> bool:
    """Whether anything in there is durable, leaves, or cannot be known."""
    return any(
        node.is_operation or node.kind in LEAVING or node.kind == "unknown" or node.again for node in walk(nodes)
    )
