"""Motet: durable workflows with loosely coupled edges.

An explicit core (workflows of steps, compensations, deadlines) and durable events, on an embedded store, with one
place that answers: what step are we in, what failed, and what happens next?
"""

from motet import errors
from motet.app import App
from motet.choreography.expectations import Expectation
from motet.client import RunHandle
from motet.config import Settings
from motet.declarations import Module
from motet.deliveries import DeadLetter, ReactionStatus
from motet.errors import (
    ChildFailed,
    DeadlineExceeded,
    MotetError,
    RunBlocked,
    RunCancelled,
    RunExists,
    RunFailed,
    RunNotFound,
    StepFailed,
    StepTimedOut,
)
from motet.model.event import Event
from motet.model.expected import Missed
from motet.model.keyring import Keyring
from motet.model.policy import Retry
from motet.orchestration.attempt import Attempt, attempt
from motet.orchestration.definitions import Compensation, Step, Workflow
from motet.orchestration.flow import Flow
from motet.orchestration.queues import Queue
from motet.orchestration.transactions import Transaction
from motet.status import RunStatus, RunSummary

__version__ = "0.1.0"

__all__ = [
    # declaring
    "App",
    "Module",
    "Retry",
    "Settings",
    "Keyring",
    "Step",
    "Transaction",
    "Compensation",
    "Workflow",
    "Queue",
    # inside workflows and steps
    "Flow",
    "Attempt",
    "attempt",
    # events
    "Event",
    "Expectation",
    "Missed",
    "ReactionStatus",
    "DeadLetter",
    # runs
    "RunHandle",
    "RunStatus",
    "RunSummary",
    # errors
    "errors",
    "MotetError",
    "StepFailed",
    "StepTimedOut",
    "ChildFailed",
    "DeadlineExceeded",
    "RunFailed",
    "RunCancelled",
    "RunBlocked",
    "RunExists",
    "RunNotFound",
]
