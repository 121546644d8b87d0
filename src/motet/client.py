"""Start, watch and steer runs, from any process."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Mapping
from typing import Any, Generic, TypeVar, cast

import msgspec

from motet.coming import LitPlan
from motet.conversation.gathering import gather
from motet.conversation.nodes import Conversation
from motet.conversation.tree import tell
from motet.deliveries import Deliveries
from motet.drafting import Drafts, Reuse, check_same, may_replace
from motet.errors import (
    ConversationNotFound,
    NotPossible,
    RunBlocked,
    RunCancelled,
    RunExists,
    RunFailed,
    RunForgotten,
    RunNotFound,
)  # fmt: skip
from motet.lighting import lit_plan
from motet.model.codec import check_text, encode, plain
from motet.model.event import given_id
from motet.model.failure import decode_failure, rebuild
from motet.model.forgotten import is_forgotten
from motet.model.identity import new_uid
from motet.model.run import ENDED, Run, Version
from motet.model.tombstone import Tombstone, was_pruned
from motet.orchestration.definitions import Workflow
from motet.places import refuse_in_body, refuse_in_transaction
from motet.publishers import publishers_of
from motet.reasons import awaited_by
from motet.reruns import Reruns
from motet.runtime.session import Session
from motet.runtime.waiting import Waiting
from motet.runtime.worker import Worker
from motet.status import (
    RunStatus,
    RunSummary,
    build_status,
    incidents_of,
    status_of_pruned,
    summary_of,
)  # fmt: skip
from motet.store.mutations import AppendEvent, AppendOnce, Mutation, PutInbox, RetireId
from motet.store.protocol import Receipt, RunFilter
from motet.store.retention import Retaining

R = TypeVar("R")

AFTERWARDS = "leave it to a reaction without one"


class RunHandle(Generic[R]):
    """A started run."""

    __slots__ = ("_client", "_pruned", "_workflow", "id", "uid")

    def __init__(
        self, client: Client, workflow: Workflow[Any, R] | None, id: str, uid: str, pruned: Tombstone | None = None
    ) -> None:
        self._client = client
        self._workflow = workflow
        self._pruned = pruned
        self.id = id
        self.uid = uid

    async def result(self) -> R:
        """Wait for the run's end; see `App.result`."""
        refuse_in_body("result", "flow.child(...)")
        refuse_in_transaction("result", self._client.store.address, AFTERWARDS)
        if self._pruned is not None:
            raise was_pruned(self._pruned)
        return self._client.outcome(await self._client.waiting.settled(self.id, self.uid), self._workflow)

    async def status(self) -> RunStatus:
        """What step it is in, what failed, what would be undone."""
        refuse_in_body("status", "a step")
        return await self._client.status(self.id)

    async def cancel(self, *, compensate: bool = True, reason: str | None = None) -> None:
        """Ask it to stop; see `App.cancel`."""
        refuse_in_body("cancel", "a step")
        await self._client.cancel(self.id, compensate=compensate, reason=reason)

    def __repr__(self) -> str:
        return f"<run {self.id}>"


