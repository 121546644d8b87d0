"""From calling the workflow's function to the run's end: what follows when the body has returned or raised.

Unwinding starts when every operation that has begun is settled: a step in flight may still charge after the body
has given up. So the order is: stop what the body left running, wait for what is in flight, undo, end.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import TYPE_CHECKING

from motet.errors import BadValue, DeadlineExceeded, NeverAwaited
from motet.model.clock import as_datetime
from motet.model.codec import encode, plain
from motet.model.failure import declared_class, encode_declared, encode_fault
from motet.model.run import RunState
from motet.orchestration.commands import Finish, Restart
from motet.orchestration.flow import Flow, RestartSignal

if TYPE_CHECKING:
    from motet.orchestration.machine import Machine

log = logging.getLogger("motet.workflow")


async def run(machine: Machine) -> None:
    """The machine's main task."""
    result: str | None = None
    error: BaseException | None = None
    try:
        value = await _call(machine)
        _refuse_unawaited(machine)
        workflow = machine.workflow
        result = encode(value, f"the result of workflow {workflow.name}", machine.limit)
        workflow.result.decode(result, f"the result of workflow {workflow.name}")
    except BaseException as raised:
        if machine.leaving(type(raised)):
            raise
        error = raised
    machine.body_over = True
    await _stop_leftovers(machine)
    await machine.settled(lambda op: True)
    if isinstance(error, RestartSignal):
        machine.end(Restart(error.input))
    elif error is None:
        machine.end(Finish("completed", result=result))
    else:
        await _fail(machine, error)


async def _call(machine: Machine) -> object:
    flow = Flow(machine)
    workflow = machine.workflow
    if workflow.input is None:
        return await workflow.function(flow)
    text = machine.input if machine.input is not None else "null"
    return await workflow.function(flow, workflow.input.decode(text, f"the input of run '{machine.identity.id}'"))


async def _fail(machine: Machine, error: BaseException) -> None:
    """Undo what was done, then end as failed or cancelled."""
    if _compensates(machine):
        await machine.unwinding.run(lambda op: True)
    state, record = _ending(machine, error)
    if machine.pivoted:
        incident = machine.create("failure", "run")
        incident.error = record
        machine.stick(incident)
        await machine.unstuck([incident])
    machine.end(Finish(state, error=record))


def _compensates(machine: Machine) -> bool:
    stop = machine.stop
    if stop is None:
        return True
    if stop.kind == "deadline":
        return machine.workflow.compensate_on_deadline
    return bool(plain(stop.payload).get("compensate", True)) if stop.payload else True


def _ending(machine: Machine, error: BaseException) -> tuple[RunState, str]:
    workflow = machine.workflow
    if isinstance(error, asyncio.CancelledError) and machine.stop is not None:
        if machine.stop.kind == "cancel":
            return "cancelled", encode_fault(error, trace=False)
        late = DeadlineExceeded(
            f"run '{machine.identity.id}' did not finish by its deadline, {as_datetime(machine.stop.at):%F %T} UTC"
        )
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
    """Cancel the tasks that the body left running, in the order of their creation."""
    left = [task for task in machine.loop.live_tasks() if task is not machine.main]
    for task in left:
        task.cancel()
    if left:
        await asyncio.gather(*left, return_exceptions=True)


def warn_long(machine: Machine, count: int) -> None:
    """Said once per machine; muted in replay like all of a body's records."""
    if not machine.replaying:
        log.warning(
            "run '%s' has %d operations; its replay grows with each; end rounds with flow.restart(input)",
            machine.identity.id, count,
        )  # fmt: skip
