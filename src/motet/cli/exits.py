"""What the exit codes mean: the one place that says so; the help, the docs and the tests read it here."""

from __future__ import annotations

from typing import Final

from motet.errors import (
    BadValue,
    ConfigError,
    ConversationNotFound,
    DeadLetterNotFound,
    DefinitionError,
    LeaseLost,
    MotetError,
    NotConnected,
    NotPossible,
    ReactionNotFound,
    RunBlocked,
    RunCancelled,
    RunEndedBadly,
    RunExists,
    RunForgotten,
    RunNotFound,
    RunPruned,
    StoreError,
    StoreMissing,
    UnknownWorkflow,
    WorkerDied,
)
from motet.model.run import RunState

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
BLOCKED: Final = 4
STORE: Final = 5
CANCELLED: Final = 6
NOT_POSSIBLE: Final = 7
INTERNAL: Final = 70
INTERRUPTED: Final = 130

MEANINGS: Final[dict[int, str]] = {
    OK: "all is well; a run that was waited for completed",
    FAILED: "the run failed, the demo broke a promise, doctor or check found errors, a migration is pending, "
    "or workers die again and again",
    USAGE: "asked wrongly: an option, module, workflow, input or setting",
    NOT_FOUND: "there is no such run, conversation, reaction or dead letter (any more), or no store at that place",
    BLOCKED: "the run is blocked and needs a person",
    STORE: "the store does not answer, or cannot be used as it is",
    CANCELLED: "the run was cancelled",
    NOT_POSSIBLE: "not possible: the run or reaction is in another state, or the id is taken",
    INTERNAL: "an error that nobody foresaw; its traceback is shown",
    INTERRUPTED: "stopped by Ctrl-C before it was done",
}

_OF_STATE: Final[dict[RunState, int]] = {
    "completed": OK,
    "failed": FAILED,
    "cancelled": CANCELLED,
    "blocked": BLOCKED,
}

# The first class that fits decides, so the special ones come first.
_OF_ERROR: Final[tuple[tuple[type[MotetError], int], ...]] = (
    (RunNotFound, NOT_FOUND),
    (RunPruned, NOT_FOUND),
    (RunForgotten, NOT_FOUND),
    (ConversationNotFound, NOT_FOUND),
    (ReactionNotFound, NOT_FOUND),
    (DeadLetterNotFound, NOT_FOUND),
    (StoreMissing, NOT_FOUND),
    (LeaseLost, STORE),
    (StoreError, STORE),
    (RunBlocked, BLOCKED),
    (RunCancelled, CANCELLED),
    (RunEndedBadly, FAILED),
    (WorkerDied, FAILED),
    (RunExists, NOT_POSSIBLE),
    (NotPossible, NOT_POSSIBLE),
    (NotConnected, NOT_POSSIBLE),
    (ConfigError, USAGE),
    (DefinitionError, USAGE),
    (UnknownWorkflow, USAGE),
    (BadValue, USAGE),
)


def code_of(error: MotetError) -> int:
    """The exit code that tells of this error."""
    return next((code for kind, code in _OF_ERROR if isinstance(error, kind)), INTERNAL)


def code_of_state(state: RunState) -> int:
    """The exit code for a run that was waited for; a run that goes on is no failure."""
    return _OF_STATE.get(state, OK)
