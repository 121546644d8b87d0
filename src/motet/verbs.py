"""The verbs of an app: start, watch and steer runs, publish events; from any process, and inside one's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import EllipsisType
from typing import Any, TypeVar, overload

from motet.client import Client, RunHandle
from motet.coming import LitPlan
from motet.conversation.nodes import Conversation
from motet.delivery_verbs import DeliveryVerbs
from motet.drafting import Placing, Reuse
from motet.model.cloudevents import from_document
from motet.model.run import RunState
from motet.orchestration.definitions import Step, Workflow
from motet.places import refuse_in_body
from motet.retention_verbs import RetentionVerbs
from motet.status import RunStatus, RunSummary
from motet.store.protocol import RunFilter
from motet.within import Within

R = TypeVar("R")
I = TypeVar("I")  # noqa: E741 - the input's type; one letter, as type variables are


class ClientVerbs(DeliveryVerbs, RetentionVerbs):
    """The verbs as `App` has them."""

    @property
    def client(self) -> Client:
        """The open connection. Raises NotConnected."""
        raise NotImplementedError

    @property
    def within(self) -> Within:
        """What is started and published inside a transaction of the caller's; needs no connection of ours."""
        raise NotImplementedError

    @overload
    async def start(
        self, workflow: Workflow[I, R], input: I = ..., *, id: str, attributes: Mapping[str, Any] | None = ...,
        reuse: Reuse | None = ..., priority: int | None = ..., conn: object | None = ...,
    ) -> RunHandle[R]: ...  # fmt: skip

    @overload
    async def start(
        self, workflow: str, input: Any = ..., *, id: str, attributes: Mapping[str, Any] | None = ...,
        reuse: Reuse | None = ..., priority: int | None = ..., conn: object | None = ...,
    ) -> RunHandle[Any]: ...  # fmt: skip

    async def start(
        self, workflow: Workflow[Any, Any] | str, input: Any = None, *, id: str,
        attributes: Mapping[str, Any] | None = None, reuse: Reuse | None = None, priority: int | None = None,
        conn: object | None = None,
    ) -> RunHandle[Any]:  # fmt: skip
        """Start a run; when this returns, the run is durable.

        Args:
            workflow: the workflow, or its name.
            input: its one input.
            id: your business key. The same id again returns the same run.
            attributes: plain data to find and show the run by; children inherit them.
            reuse: "after_failure": if the run with this id has failed or was cancelled, start a new one.
            priority: among the runs of its queue, from -100 to 100; by default its workflow's.
            conn: your connection to the same database: started with your transaction, or not at all.

        Raises:
            RunExists: the id belongs to a run of another workflow or with another input.
            BadValue: the input or id cannot be recorded; nothing was written.
            WrongPlace: `conn` is no connection to this store, or has no transaction.
            UnknownWorkflow, NotConnected, PublishInWorkflow.
        """
        refuse_in_body("start", "flow.child(...)")
        if conn is not None:
            client = self.client
            within = self.within
            found = await within.soon(conn, within.start(workflow, input, id, attributes, reuse, priority))
            return client.handle(*found)
        return await self.client.start(workflow, input, id, attributes, reuse, priority)

    async def result(self, id: str) -> Any:
        """Wait for a run's end and return its result.

        Raises:
            the errors that its workflow declares, as themselves;
            RunFailed, RunCancelled; RunBlocked: it needs a person; RunNotFound;
            RunPruned, RunForgotten: it ended, and its result is not kept any more.
        """
        refuse_in_body("result", "flow.child(...)")
        return await self.client.result(id)

    async def status(self, id: str) -> RunStatus:
        """What step a run is in, what failed, and what would be undone. Raises RunNotFound."""
        refuse_in_body("status", "a step")
        return await self.client.status(id)

    async def plan(self, id: str) -> LitPlan:
        """What the run's workflow can do, by its source, and what the run has done of it, is at, and has ahead. Raises
        RunNotFound."""
        refuse_in_body("plan", "a step")
        return await self.client.plan(id)

    async def conversation(self, key: str) -> Conversation:
        """Every run, step, event and reaction that belongs together, as a tree of what caused what.

        Args:
            key: the conversation: the id of the run, or the key of the event, that began it; or the id of a run in it.

        Raises:
            ConversationNotFound: there is neither.
        """
        refuse_in_body("conversation", "a step")
        return await self.client.conversation(key)

    async def cancel(self, id: str, *, compensate: bool = True, reason: str | None = None) -> None:
        """Ask a run to stop: steps in flight are awaited, then what was done is undone unless `compensate` is
        false. Raises RunNotFound; NotPossible: it has ended."""
        refuse_in_body("cancel", "a step")
        await self.client.cancel(id, compensate, reason)

    async def retry(self, id: str, operation: str | None = None, *, note: str | None = None) -> None:
        """Try again what blocks a run: all of it, or one operation. Raises RunNotFound, NotPossible."""
        refuse_in_body("retry", "a step")
        await self.client.retry(id, operation, note)

    async def skip(self, id: str, operation: str | None = None, *, note: str | None = None) -> None:
        """Go on without what blocks a run, because a person has dealt with it. Raises RunNotFound, NotPossible."""
        refuse_in_body("skip", "a step")
        await self.client.skip(id, operation, note)

    async def rerun(
        self, run: str, *, from_step: Step[..., Any, Any] | str, input: Any | EllipsisType = ..., id: str | None = None
    ) -> RunHandle[Any]:
        """Start a new run that keeps another one's history before a step, and does everything from there on anew.

        What is kept is not done again, and is undone by the new run if that fails. So the other run has to have ended
        without undoing it, and no second rerun may keep it that still could.

        Args:
            run: the id of the run that is rerun.
            from_step: a step, or an operation of its history: `create_enrollment`, `create_enrollment#2`.
            input: the new run's; by default the same.
            id: the new run's; by default made of the other's.

        Raises:
            NotPossible: what would be kept was undone, or may still be; or does not fit this code and input.
            RunExists: the id is taken.
            RunNotFound, BadValue.
        """
        refuse_in_body("rerun", "a step")
        step = from_step if isinstance(from_step, str) else from_step.operation_name
        return await self.client.rerun(run, step, input, id)

    async def runs(
        self, *, workflow: str | None = None, state: RunState | None = None, conversation: str | None = None,
        limit: int = 50, before: str | None = None,
    ) -> list[RunSummary]:  # fmt: skip
        """Runs, newest first; `before` (a uid) begins the next page."""
        refuse_in_body("runs", "a step")
        states = (state,) if state is not None else ()
        return await self.client.runs(RunFilter(workflow, states, conversation, limit, before))

    async def publish(
        self, event: object, data: Any = None, *, key: str | None = None, id: str | None = None,
        to: str | None = None, time: datetime | None = None, conversation: str | None = None,
        traceparent: str | None = None, conn: object | None = None,
    ) -> str:  # fmt: skip
        """Publish an event from anywhere but a workflow body; durable when this returns.

        Args:
            event: an instance of a declared class, or a name.
            data: of a name.
            key: what it is about; by default the declared field.
            id: your own id: the same again within 7 days publishes nothing.
            to: the id of the only run that may hear of it.
            time: when it happened, with its time zone; by default now.
            conversation: by default that of the step or reaction that publishes, else the run `to`, else the key.
            traceparent: its W3C trace context.
            conn: your connection to the same database: published with your transaction, or not at all.

        Returns:
            the event's id.

        Raises:
            PublishInWorkflow: in a workflow body, use `flow.publish`.
            WrongPlace: `conn` is no connection to this store, or has no transaction.
            WrongType, BadValue, NotConnected.
        """
        refuse_in_body("publish", "flow.publish(...)")
        placing = Placing(id, to, time, conversation, traceparent)
        if conn is not None:
            within = self.within
            return await within.soon(conn, within.publish(event, data, key, placing))
        client = self.client
        return await client.publish(client.drafts.event(event, data, key, placing))

    async def publish_cloudevent(self, document: str | bytes | Mapping[str, Any], *, conn: object | None = None) -> str:
        """Publish a CloudEvent 1.0 that somebody else has made, in its JSON form; the same again (its source and id)
        within 7 days publishes nothing. Returns its id.

        Raises:
            WrongType: it is none; the message names the attribute.
            BadValue, DefinitionError, PublishInWorkflow, WrongPlace, NotConnected.
        """
        refuse_in_body("publish_cloudevent", "flow.publish(...)")
        received = from_document(document)
        if conn is not None:
            within = self.within
            return await within.soon(conn, within.publish_received(received))
        client = self.client
        return await client.publish(client.drafts.received(received))
