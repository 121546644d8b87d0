"""Start, watch and steer runs, from any process."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Mapping
from typing import Any, Generic, Literal, TypeVar, cast, overload

from motet.errors import (
    BadValue,
    NotPossible,
    PublishInWorkflow,
    RunBlocked,
    RunCancelled,
    RunExists,
    RunFailed,
    RunNotFound,
    WrongType,
)  # fmt: skip
from motet.model.codec import canonical, check_text, encode, plain
from motet.model.event import EventRow
from motet.model.failure import decode_failure, rebuild
from motet.model.identity import new_uid
from motet.model.run import ENDED, Run, RunState
from motet.orchestration.definitions import Workflow, in_workflow_body
from motet.orchestration.queues import checked_priority
from motet.runtime.carrying import PYTHON
from motet.runtime.session import Session
from motet.runtime.waiting import Waiting
from motet.runtime.worker import Worker
from motet.status import RunStatus, RunSummary, build_status, incidents_of, summary_of
from motet.store.mutations import Mutation, PutInbox, RetireId
from motet.store.protocol import Receipt, RunFilter

R = TypeVar("R")
I = TypeVar("I")  # noqa: E741 - the input's type; one letter, as type variables are

Reuse = Literal["after_failure"]


class RunHandle(Generic[R]):
    """A started run."""

    __slots__ = ("_client", "_workflow", "id", "uid")

    def __init__(self, client: Client, workflow: Workflow[Any, R] | None, id: str, uid: str) -> None:
        self._client = client
        self._workflow = workflow
        self.id = id
        self.uid = uid

    async def result(self) -> R:
        """Wait for the run's end; see `App.result`."""
        _refuse_in_body("result", "flow.child(...)")
        return self._client.outcome(await self._client.waiting.settled(self.uid), self._workflow)

    async def status(self) -> RunStatus:
        """What step it is in, what failed, what would be undone."""
        _refuse_in_body("status", "a step")
        return await self._client.status(self.id)

    async def cancel(self, *, compensate: bool = True, reason: str | None = None) -> None:
        """Ask it to stop; see `App.cancel`."""
        _refuse_in_body("cancel", "a step")
        await self._client.cancel(self.id, compensate=compensate, reason=reason)

    def __repr__(self) -> str:
        return f"<run {self.id}>"


