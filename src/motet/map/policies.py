"""What has been decided about failure and time, and where it is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from motet.catalog import Entry, StepNote, line_of
from motet.choreography.reactions import ReactionNote
from motet.map.known import Known
from motet.model.clock import SECOND
from motet.model.history import STEPS

PolicyKind = Literal["retry", "timeout", "deadline", "compensation", "hold", "expectation", "remedy"]


class Policy(msgspec.Struct, frozen=True):
    """One decision.

    Args:
        value: seconds, a number of attempts, or a name; of a wait without one `none`, or what its
            source says where that has to be computed.
        events: of a wait's timeout, what it waits for: `a|b`.
    """

    kind: PolicyKind
    owner: str
    value: str | float
    place: str | None
    events: str | None = None


def policies_of(known: Known) -> list[Policy]:
    """All of them: those of workflows and their steps, of reactions, of expectations."""
    found = [policy for name, entry in sorted(known.workflows.items()) for policy in _of_workflow(name, entry)]
    found += [policy for name, note in sorted(known.reactions.items()) for policy in _of_reaction(name, note)]
    for name, expectation in sorted(known.expectations.items()):
        found.append(Policy("expectation", name, expectation.within / SECOND, expectation.place))
        if expectation.remedy is not None:
            found.append(Policy("remedy", name, expectation.remedy, expectation.place))
    return list(dict.fromkeys(found))


def _of_workflow(name: str, entry: Entry) -> Iterator[Policy]:
    if entry.deadline is not None:
        yield Policy("deadline", name, entry.deadline, entry.place)
    for item in entry.ahead:
        if item.kind == "wait":
            line = line_of(entry.place, item)
            yield Policy("timeout", name, "none" if item.timeout is None else item.timeout, line, item.name)
        elif item.kind in STEPS:
            for step in item.names:
                if step in entry.steps:
                    yield from _of_step(f"{name.partition('/')[0]}/{step}", entry.steps[step])


def _of_step(name: str, step: StepNote) -> Iterator[Policy]:
    place = step.declared or step.place
    if step.attempts is not None:
        yield Policy("retry", name, float(step.attempts), place)
    if step.timeout is not None:
        yield Policy("timeout", name, step.timeout, place)
    if step.compensation is not None:
        yield Policy("compensation", name, step.compensation, place)


def _of_reaction(name: str, note: ReactionNote) -> Iterator[Policy]:
    if note.starts is not None:
        return
    if note.attempts is not None:
        yield Policy("retry", name, float(note.attempts), note.place)
    if note.timeout is not None:
        yield Policy("timeout", name, note.timeout, note.place)
    if note.hold:
        yield Policy("hold", name, "later ones of its key", note.place)
