"""The synchronous face: the same verbs for Django, Flask and scripts, over an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from types import EllipsisType
from typing import Any, TypeVar

from motet.choreography.reactions import Reaction
from motet.coming import LitPlan
from motet.conversation.nodes import Conversation
from motet.deliveries import DeadLetter, ReactionStatus, ReplayFrom
from motet.drafting import Placing, Reuse
from motet.errors import NotConnected, WrongPlace
from motet.model.clock import Duration, seconds
from motet.model.cloudevents import from_document
from motet.model.run import RunState
from motet.orchestration.definitions import Step, Workflow
from motet.runtime.forgetting import Forgotten
from motet.runtime.pruning import Prunable, Pruned
from motet.status import RunStatus, RunSummary
from motet.verbs import ClientVerbs

T = TypeVar("T")
R = TypeVar("R")
I = TypeVar("I")  # noqa: E741 - the input's type; one letter, as type variables are


class SyncClient:
    """`app.sync`: connects when first used, and lets go at exit or with `close()`. Safe to use from many threads.

    Where the app is connected already, as in a worker whose plain steps use it, that connection serves.
    """

    def __init__(self, verbs: ClientVerbs, connect: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        self._verbs = verbs
        self._connect = connect
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection: AbstractAsyncContextManager[Any] | None = None

    def start(
        self, workflow: Workflow[I, R] | str, input: I | Any = None, *, id: str,
        attributes: Mapping[str, Any] | None = None, reuse: Reuse | None = None, priority: int | None = None,
        conn: object | None = None,
    ) -> str:  # fmt: skip
        """Start a run; when this returns, it is durable. Returns its id; see `App.start`.

        Args:
            conn: your connection to the same database: started with your transaction, or not at all.
        """
        if conn is not None:
            within = self._verbs.within
            return within.now(conn, within.start(workflow, input, id, attributes, reuse, priority))[0].id
        handle = self._run(
            self._verbs.start(workflow, input, id=id, attributes=attributes, reuse=reuse, priority=priority)
        )
        return handle.id

    def result(self, id: str, *, timeout: Duration | None = None) -> Any:
        """Wait for a run's result; see `App.result`. Raises TimeoutError: it took longer than `timeout`."""
        return self._run(self._verbs.result(id), timeout)

    def status(self, id: str) -> RunStatus:
        """See `App.status`."""
        return self._run(self._verbs.status(id))

    def plan(self, id: str) -> LitPlan:
        """See `App.plan`."""
        return self._run(self._verbs.plan(id))

    def conversation(self, key: str) -> Conversation:
        """See `App.conversation`."""
        return self._run(self._verbs.conversation(key))

    def cancel(self, id: str, *, compensate: bool = True, reason: str | None = None) -> None:
        """See `App.cancel`."""
        self._run(self._verbs.cancel(id, compensate=compensate, reason=reason))

    def retry(self, id: str, operation: str | None = None, *, note: str | None = None) -> None:
        """See `App.retry`."""
        self._run(self._verbs.retry(id, operation, note=note))

    def skip(self, id: str, operation: str | None = None, *, note: str | None = None) -> None:
        """See `App.skip`."""
        self._run(self._verbs.skip(id, operation, note=note))

    def rerun(
        self, run: str, *, from_step: Step[..., Any, Any] | str, input: Any | EllipsisType = ..., id: str | None = None
    ) -> str:
        """Start a rerun. Returns its id; see `App.rerun`."""
        return self._run(self._verbs.rerun(run, from_step=from_step, input=input, id=id)).id

    def runs(
        self, *, workflow: str | None = None, state: RunState | None = None, conversation: str | None = None,
        limit: int = 50, before: str | None = None,
    ) -> list[RunSummary]:  # fmt: skip
        """See `App.runs`."""
        return self._run(
            self._verbs.runs(workflow=workflow, state=state, conversation=conversation, limit=limit, before=before)
        )

    def publish(
        self, event: object, data: Any = None, *, key: str | None = None, id: str | None = None,
        to: str | None = None, time: datetime | None = None, conversation: str | None = None,
        traceparent: str | None = None, conn: object | None = None,
    ) -> str:  # fmt: skip
        """Publish an event. Returns its id; see `App.publish`.

        Args:
            conn: your connection to the same database: published with your transaction, or not at all.
        """
        placing = Placing(id, to, time, conversation, traceparent)
        if conn is not None:
            within = self._verbs.within
            return within.now(conn, within.publish(event, data, key, placing))
        return self._run(self._verbs.publish(event, data, key=key, **placing._asdict()))

    def publish_cloudevent(self, document: str | bytes | Mapping[str, Any], *, conn: object | None = None) -> str:
        """Publish a CloudEvent that somebody else has made. Returns its id; see `App.publish_cloudevent`."""
        if conn is not None:
            within = self._verbs.within
            return within.now(conn, within.publish_received(from_document(document)))
        return self._run(self._verbs.publish_cloudevent(document))

    def reaction_status(self) -> list[ReactionStatus]:
        """See `App.reaction_status`."""
        return self._run(self._verbs.reaction_status())

    def pause(self, reaction: Reaction | str) -> None:
        """See `App.pause`."""
        self._run(self._verbs.pause(reaction))

    def resume(self, reaction: Reaction | str) -> None:
        """See `App.resume`."""
        self._run(self._verbs.resume(reaction))

    def replay(self, reaction: Reaction | str, start: ReplayFrom) -> int:
        """See `App.replay`."""
        return self._run(self._verbs.replay(reaction, start))

    def forget(self, reaction: Reaction | str) -> None:
        """See `App.forget`."""
        self._run(self._verbs.forget(reaction))

    def dead_letters(
        self, *, reaction: Reaction | str | None = None, type: str | None = None, key: str | None = None,
        conversation: str | None = None, limit: int = 50, after: tuple[str, int] | None = None,
    ) -> list[DeadLetter]:  # fmt: skip
        """See `App.dead_letters`."""
        return self._run(
            self._verbs.dead_letters(
                reaction=reaction, type=type, key=key, conversation=conversation, limit=limit, after=after
            )
        )

    def redrive(
        self, reaction: Reaction | str | None = None, position: int | None = None, *, type: str | None = None,
        key: str | None = None, conversation: str | None = None,
    ) -> int:  # fmt: skip
        """See `App.redrive`."""
        return self._run(self._verbs.redrive(reaction, position, type=type, key=key, conversation=conversation))

    def discard(
        self, reaction: Reaction | str | None = None, position: int | None = None, *, type: str | None = None,
        key: str | None = None, conversation: str | None = None,
    ) -> int:  # fmt: skip
        """See `App.discard`."""
        return self._run(self._verbs.discard(reaction, position, type=type, key=key, conversation=conversation))

    def edit(self, reaction: Reaction | str, position: int, data: Any) -> None:
        """See `App.edit`."""
        self._run(self._verbs.edit(reaction, position, data))

    def prunable(self, *, older_than: timedelta) -> Prunable:
        """See `App.prunable`."""
        return self._run(self._verbs.prunable(older_than=older_than))

    def prune(self, *, older_than: timedelta) -> Pruned:
        """See `App.prune`."""
        return self._run(self._verbs.prune(older_than=older_than))

    def forget_conversation(self, key: str, *, force: bool = False) -> Forgotten:
        """See `App.forget_conversation`."""
        return self._run(self._verbs.forget_conversation(key, force=force))

    def close(self) -> None:
        """Let go of the store; the next call connects again."""
        with self._lock:
            loop, self._loop = self._loop, None
            connection, self._connection = self._connection, None
        if loop is not None and connection is not None:
            asyncio.run_coroutine_threadsafe(connection.__aexit__(None, None, None), loop).result(30)
            loop.call_soon_threadsafe(loop.stop)

    def _run(self, coroutine: Coroutine[Any, Any, T], timeout: Duration | None = None) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass  # no event loop runs here, which is what this face is for
        else:
            coroutine.close()
            raise WrongPlace(
                "app.sync blocks, and an event loop runs in this thread; use the async verbs: await app...."
            )
        try:
            loop = self._connected()
        except BaseException:
            coroutine.close()
            raise
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        try:
            return future.result(None if timeout is None else seconds(timeout))
        except TimeoutError:
            future.cancel()
            raise

    def _connected(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is not None:
                return self._loop
            try:
                return self._verbs.client.loop  # of the worker in this process: its plain steps come here
            except NotConnected:
                loop = asyncio.new_event_loop()
            threading.Thread(target=_serve, args=(loop,), name="motet-sync", daemon=True).start()
            connection = self._connect()
            try:
                asyncio.run_coroutine_threadsafe(connection.__aenter__(), loop).result(60)
            except BaseException:
                loop.call_soon_threadsafe(loop.stop)
                raise
            self._loop, self._connection = loop, connection
            atexit.register(self.close)
            return loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()
