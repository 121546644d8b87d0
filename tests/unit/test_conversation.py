"""How the records of a conversation hang together, also where they are odd, cut off or made by somebody else."""

from __future__ import annotations

from typing import Any

import msgspec

from motet.choreography.expectations import ExpectationNote
from motet.choreography.reactions import ReactionNote
from motet.conversation.nodes import Conversation, Node
from motet.conversation.tree import Records, tell
from motet.conversation.twigs import RunRecords
from motet.model.clock import SECOND
from motet.model.delivery import DeliveryRow, DeliveryState
from motet.model.event import LoggedEvent
from motet.model.expected import Expected
from motet.model.failure import encode_fault
from motet.model.history import Recorded
from motet.model.identity import child_uid, new_uid
from motet.model.run import Run
from motet.status import build_status
from motet.store.protocol import CursorRow

NOW = 1_750_000_000 * SECOND


def an_event(position: int, type: str, cause: str | None = None, source: str = "shop", **more: Any) -> LoggedEvent:
    at = NOW + position * SECOND
    row = LoggedEvent(position, f"event-{position}", source, type, "42", at, at, "talk", cause, "{}")
    return row._replace(**more)


def a_reaction(name: str, *events: str, position: int = 1_000, paused: bool = False, **note: Any) -> CursorRow:
    definition = msgspec.json.encode(ReactionNote(events, **note)).decode()
    return CursorRow(f"shop/{name}", "reaction", position, 1, None, paused, 0, definition, 0, 0, NOW, NOW, 0)


def a_row(name: str, position: int, state: DeliveryState, **more: Any) -> DeliveryRow:
    row = DeliveryRow(f"shop/{name}", position, state, "42", 0, 0, None, None, None, NOW + position * SECOND + 1)
    return row._replace(**more)


def a_run(id: str, *history: Recorded, uid: str | None = None, **more: Any) -> RunRecords:
    run = Run(
        uid=uid or new_uid(NOW), id=id, workflow="shop/buy", version=1, state="completed", generation=1, epoch=1,
        owner=None, input=None, result=None, error=None, current=None, note=None, attributes=None, conversation="talk",
        cause=None, parent=None, created_at=NOW, started_at=NOW, ended_at=NOW + SECOND, deadline_at=None, wake_at=None,
        crashes=0, parked=None, python="3.11", fingerprint="f",
    )._replace(**more)  # fmt: skip
    return RunRecords(run, build_status(run, history, None, NOW + 100 * SECOND))


def a_fact(uid: str, position: int, op: str, kind: Any = "completed", operation_kind: Any = "step") -> Recorded:
    at = NOW + position * SECOND
    return Recorded(uid, 1, position, 0, op, operation_kind, kind, at, None, 1, at - 1000, None, None, None)


def told(
    *things: Any, cursors: tuple[CursorRow, ...] = (), notes: dict[str, ExpectationNote] | None = None
) -> Conversation:
    def of(kind: type) -> list[Any]:
        return [thing for thing in things if isinstance(thing, kind)]

    records = Records("talk", of(RunRecords), of(LoggedEvent), of(DeliveryRow), cursors, of(Expected), notes or {})
    return tell(records, NOW + 100 * SECOND)


def tree(found: Conversation) -> list[str]:
    """Each node on a line: `>` for each level, doubled where it is choreographed."""
    return [
        "  " * node.depth
        + {"choreographed": "~ ", "orchestrated": "- ", None: ""}[node.edge]
        + f"{node.name} {node.state}"
        for node in found.nodes
    ]


def node(found: Conversation, name: str) -> Node:
    (only,) = [node for node in found.nodes if node.name == name]
    return only


def test_a_run_has_its_steps_events_and_children() -> None:
    uid = new_uid(NOW)
    child = a_run(
        "child", uid=child_uid(uid, 1, "buy#1", NOW), cause=uid, parent=f"{uid}.1.buy#1", created_at=NOW + 2 * SECOND
    )
    run = a_run(
        "run", a_fact(uid, 1, "charge#1"), a_fact(uid, 3, "paid#1", "published", "publish"),
        a_fact(uid, 4, "buy#1", "completed", "child"), a_fact(uid, 5, "refund#1", "failed"), uid=uid,
    )  # fmt: skip
    own = an_event(3, "paid", uid, "shop/buy", id=f"{uid}.1.paid#1")
    by_step = an_event(4, "noted", f"{uid}.1.charge#1")
    assert tree(told(child, run, own, by_step)) == [
        "run completed",
        "  - charge#1 completed",
        "    - noted published",
        "  - child completed",
        "  - paid published",
        "  - refund#1 failed",
    ]


def test_a_step_in_flight_and_its_events() -> None:
    uid = new_uid(NOW)
    now = '[{"operation": "charge#1", "kind": "step", "name": "charge", "attempt": 1, "running": true}]'
    run = a_run("run", uid=uid, state="running", ended_at=None, current=now)
    found = told(run, an_event(1, "noted", f"{uid}.1.charge#1"), an_event(2, "lost", f"{uid}.1.unknown#1"))
    assert tree(found) == ["run running", "  - lost published", "  - charge#1 running", "    - noted published"]
    assert (found.open, found.seconds) == (2, 100.0)


