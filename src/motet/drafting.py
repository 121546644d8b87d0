"""The records of what somebody wants to start or publish: checked and encoded, not yet written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, cast

from motet.errors import BadValue, RunExists, WrongType
from motet.model.clock import Clock, as_datetime, from_datetime
from motet.model.cloudevents import Document
from motet.model.codec import canonical, check_text, encode
from motet.model.event import Announcement, identity
from motet.model.forgotten import is_forgotten
from motet.model.identity import new_uid
from motet.model.keyring import Keyring
from motet.model.run import Run
from motet.model.tombstone import Tombstone, digest_like
from motet.orchestration.attempt import inherited
from motet.orchestration.definitions import Workflow
from motet.orchestration.queues import checked_priority
from motet.orchestration.registry import Registry
from motet.runtime.carrying import PYTHON
from motet.store.mutations import AppendEvent, AppendOnce

Reuse = Literal["after_failure"]


class Placing(NamedTuple):
    """What a publisher may say of an event beside its type and data; None: as it comes by itself.

    Args:
        id: the publisher's own; the same again within 7 days publishes nothing.
        to: the id of the only run that may hear of it.
        time: when it happened, with its time zone.
        conversation: by default that of the step or reaction that publishes, else the event's key.
        traceparent: its W3C trace context.
    """

    id: str | None = None
    to: str | None = None
    time: datetime | None = None
    conversation: str | None = None
    traceparent: str | None = None


class Drafts:
    """Makes the records of one program.

    Args:
        source: who publishes: the app's name.
        limit: how many bytes a payload may have.
    """

    def __init__(self, registry: Registry, source: str, clock: Clock, limit: int) -> None:
        self._registry = registry
        self._source = source
        self._clock = clock
        self._limit = limit

    def run(
        self, workflow: Workflow[Any, Any] | str, input: Any, id: str, attributes: Mapping[str, Any] | None,
        priority: int | None,
    ) -> tuple[Workflow[Any, Any], Run]:  # fmt: skip
        """A run that nobody owns yet. Raises UnknownWorkflow, BadValue, WrongType."""
        definition = self._registry.meant(workflow)
        check_text(id, "a run's id")
        if priority is not None:
            checked_priority(priority, f"run '{id}'", BadValue)
        payload = self._input(definition, input)
        labels = encode(dict(attributes), f"the attributes of run '{id}'", self._limit) if attributes else None
        now = self._clock.now()
        cause = inherited()
        run = Run(
            uid=new_uid(now), id=id, workflow=definition.name, version=definition.version, state="pending",
            generation=1, epoch=0, owner=None, input=payload, result=None, error=None, current=None, note=None,
            attributes=labels, conversation=id if cause is None else cause.conversation,
            cause=None if cause is None else cause.id, parent=None, created_at=now, started_at=now, ended_at=None,
            deadline_at=None if definition.deadline is None else now + definition.deadline, wake_at=now, crashes=0,
            parked=None, python=PYTHON, fingerprint=self._registry.fingerprint, queue=definition.queue,
            priority=definition.priority if priority is None else priority,
            traceparent=None if cause is None else cause.traceparent,
        )  # fmt: skip
        return definition, run

    def _input(self, workflow: Workflow[Any, Any], input: Any) -> str | None:
        if workflow.input is None:
            if input is not None:
                raise WrongType(f"workflow {workflow.name} takes no input; start it without one")
            return None
        payload = encode(input, workflow.input_words, self._limit)
        workflow.input.decode(payload, workflow.input_words)
        return payload

    def event(self, event: object, data: Any, key: str | None, placing: Placing) -> AppendEvent | AppendOnce:
        """Raises WrongType, BadValue."""
        announced = self._registry.events.announce(event, data, key, self._limit, placing.to)
        if placing.id is None:
            return self._row(announced, self._source, placing)
        own = identity(self._source, check_text(placing.id, f"the id of event '{announced.type}'"))
        return AppendOnce(*self._row(announced, self._source, placing)._replace(id=own))

    def received(self, document: Document) -> AppendOnce:
        """A CloudEvent from outside, with its own source, id and time. Raises WrongType, BadValue."""
        checked = self._registry.events.receive(document, self._limit)
        placing = Placing(conversation=document.correlationid, traceparent=document.traceparent)
        row = self._row(checked, document.source, placing)
        time = row.time if document.time is None else document.time
        cause = document.causationid or row.causationid
        return AppendOnce(*row._replace(id=identity(document.source, document.id), time=time, causationid=cause))

    def _row(self, announced: Announcement, source: str, placing: Placing) -> AppendEvent:
        now = self._clock.now()
        uid = new_uid(now)
        cause = inherited()
        conversation = placing.conversation or (cause.conversation if cause is not None else None)
        return AppendEvent(
            uid, source, announced.type, announced.subject, now if placing.time is None else _micros(placing.time),
            now, check_text(conversation or announced.recipient or announced.subject or uid, "a conversation"),
            None if cause is None else cause.id, announced.data, announced.version, announced.recipient,
            placing.traceparent or (None if cause is None else cause.traceparent),
        )  # fmt: skip


def _micros(time: datetime) -> int:
    try:
        return from_datetime(time)
    except ValueError as error:
        raise BadValue(f"the time of an event is {time!r}: {error}") from error


def may_replace(winner: Run, reuse: Reuse | None) -> bool:
    """Whether a start may take the id from the run that has it."""
    return reuse == "after_failure" and winner.state in ("failed", "cancelled")


def check_same(
    workflow: Workflow[Any, Any], run: Run, winner: Run, pruned: Tombstone | None, keys: Keyring | None
) -> None:
    """The same id again is the same run. Raises RunExists: with another workflow or input it is a mistake.

    Args:
        pruned: all that is left of the winner.
        keys: with which the digests of tombstones may have been made.
    """
    if pruned is not None:
        _check_same_pruned(workflow, run, pruned, keys)
        return
    advice = f"choose another id, or read it with app.status('{run.id}')"
    if winner.workflow not in (workflow.name, *workflow.aliases):
        raise RunExists(f"run '{run.id}' exists and is of workflow {winner.workflow}; {advice}")
    given = winner.started_with
    if not is_forgotten(given) and not _same_input(workflow, winner._replace(input=given), run):
        raise RunExists(f"run '{run.id}' exists with another input; {advice}")


def _check_same_pruned(
    workflow: Workflow[Any, Any], run: Run, pruned: Tombstone, keys: Keyring | None
) -> None:  # fmt: skip
    """The input of a pruned run is known by its digest."""
    ended = f"run '{run.id}' ({pruned.state} {as_datetime(pruned.ended_at):%Y-%m-%d}, pruned since)"
    advice = "its id is never used twice; choose another id"
    if pruned.workflow not in (workflow.name, *workflow.aliases):
        raise RunExists(f"{ended} was of workflow {pruned.workflow}; {advice}")
    found = {digest_like(pruned, input, keys) for input in _ways_to_write(workflow, run)}
    if pruned.digest is not None and None not in found and pruned.digest not in found:
        raise RunExists(f"{ended} had another input; {advice}")


def _ways_to_write(workflow: Workflow[Any, Any], run: Run) -> set[str | None]:
    """The input as it was given, and as it is written with all of its defaults."""
    found = {run.input}
    if workflow.input is not None and run.input is not None:
        value = workflow.input.decode(run.input, f"the input of run '{run.id}'")
        found.add(canonical(_whole(value)).decode())
    return found


def _whole(value: Any) -> Any:
    """A decoded value with the defaults of its dataclasses, which decoding leaves to their classes."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _whole(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        mapping: dict[Any, Any] = value  # pyright: ignore[reportUnknownVariableType]
        return {key: _whole(one) for key, one in mapping.items()}
    if isinstance(value, list | tuple):
        return [_whole(one) for one in cast("list[Any]", value)]
    return value


def _same_input(workflow: Workflow[Any, Any], run: Run, other: Run) -> bool:
    """However it was written: with a default left out, or its fields in another order. Equal bytes are enough, for
    classes that do not know when two of them are equal."""
    if workflow.input is None or run.input is None or other.input is None:
        return True
    what = f"the input of run '{run.id}'"
    one = workflow.input.decode(run.input, what)
    try:
        two = workflow.input.decode(other.input, what)
    except WrongType:
        return False  # an older version's
    return bool(one == two) or canonical(one) == canonical(two)
