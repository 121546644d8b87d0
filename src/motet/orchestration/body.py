"""From calling the workflow's function to the run's end: what follows when the body has returned or raised.

Unwinding starts when every operation that has begun is settled: a step in flight may still charge after the body
has given up. So the order is: stop what the body left running, wait for what is in flight, undo, end.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import TYPE_CHECKING, Any

from motet.errors import BadValue, DeadlineExceeded, NeverAwaited, RunCancelled
from motet.model.clock import as_datetime
from motet.model.codec import encode, plain
from motet.model.failure import declared_class, encode_declared, encode_fault
from motet.model.history import Fact
from motet.model.run import RunState
from motet.orchestration import awaiting, timing
from motet.orchestration.commands import Finish, Restart, RestartSignal
from motet.orchestration.flow import Flow

if TYPE_CHECKING:
    from motet.orchestration.machine import Machine

log = logging.getLogger("motet.workflow")


async def call(machine: Machine, input: tuple[Any, ...]) -> str:
    """The body, and its result as it is recorded; `input` is what it takes behind its flow: one value or none."""
    workflow = machine.workflow
    try:
        value = await workflow.function(Flow(machine), *input)
    except RestartSignal:
        _refuse_unawaited(machine)
        raise
    _refuse_unawaited(machine)
    result = encode(value, workflow.result_words, machine.limit)
    workflow.result.decode(result, workflow.result_words)
    return result


def over(machine: Machine, main: asyncio.Task[str]) -> None:
    """The body has returned or raised. Mostly nothing is left to wait for, and the run ends at once."""
    error = asyncio.CancelledError() if main.cancelled() else main.exception()
    result = main.result() if error is None else None
    machine.body_over = True
    machine.restarting = isinstance(error, RestartSignal)
    if error is None and not machine.flight and not machine.loop.live_tasks():
        timing.stop_all(machine)
        awaiting.stop_all(machine)
        machine.end(Finish("completed", result=result))
    else:
        machine.ending = machine.loop.create_task(_end(machine, result, error))


async def _end(machine: Machine, result: str | None, error: BaseException | None) -> None:
    await _stop_leftovers(machine)
    await machine.settled(lambda op: True)
    if machine.late_stop is not None:  # ... while the last of this generation was awaited
        machine.stop = machine.late_stop
        error = asyncio.CancelledError()
    if error is None:
        machine.end(Finish("completed", result=result))
    elif isinstance(error, RestartSignal):
        machine.end(Restart(error.input))
    else:
        await _fail(machine, error)


async def _fail(machine: Machine, error: BaseException) -> None:
    """Undo what was done, then end as failed or cancelled."""
    if _compensates(machine):
        await machine.unwinding.run(lambda op: True)
    state, record = _ending(machine, error)
    if machine.pivoted:
        incident = machine.create("failure", "run")
        incident.error = record
        machine.stick(incident)
        while not incident.settled:
            await machine.something()
    machine.end(Finish(state, error=record))


def _compensates(machine: Machine) -> bool:
    stop = machine.stop
    if stop is None:
        return True
    if stop.kind == "deadline":
        return machine.workflow.compensate_on_deadline
    return bool(_said(stop).get("compensate", True))


def _said(stop: Fact) -> dict[str, Any]:
    """What whoever stops the run has said with it."""
    said: dict[str, Any] = plain(stop.payload) if stop.payload else {}
    return said


def _ending(machine: Machine, error: BaseException) -> tuple[RunState, str]:
    workflow = machine.workflow
    if isinstance(error, asyncio.CancelledError) and machine.stop is not None:
        if machine.stop.kind == "cancel":
            reason = _said(machine.stop).get("reason")
            words = f"run '{machine.identity.id}' was cancelled" + (f": {reason}" if reason else "")
            return "cancelled", encode_fault(RunCancelled(words), trace=False)
        due = as_datetime(machine.stop.due or machine.stop.at)
        late = DeadlineExceeded(f"run '{machine.identity.id}' did not finish by its deadline, {due:%F %T} UTC")
        return "failed", encode_fault(late, trace=False)
    declared = declared_class(error, workflow.raises)
    if declared is not None:
        try:
            return "failed", encode_declared(error, declared, f"workflow {workflow.name}", machine.limit)
        except BadValue as broken:
            error = broken
    return "failed", encode_fault(error)


def _refuse_unawaited(machine: Machine) -> None:
    # A task that is cancelled before it began closes its coroutine: that one was not forgotten.
    forgotten = [
        name
        for name, coroutine in machine.unstarted.items()
        if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED
    ]
    if forgotten:
        names = ", ".join(forgotten)
        raise NeverAwaited(
            f"workflow {machine.workflow.name} created {names} and never awaited it, so it was not done; "
            "write: await flow.step(...)"
        )


async def _stop_leftovers(machine: Machine) -> None:
    """Cancel what the body left running, tasks in the order of their creation; a scope is still undone to its end."""
    while left := [task for task in machine.loop.live_tasks() if task is not machine.ending]:
        for task in left:
            if task not in machine.undoing:
                task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
    timing.stop_all(machine)
    awaiting.stop_all(machine)


def warn_long(machine: Machine, count: int) -> None:
    """Said once per machine; muted in replay like all of a body's records."""
    if not machine.replaying:
        log.warning(
            "run '%s' has %d operations; its replay grows with each; end rounds with flow.restart(input)",
            machine.identity.id, count,
        )  # fmt: skip
