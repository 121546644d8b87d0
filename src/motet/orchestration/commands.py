"""What a machine asks its owner to do: small records, in the order in which the drain made them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from motet.model.event import Announcement
from motet.model.history import Fact
from motet.model.run import RunState

if TYPE_CHECKING:
    from motet.orchestration.operation import Operation


class RunAttempt(msgspec.Struct, frozen=True):
    """Try the operation once, not before `op.due`."""

    op: Operation


class Abandon(msgspec.Struct, frozen=True):
    """The workflow no longer waits for this operation: an attempt in flight is still awaited and recorded,
    but no other follows; without one in flight, settle it now. A child is asked to stop, and awaited."""

    op: Operation


class Stick(msgspec.Struct, frozen=True):
    """Record that only a person can help: a compensation that is needed and cannot be called."""

    op: Operation
    reason: str


class StartTimer(msgspec.Struct, frozen=True):
    """Report when `op.due` has come."""

    op: Operation


class StopTimer(msgspec.Struct, frozen=True):
    """Forget the timer."""

    op: Operation


class StartWait(msgspec.Struct, frozen=True):
    """Look for an event that has come already, and be told when one comes."""

    op: Operation


class StopWait(msgspec.Struct, frozen=True):
    """Nobody waits for the event any more."""

    op: Operation


class Publish(msgspec.Struct, frozen=True):
    """Record the event with the operation's row."""

    op: Operation
    event: Announcement


class Pivot(msgspec.Struct, frozen=True):
    """Record that the point of no return is passed."""

    op: Operation


class Change(msgspec.Struct, frozen=True):
    """Record that the run takes the new branch."""

    op: Operation


class StartChild(msgspec.Struct, frozen=True):
    """Start the child run, or find it started."""

    op: Operation


class Note(msgspec.Struct, frozen=True):
    """Show this progress in the run's status."""

    text: str


class Enter(msgspec.Struct, frozen=True):
    """The run is in another state now: compensating, blocked, or running again."""

    state: RunState
    error: str | None = None


class Restart(msgspec.Struct, frozen=True):
    """End this generation and begin the next with this input."""

    input: str | None


class PassOn(msgspec.Struct, frozen=True):
    """This generation was asked to stop when it had already ended in a restart: ask the next one."""

    fact: Fact


class RestartSignal(BaseException):
    """How a body asks for the next generation; no `except Exception` of a body may swallow it."""

    def __init__(self, input: str | None) -> None:
        self.input = input


class Finish(msgspec.Struct, frozen=True):
    """The run has ended."""

    state: RunState
    result: str | None = None
    error: str | None = None


Command = (
    RunAttempt | Abandon | Stick | StartTimer | StopTimer | StartWait | StopWait | Publish | Pivot | Change | StartChild
    | Note | Enter | Restart | PassOn | Finish
)  # fmt: skip
