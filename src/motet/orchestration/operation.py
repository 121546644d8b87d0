"""One durable thing that a run does, in memory.

    created ──begin──> begun ──fact──> settled        the first settlement counts, later ones are ignored
                         │  ▲             ▲
                  stuck  ▼  │ retry       │ skip
                        (only a person helps)

A created operation has its place in the history; it begins when it is awaited. Abandoned means that the workflow
no longer waits for it: an attempt in flight still settles it, but is not delivered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from motet.model.clock import Micros
from motet.model.history import FactKind, OperationKind

if TYPE_CHECKING:
    from motet.orchestration.definitions import Callee, Workflow
    from motet.orchestration.scope import Scope


class Operation:
    """See the module. `op` is its name and occurrence, as `create_enrollment#1`."""

    __slots__ = (
        "abandoned", "arguments", "attempts", "begun", "call", "callee", "child_id", "detached", "digest",
        "drained_at", "due", "error", "fire", "future", "kind", "name", "op", "outcome", "position", "result",
        "scope", "settled", "since", "site", "stuck", "target", "value", "workflow",
    )  # fmt: skip

    def __init__(self, op: str, name: str, kind: OperationKind) -> None:
        self.op = op
        self.name = name
        self.kind: OperationKind = kind
        self.callee: Callee | None = None  # what a step or compensation runs
        self.workflow: Workflow[Any, Any] | None = None  # what a child runs
        self.arguments: str | None = None
        self.call: tuple[tuple[Any, ...], dict[str, Any]] | None = None  # the same decoded, for the first attempt
        self.digest: int | None = None
        self.future: asyncio.Future[Any] | None = None
        self.fire: Callable[[], None] | None = None  # what a timer calls
        self.target: Operation | None = None  # what a compensation undoes
        self.scope: Scope | None = None
        self.site: str | None = None  # where the source creates it
        self.child_id: str | None = None
        self.detached = False
        self.begun = False
        self.abandoned = False
        self.settled = False
        self.stuck = False
        self.drained_at = 0  # the position after which the drain ran that created it
        self.attempts = 0  # failed ones that count against the retry policy
        self.due: Micros = 0
        self.since: Micros = 0  # when the wait for an event began
        self.error: str | None = None  # the record of the last failure
        self.result: str | None = None
        self.value: Any = None  # the decoded result, when the owner has it at hand
        self.outcome: FactKind | None = None
        self.position = 0

    @property
    def in_flight(self) -> bool:
        """Whether the run cannot end before this has settled."""
        return self.begun and not self.settled and not self.stuck

    def describe(self) -> str:
        """In words, for messages about changed code."""
        return f"{self.kind} {self.op}"
