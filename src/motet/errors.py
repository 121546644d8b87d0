"""Every error that Motet raises, and what it means to you.

The tree is read from the top: catch `MotetError` for all of them. Messages name the thing, the reason and the
way out. Errors of your own steps and workflows are not here: the ones you declare with `raises=[...]` reach you
as themselves.
"""

from __future__ import annotations


class MotetError(Exception):
    """The root of all errors raised by Motet."""


# --- configuration and definitions: found while your program starts --------------------------------------------


class ConfigError(MotetError):
    """A setting has a value that cannot work."""


class DefinitionError(MotetError):
    """A step, compensation, workflow or event is declared in a way that cannot work."""


class DuplicateName(DefinitionError):
    """Two definitions of one app share a name; records could not tell them apart."""


class CompensationSignature(DefinitionError):
    """A compensation takes other parameters than `(result)` or `(result, *the step's parameters)`."""


class UnknownWorkflow(MotetError):
    """No workflow of that name is registered in this app."""


class NotConnected(MotetError):
    """The app has no open store: use `async with app.worker()` or `async with app.connect()`."""


class WorkerDied(MotetError):
    """A worker process ended before it was ready, again and again; its supervisor has stopped the others too."""


class DeterminismWarning(UserWarning):
    """A workflow's body seems to do what replay cannot repeat: read a clock, draw chance, or do I/O."""


class RiskWarning(UserWarning):
    """A workflow or a step is written so that a failure at the wrong moment ends in trouble: with a person, with
    something done twice, or with an event that is not true any more."""


# --- calls in the wrong place ----------------------------------------------------------------------------------


class WrongPlace(MotetError):
    """Something was called where it cannot be durable."""


class StepCalledDirectly(WrongPlace):
    """A step was called inside a workflow body without `flow.step`; its result would not be recorded."""


class NotInWorkflow(WrongPlace):
    """A workflow body asked its event loop for something that only a step may do, such as I/O or threads."""


class BlockingCallInWorkflow(WrongPlace):
    """A workflow body did blocking I/O (found in development mode and by the test kit)."""


class NotInStep(WrongPlace):
    """`attempt()` was called outside step code."""


class PublishInWorkflow(WrongPlace):
    """`app.publish` or another client call was used inside a workflow body; use the verb of `flow`."""


class NeverAwaited(WrongPlace):
    """A workflow created a step or a child with `flow` and never awaited it."""


# --- values that cannot be stored ------------------------------------------------------------------------------


class BadValue(MotetError):
    """A value cannot be recorded. Nothing was written."""


class NotEncodable(BadValue):
    """A value is not JSON-able."""


class WrongType(BadValue):
    """A value does not have the declared type."""


class UnstorableText(BadValue):
    """Text holds what databases cannot store: a NUL character or half of a surrogate pair."""


class PayloadTooLarge(BadValue):
    """A value is larger than the payload limit (2 MiB unless set otherwise)."""


# --- runs ------------------------------------------------------------------------------------------------------


class RunNotFound(MotetError):
    """No run has that id."""


class RunPruned(MotetError):
    """The run ended long ago and was pruned: that and how it ended is known, its result is not kept any more."""


class RunForgotten(MotetError):
    """What the run was given and what came of it was erased, with its conversation."""


class ConversationNotFound(MotetError):
    """Nothing belongs to a conversation of that name, and no run has that id."""


class ReactionNotFound(MotetError):
    """The store knows no reaction of that name."""


class DeadLetterNotFound(MotetError):
    """A reaction has no dead letter at that position."""


class RunExists(MotetError):
    """The id belongs to a run of another workflow or with another input."""


class NotPossible(MotetError):
    """The run is not in a state in which that can be done."""


class RunEndedBadly(MotetError):
    """The root of what `result()` raises when a run did not complete."""


class RunFailed(RunEndedBadly):
    """The run failed by an error that its workflow does not declare; what it did has been compensated."""


class RunCancelled(RunEndedBadly):
    """The run was cancelled."""


class RunBlocked(RunEndedBadly):
    """The run is an incident: it needs a person. See `status` for the reason and the ways out."""


# --- inside a workflow -----------------------------------------------------------------------------------------


class StepFailed(MotetError):
    """A step failed for good by an error that it does not declare. Whether its effect happened is unknown;
    a transaction has had none, for it was rolled back."""


class StepTimedOut(MotetError):
    """An attempt took longer than the step's timeout. Whether its effect happened is unknown."""


class StepInterrupted(MotetError):
    """An attempt was cut off and no other follows. Whether its effect happened is unknown."""


class ChildFailed(MotetError):
    """A child run ended without a result, by an error that its workflow does not declare."""


class DeadlineExceeded(MotetError):
    """The run did not finish by its deadline."""


class HistoryTooLong(MotetError):
    """A run has recorded more operations than one generation may hold; use `flow.restart`."""


class EndlessLoop(MotetError):
    """A workflow body keeps its event loop busy without ever waiting for anything durable."""


class ProcessKiller(MotetError):
    """A step or a workflow's body that was running each time its process died. It is parked."""


class Divergence(MotetError):
    """The code no longer does what the run's history says it did. The run is blocked, nothing is lost.

    Args:
        code: what the code does where the history goes another way, in words.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


# --- the store -------------------------------------------------------------------------------------------------


class StoreError(MotetError):
    """The root of what can go wrong with the store."""


class StoreMissing(StoreError):
    """There is no store at that place, and a read-only command never creates one."""


class StoreRefused(StoreError):
    """The store cannot be used as it is: another schema, a network file system, a handle carried over a fork."""


class StoreUnavailable(StoreError):
    """The store does not answer now (locked, full, failing). Workers wait and go on; clients may try again."""


class StoreRejected(StoreError):
    """The store refuses one record as data that it can never hold."""


class LeaseLost(StoreError):
    """Another worker has declared this one dead; what it tries to write is refused and its runs have moved."""