class Client:
    """One open connection: a session, and the worker if this process drives runs."""

    def __init__(self, session: Session, worker: Worker | None) -> None:
        self._session = session
        self._worker = worker
        self.store = self._store = session.store
        self._registry = session.registry
        self._clock = session.clock
        self._limit = session.settings.payload_limit_bytes
        self.waiting = Waiting(session, worker)

    @property
    def worker(self) -> Worker | None:
        """The worker that drives runs in this process, if it does."""
        return self._worker

    async def open(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.waiting.open()

    async def close(self) -> None:
        await self.waiting.close()

    def listen(self) -> asyncio.Event:
        """An event that is set when somebody has written to the store; clear it, then look."""
        return self._session.pulse.listen()

    # --- starting ---------------------------------------------------------------------------------------------

    async def start(
        self, workflow: Workflow[Any, Any] | str, input: Any, id: str, attributes: Mapping[str, Any] | None,
        reuse: Reuse | None, priority: int | None,
    ) -> RunHandle[Any]:  # fmt: skip
        definition = self._registry.workflow(workflow.name if isinstance(workflow, Workflow) else workflow)
        if priority is not None:
            checked_priority(priority, f"run '{id}'", BadValue)
        run = self._new_run(definition, input, id, attributes, priority)
        receipt = await self._submit_start([run], run)
        winner = receipt.lost.get(run.uid)
        if winner is not None and reuse == "after_failure" and winner.state in ("failed", "cancelled"):
            # Who remembers the newest token by the run's id must not take this one for an older owner.
            run = run._replace(epoch=winner.epoch + run.epoch)
            receipt = await self._submit_start([RetireId(winner.uid, winner.id), run], run)
            winner = receipt.lost.get(run.uid)
        if winner is None:
            return RunHandle(self, definition, run.id, run.uid)
        self._check_same(definition, run, winner)
        return RunHandle(self, definition, winner.id, winner.uid)

    async def _submit_start(self, mutations: list[Mutation], run: Run) -> Receipt:
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        worker = self._worker

        def done(receipt: Receipt) -> None:
            if worker is not None:
                worker.adopt(run, receipt)
            if not future.done():
                future.set_result(receipt)

        def failed(error: Exception) -> None:
            if worker is not None:
                worker.room.leave(run)
            if not future.done():
                future.set_exception(error)

        self._session.committer.submit(mutations, done, failed, fenced=False)
        return await future

    def _new_run(
        self, workflow: Workflow[Any, Any], input: Any, id: str, attributes: Mapping[str, Any] | None,
        priority: int | None,
    ) -> Run:  # fmt: skip
        check_text(id, "a run's id")
        what = workflow.input_words
        payload: str | None = None
        if workflow.input is not None:
            payload = encode(input, what, self._limit)
            workflow.input.decode(payload, what)
        elif input is not None:
            raise WrongType(f"workflow {workflow.name} takes no input; start it without one")
        labels = encode(dict(attributes), f"the attributes of run '{id}'", self._limit) if attributes else None
        now = self._clock.now()
        worker = self._worker
        owner = worker.committer.worker if worker is not None else None
        run = Run(
            uid=new_uid(now), id=id, workflow=workflow.name, version=workflow.version, state="running", generation=1,
            epoch=int(owner is not None), owner=owner, input=payload, result=None, error=None,
            current=None, note=None, attributes=labels, conversation=id, cause=None, parent=None, created_at=now,
            started_at=now, ended_at=None,
            deadline_at=None if workflow.deadline is None else now + workflow.deadline, wake_at=None, crashes=0,
            parked=None, python=PYTHON, fingerprint=self._registry.fingerprint, queue=workflow.queue,
            priority=workflow.priority if priority is None else priority,
        )  # fmt: skip
        return run if worker is not None and worker.make_room(run) else run.unowned()

    def _check_same(self, workflow: Workflow[Any, Any], run: Run, winner: Run) -> None:
        """The same id again is the same run; with another workflow or input it is a mistake."""
        advice = f"choose another id, or read it with app.status('{run.id}')"
        if winner.workflow not in (workflow.name, *workflow.aliases):
            raise RunExists(f"run '{run.id}' exists and is of workflow {winner.workflow}; {advice}")
        if not _same_input(workflow, winner._replace(input=winner.started_with), run):
            raise RunExists(f"run '{run.id}' exists with another input; {advice}")

    # --- reading ----------------------------------------------------------------------------------------------

    async def result(self, id: str) -> Any:
        run = await self._get(id)
        workflow = self._registry.workflows.get(run.workflow)
        return self.outcome(await self.waiting.settled(run.uid), workflow)

    def outcome(self, run: Run, workflow: Workflow[Any, R] | None) -> R:
        """The result of a run that has ended or is blocked; raises what it ended with."""
        if run.state == "completed":
            if workflow is None:
                return cast(R, plain(run.result or "null"))
            return workflow.result.decode(run.result or "null", f"the result of run '{run.id}'")
        if run.state == "blocked":
            reasons = "; ".join(f"{row.operation or row.kind}: {row.reason}" for row in incidents_of(run))
            raise RunBlocked(
                f"run '{run.id}' is blocked and needs a person: {reasons}; "
                f"see 'motet status {run.id}', then 'motet retry {run.id}' or 'motet skip {run.id}'"
            )
        if run.state == "cancelled":
            raise RunCancelled(f"run '{run.id}' was cancelled")
        failure = decode_failure(run.error or "null")
        declared = rebuild(failure, workflow.raises) if workflow is not None else None
        if declared is not None:
            raise declared
        raise RunFailed(f"run '{run.id}' failed: {failure}; see 'motet status {run.id}'")

    async def status(self, id: str) -> RunStatus:
        run = await self._get(id)
        history = (await self._store.histories([(run.uid, run.generation)]))[run.uid]
        catalog = await self._store.catalog(run.workflow, run.version)
        return build_status(run, history, catalog, self._clock.now())

    async def runs(self, filter: RunFilter) -> list[RunSummary]:
        return [summary_of(run) for run in await self._store.runs(filter)]

    async def _get(self, id: str) -> Run:
        run = await self._store.run(check_text(id, "a run's id"))
        if run is None:
            raise RunNotFound(
                f"there is no run '{id}' in {self._store.address}; 'motet runs' lists those that there are"
            )
        return run

    # --- steering ---------------------------------------------------------------------------------------------

    async def cancel(self, id: str, compensate: bool, reason: str | None) -> None:
        run = await self._get(id)
        if run.state in ENDED:
            raise NotPossible(f"run '{id}' has ended as {run.state}; there is nothing to cancel")
        await self._put(run, "cancel", {"compensate": compensate, "reason": reason})

    async def retry(self, id: str, operation: str | None, note: str | None) -> None:
        run = await self._get(id)
        self._incident(run, operation)
        await self._put(run, "retry", {"op": operation, "note": note})

    async def skip(self, id: str, operation: str | None, note: str | None) -> None:
        run = await self._get(id)
        found = self._incident(run, operation)
        if not found:
            raise NotPossible(
                f"run '{id}' is blocked because {run.parked}; there is no operation to skip: deploy the right code, "
                f"then 'motet retry {id}'"
            )
        for name in found:
            await self._put(run, "skip", {"op": name, "note": note})

    def _incident(self, run: Run, operation: str | None) -> builtins.list[str]:
        if run.state != "blocked":
            raise NotPossible(f"run '{run.id}' is {run.state}, not blocked; there is nothing to retry or skip")
        names = [incident.operation for incident in incidents_of(run) if incident.operation]
        if operation is None:
            return names
        if operation not in names:
            known = ", ".join(names) or "none"
            raise NotPossible(f"'{operation}' of run '{run.id}' does not need a person; what does: {known}")
        return [operation]

    async def _put(self, run: Run, kind: str, payload: dict[str, Any]) -> None:
        now = self._clock.now()
        text = encode(payload, f"the message to run '{run.id}'", self._limit)
        row = PutInbox(run.uid, f"{kind}:{new_uid(now)}", kind, text, now)
        await self._session.committer.write([row])
        self._session.pulse.ring()

    # --- events -----------------------------------------------------------------------------------------------

    async def publish(self, event: object, data: Any, key: str | None) -> str:
        announced = self._registry.events.announce(event, data, key, self._limit)
        now = self._clock.now()
        uid = new_uid(now)
        row = EventRow(uid, "motet", announced.type, announced.subject, now, now, uid, None, announced.data)
        await self._session.committer.write([row])
        return uid


def _same_input(workflow: Workflow[Any, Any], run: Run, other: Run) -> bool:
    """However it was written: with a default left out, or its fields in another order. Equal bytes are enough, for
    classes that do not know when two of them are equal."""
    if workflow.input is None or run.input is None or other.input is None:
        return True
    what = f"the input of run '{run.id}'"
    one, two = workflow.input.decode(run.input, what), workflow.input.decode(other.input, what)
    return bool(one == two) or canonical(one) == canonical(two)


def _refuse_in_body(verb: str, instead: str) -> None:
    if in_workflow_body():
        raise PublishInWorkflow(f"app.{verb} inside a workflow body would be done again in replay; use {instead}")


class ClientVerbs:
    """The verbs as `App` has them."""

    @property
    def client(self) -> Client:
        """The open connection. Raises NotConnected."""
        raise NotImplementedError

    @overload
    async def start(
        self, workflow: Workflow[I, R], input: I = ..., *, id: str, attributes: Mapping[str, Any] | None = ...,
        reuse: Reuse | None = ..., priority: int | None = ...,
    ) -> RunHandle[R]: ...  # fmt: skip

    @overload
    async def start(
        self, workflow: str, input: Any = ..., *, id: str, attributes: Mapping[str, Any] | None = ...,
        reuse: Reuse | None = ..., priority: int | None = ...,
    ) -> RunHandle[Any]: ...  # fmt: skip

    async def start(
        self, workflow: Workflow[Any, Any] | str, input: Any = None, *, id: str,
        attributes: Mapping[str, Any] | None = None, reuse: Reuse | None = None, priority: int | None = None,
    ) -> RunHandle[Any]:  # fmt: skip
        """Start a run; when this returns, the run is durable.

        Args:
            workflow: the workflow, or its name.
            input: its one input.
            id: your business key. The same id again returns the same run.
            attributes: plain data to find and show the run by; children inherit them.
            reuse: "after_failure": if the run with this id has failed or was cancelled, start a new one.
            priority: among the runs of its queue, from -100 to 100; by default its workflow's.

        Raises:
            RunExists: the id belongs to a run of another workflow or with another input.
            BadValue: the input or id cannot be recorded; nothing was written.
            UnknownWorkflow, NotConnected, PublishInWorkflow.
        """
        _refuse_in_body("start", "flow.child(...)")
        return await self.client.start(workflow, input, id, attributes, reuse, priority)

    async def result(self, id: str) -> Any:
        """Wait for a run's end and return its result.

        Raises:
            the errors that its workflow declares, as themselves;
            RunFailed, RunCancelled; RunBlocked: it needs a person; RunNotFound.
        """
        _refuse_in_body("result", "flow.child(...)")
        return await self.client.result(id)

    async def status(self, id: str) -> RunStatus:
        """What step a run is in, what failed, and what would be undone. Raises RunNotFound."""
        _refuse_in_body("status", "a step")
        return await self.client.status(id)

    async def cancel(self, id: str, *, compensate: bool = True, reason: str | None = None) -> None:
        """Ask a run to stop: steps in flight are awaited, then what was done is undone unless `compensate` is
        false. Raises RunNotFound; NotPossible: it has ended."""
        _refuse_in_body("cancel", "a step")
        await self.client.cancel(id, compensate, reason)

    async def retry(self, id: str, operation: str | None = None, *, note: str | None = None) -> None:
        """Try again what blocks a run: all of it, or one operation. Raises RunNotFound, NotPossible."""
        _refuse_in_body("retry", "a step")
        await self.client.retry(id, operation, note)

    async def skip(self, id: str, operation: str | None = None, *, note: str | None = None) -> None:
        """Go on without what blocks a run, because a person has dealt with it. Raises RunNotFound, NotPossible."""
        _refuse_in_body("skip", "a step")
        await self.client.skip(id, operation, note)

    async def runs(
        self, *, workflow: str | None = None, state: RunState | None = None, conversation: str | None = None,
        limit: int = 50, before: str | None = None,
    ) -> list[RunSummary]:  # fmt: skip
        """Runs, newest first; `before` (a uid) begins the next page."""
        _refuse_in_body("runs", "a step")
        states = (state,) if state is not None else ()
        return await self.client.runs(RunFilter(workflow, states, conversation, limit, before))

    async def publish(self, event: object, data: Any = None, *, key: str | None = None) -> str:
        """Publish an event from anywhere but a workflow body; durable when this returns.

        Returns:
            the event's id.

        Raises:
            PublishInWorkflow: in a workflow body, use `flow.publish`.
            WrongType, BadValue, NotConnected.
        """
        _refuse_in_body("publish", "flow.publish(...)")
        return await self.client.publish(event, data, key)