def test_what_became_of_an_event_at_each_reaction() -> None:
    cursors = (
        a_reaction("done", "paid"),
        a_reaction("behind", "paid", position=0),
        a_reaction("paused", "p*", position=0, paused=True),
        a_reaction("other", "sent"),
        a_reaction("parked", "paid"),
        a_reaction("ahead", "paid", position=0),
        a_reaction("later", "paid")._replace(created_at=NOW + 50 * SECOND),
        a_reaction("all", "paid", since=0)._replace(created_at=NOW + 50 * SECOND),
    )
    rows = (
        a_row("parked", 1, "parked", attempts=8, error=encode_fault(ValueError("no"))),
        a_row("ahead", 1, "done"),
    )
    found = told(an_event(1, "paid"), *rows, cursors=cursors)
    assert {node.name: node.state for node in found.nodes[1:]} == {
        "shop/done": "delivered", "shop/behind": "pending", "shop/paused": "paused", "shop/parked": "parked",
        "shop/ahead": "delivered", "shop/all": "delivered",
    }  # fmt: skip
    parked = node(found, "shop/parked")
    assert (parked.attempts, parked.error, parked.edge) == (8, "ValueError: no", "choreographed")
    assert (found.open, found.failed) == (2, 1)


def test_nobody_but_one_run_hears_of_an_event_to_it() -> None:
    assert tree(told(an_event(1, "paid", recipient="run-7"), cursors=(a_reaction("done", "*"),))) == ["paid published"]


def test_what_a_reaction_published_and_started_hangs_on_it() -> None:
    cursors = (
        a_reaction("send", "paid", filtered=True), a_reaction("count", "paid", filtered=True),
        a_reaction("archive", "paid", starts="shop/buy"),
    )  # fmt: skip
    events = (an_event(1, "paid"), an_event(2, "sent", "event-1", "shop/send"), an_event(3, "seen", "event-1", "shop"))
    started = a_run("archived", cause="event-1", created_at=NOW + 4 * SECOND)
    found = told(*events, started, cursors=cursors)
    assert tree(found) == [
        "paid published",
        "  ~ shop/send delivered",
        "    ~ sent published",
        "  ~ seen published",
        "  ~ archived completed",
        "  ~ shop/count delivered",
    ]
    assert not node(found, "shop/send").filtered, "it has published, so it wanted the event"
    assert node(found, "shop/count").filtered


def test_a_missed_expectation_and_its_remedy() -> None:
    missed = Expected("shop/seat", "42", 1, "missed", "event-1", "talk", NOW, NOW + SECOND, missed_at=NOW + 2 * SECOND)
    announced = an_event(2, "motet.expectation.missed", "event-1", "motet", id="missed:shop/seat:1")
    remedy = a_run("refund", cause="missed:shop/seat:1")
    pager = a_reaction("page", "motet.*")
    notes = {"shop/seat": ExpectationNote("enrolled", "paid", SECOND)}
    found = told(an_event(1, "paid"), announced, missed, remedy, cursors=(pager,), notes=notes)
    assert tree(found) == [
        "paid published", "  ~ shop/seat missed", "    ~ refund completed", "    ~ shop/page delivered",
    ]  # fmt: skip
    assert (found.missed, node(found, "shop/seat").detail) == (1, "enrolled after paid")


def test_the_engines_own_events_are_shown_where_something_reacts_to_them() -> None:
    uid = new_uid(NOW)
    ended = an_event(1, "motet.run.completed", uid, "motet")
    assert tree(told(a_run("run", uid=uid), ended)) == ["run completed"]
    found = told(a_run("run", uid=uid), ended, cursors=(a_reaction("page", "motet.run.*"),))
    assert tree(found) == ["run completed", "  - motet.run.completed published", "    ~ shop/page delivered"]


def test_what_is_open_is_due_by_what_the_code_says_now() -> None:
    row = Expected("shop/seat", "42", 1, "open", "event-1", "talk", NOW)
    found = told(an_event(1, "paid"), row, notes={"shop/seat": ExpectationNote("enrolled", "paid", 3600 * SECOND)})
    assert node(found, "shop/seat").due == "2025-06-15T16:06:40.000Z"
    unknown = told(an_event(1, "paid"), row)
    assert (node(unknown, "shop/seat").due, unknown.open) == (None, 1)


def test_causes_that_lead_nowhere_or_in_a_circle_lose_nothing() -> None:
    events = (
        an_event(1, "one", "event-2"), an_event(2, "two", "event-1"), an_event(3, "self", "event-3"),
        an_event(4, "lost", "somebody-else"), an_event(5, "dotted", "event-4.1.x#1"),
    )  # fmt: skip
    names = sorted(node.name for node in told(*events).nodes)
    assert names == ["dotted", "lost", "one", "self", "two"]


def test_a_chain_as_long_as_can_be_shown() -> None:
    chain = [an_event(n, "ping", f"event-{n - 1}", "shop/pong") for n in range(1, 2_001)]
    found = told(*chain, cursors=(a_reaction("pong", "ping", position=10_000),))
    assert found.nodes[-1].depth == 2 * 1_999 + 1
    assert len(found.nodes) == 4_000
    msgspec.json.encode(found)