class Client:
    """One open connection: a session, and the worker if this process drives runs."""

    def __init__(self, session: Session, worker: Worker | None, drafts: Drafts) -> None:
        self._session = session
        self._worker = worker
        self.store = self._store = session.store
        self._registry = session.registry
        self.clock = self._clock = session.clock
        self.keys = session.settings.keys
        self._limit = session.settings.payload_limit_bytes
        self.drafts = drafts
        self.deliveries = Deliveries(session.store, session.clock, self._limit)
        self.waiting = Waiting(session, worker)
        self._reruns = Reruns(session.store, session.registry, session.clock, self._limit)

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
        refuse_in_transaction("start", self.store.address, "give it conn=")
        definition, draft = self.drafts.run(workflow, input, id, attributes, priority)
        run = self._mine(draft)
        receipt = await self._submit_start([run], run)
        winner = receipt.lost.get(run.uid)
        if winner is not None and may_replace(winner, reuse):
            # Who remembers the newest token by the run's id must not take this one for an older owner.
            run = run._replace(epoch=winner.epoch + run.epoch)
            receipt = await self._submit_start([RetireId(winner.uid, winner.id), run], run)
            winner = receipt.lost.get(run.uid)
        if winner is None:
            return RunHandle(self, definition, run.id, run.uid)
        pruned = receipt.pruned.get(run.uid)
        check_same(definition, run, winner, pruned, self.keys)
        return self.handle(winner, pruned)

    async def rerun(self, id: str, step: str, input: Any, new_id: str | None) -> RunHandle[Any]:
        refuse_in_transaction("rerun", self._store.address, AFTERWARDS)
        run, history = await self._reruns.draft(id, step, input, new_id)
        receipt = await self._submit_start([run, *history], run)
        if run.uid in receipt.lost:
            raise RunExists(f"run '{run.id}' exists; give the rerun of '{id}' another id")
        return self.handle(run, None)

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

    def _mine(self, run: Run) -> Run:
        """The start with this process as its owner, if a worker is here and has room."""
        worker = self._worker
        owner = worker.committer.worker if worker is not None else None
        if worker is None or owner is None:
            return run
        owned = run._replace(owner=owner, epoch=run.epoch + 1, state="running", wake_at=None)
        return owned if worker.make_room(owned) else run

    def handle(self, run: Run, pruned: Tombstone | None) -> RunHandle[Any]:
        """For a run that was started otherwise."""
        return RunHandle(self, self._registry.reading(run.workflow, run.version), run.id, run.uid, pruned)

    # --- reading ----------------------------------------------------------------------------------------------

    async def result(self, id: str) -> Any:
        refuse_in_transaction("result", self._store.address, AFTERWARDS)
        run = await self._get(id)
        workflow = self._registry.reading(run.workflow, run.version)
        return self.outcome(await self.waiting.settled(run.id, run.uid), workflow)

    def outcome(self, run: Run, workflow: Workflow[Any, R] | None) -> R:
        """The result of a run that has ended or is blocked; raises what it ended with."""
        if run.state == "completed":
            if is_forgotten(run.result):
                raise RunForgotten(f"run '{run.id}' completed and was forgotten; its result is erased")
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
        run = await self._store.run(check_text(id, "a run's id"))
        if run is None:
            return status_of_pruned(await self._tombstone(id))
        history = (await self._store.histories([(run.uid, run.generation)]))[run.uid]
        catalog = await self._store.catalog(run.workflow, run.version)
        events = awaited_by(run) if run.state not in ENDED else []
        publishers = await publishers_of(self._store, events) if events else None
        status = build_status(run, history, catalog, self._clock.now(), publishers)
        resting = run.owner is None and run.state not in ENDED
        stranded = resting and not await self._store.knowing(Version(run.workflow, run.version))
        return msgspec.structs.replace(status, stranded=stranded) if stranded else status

    async def plan(self, id: str, entries: Mapping[str, str] | None = None) -> LitPlan:
        """The lit plan of a run.

        Args:
            entries: by `workflow@version`, entries of the catalog to be read instead of the store's.
        """
        run = await self._get(id)
        history = (await self._store.histories([(run.uid, run.generation)]))[run.uid]
        text = (entries or {}).get(f"{run.workflow}@{run.version}")
        return lit_plan(run, history, text or await self._store.catalog(run.workflow, run.version))

    async def conversation(self, key: str) -> Conversation:
        now = self._clock.now()
        records = await gather(self._store, check_text(key, "a conversation"), now)
        if records is None:
            raise ConversationNotFound(
                f"there is no conversation '{key}' in {self._store.address}, nor a run with this id; a conversation is "
                "called by the id of the run or the key of the event that began it"
            )
        return tell(records, now)

    async def runs(self, filter: RunFilter) -> list[RunSummary]:
        return [summary_of(run) for run in await self._store.runs(filter)]

    async def _get(self, id: str) -> Run:
        run = await self._store.run(check_text(id, "a run's id"))
        if run is None:
            raise was_pruned(await self._tombstone(id))
        return run

    async def _tombstone(self, id: str) -> Tombstone:
        """Of a run that is not there. Raises RunNotFound: it never was."""
        store = self._store
        found = await store.tombstone(id) if isinstance(store, Retaining) else None
        if found is None:
            raise RunNotFound(f"there is no run '{id}' in {store.address}; 'motet runs' lists those that there are")
        return found

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
        refuse_in_transaction(kind, self._store.address, AFTERWARDS)
        now = self._clock.now()
        text = encode(payload, f"the message to run '{run.id}'", self._limit)
        row = PutInbox(run.uid, f"{kind}:{new_uid(now)}", kind, text, now)
        await self._session.committer.write([row])
        self._session.pulse.ring()

    # --- events -----------------------------------------------------------------------------------------------

    async def publish(self, row: AppendEvent | AppendOnce) -> str:
        refuse_in_transaction("publish", self._store.address, "use event.publish, or give it conn=")
        await self._session.committer.write([row])
        return given_id(row.source, row.id)
