"""What looks odd on the map, and what does not; told from what is known alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from motet.catalog import Entry, StepNote
from motet.choreography.expectations import ExpectationNote
from motet.choreography.reactions import ReactionNote
from motet.map.findings import draw
from motet.map.known import NOTHING_SEEN, Known
from motet.orchestration.plan.nodes import Node
from motet.store.protocol import Traffic

STEPS = {
    "charge": StepNote(attempts=5, compensation="refund", place="flows.py:3"),
    "mail": StepNote(attempts=2, timeout=3.0, place="flows.py:9"),
    "seat": StepNote(compensation="free", publishes=("seat.taken",), place="flows.py:12"),
}


def a_flow(*verbs: str, deadline: float | None = None) -> Entry:
    """`step charge`, `publish paid`: each on a line of its own."""
    plan = [_node(number, *verb.split(" ", 1)) for number, verb in enumerate(verbs)]
    return Entry(STEPS, plan, place="flows.py:100", deadline=deadline)


def _node(number: int, kind: Any, name: str) -> Node:
    return Node(number, kind, name, 100 + number, name=name)


def a_reaction(*events: str, publishes: tuple[str, ...] = (), starts: str | None = None) -> ReactionNote:
    return ReactionNote(events, starts, attempts=8, place="edges.py:7", publishes=publishes)


def known(
    workflows: Mapping[str, Entry] | None = None, reactions: Mapping[str, ReactionNote] | None = None,
    expectations: Mapping[str, ExpectationNote] | None = None, seen: Traffic = NOTHING_SEEN,
) -> Known:  # fmt: skip
    return Known(dict(workflows or {}), dict(reactions or {}), dict(expectations or {}), seen=seen)


def found(known: Known) -> list[tuple[str, str]]:
    return [(finding.kind, finding.subject) for finding in draw(known).findings]


def test_events_that_nobody_reacts_to() -> None:
    flow = {"shop/buy": a_flow("publish paid", "publish sent", "step seat")}
    sheet = draw(known(flow, {"shop/mail": a_reaction("p*")}))
    assert [(one.kind, one.subject, one.place) for one in sheet.findings] == [
        ("nobody-reacts", "seat.taken", "flows.py:12"), ("nobody-reacts", "sent", "flows.py:101")
    ]  # fmt: skip
    assert found(known(flow, {"shop/mail": a_reaction("*")})) == []
    expected = {"shop/x": ExpectationNote("sent", "paid", 1), "shop/y": ExpectationNote("seat.taken", "paid", 1)}
    assert found(known(flow, expectations=expected)) == []
    assert ("nobody-reacts", "sent") not in found(known(flow | {"shop/other": a_flow("wait sent|paid")}))


def test_a_pattern_for_all_is_not_for_the_engines_own() -> None:
    sheet = draw(known({"shop/buy": a_flow("publish paid")}, {"shop/all": a_reaction("*")}))
    assert [one.name for one in sheet.events] == ["paid"]


def test_events_that_nobody_publishes() -> None:
    reactions = {"shop/mail": a_reaction("paid", "order.*")}
    expectations = {"shop/seat": ExpectationNote("seat.taken", "paid", 1)}
    nothing = known({"shop/buy": a_flow("wait approved")}, reactions, expectations)
    assert found(nothing) == [
        ("nobody-publishes", "paid"), ("nobody-publishes", "order.*"), ("nobody-publishes", "seat.taken"),
        ("nobody-publishes", "paid"), ("nobody-publishes", "approved"),
    ]  # fmt: skip
    seen = Traffic([("paid", "billing", 3), ("order.placed", "web", 1), ("seat.taken", "school", 1)], [], [])
    assert found(nothing._replace(seen=seen)) == [("nobody-publishes", "approved")]
    assert found(known(reactions={"shop/page": a_reaction("motet.run.failed", "motet.*")})) == []


def test_cycles_through_events_workflows_and_expectations() -> None:
    ping = {"a/ping": a_reaction("pong", publishes=("ping",)), "a/pong": a_reaction("ping", publishes=("pong",))}
    (cycle,) = draw(known(reactions=ping)).findings
    assert cycle.text.startswith("a/ping -> ping -> a/pong -> pong -> a/ping: ")
    flow = {"shop/buy": a_flow("publish paid")}
    assert found(known(flow, {"shop/buy": a_reaction("paid", starts="shop/buy")})) == [("cycle", "paid")]
    remedy = {"shop/x": ExpectationNote("paid", "paid", 1, remedy="shop/buy")}
    assert found(known(flow, expectations=remedy)) == [("cycle", "paid")]
    parent = {"shop/buy": a_flow("child ship"), "shop/ship": a_flow("child buy")}
    assert found(known(parent)) == [("cycle", "shop/buy")]


def test_a_workflow_started_by_the_end_of_any_is_started_by_its_own() -> None:
    flow = {"shop/audit": a_flow("step charge")}
    assert found(known(flow, {"shop/audit": a_reaction("motet.run.*", starts="shop/audit")})) == [
        ("cycle", "motet.run.blocked")
    ]
    assert found(known(flow, {"shop/page": a_reaction("motet.run.*")})) == []


def test_a_straight_way_is_no_cycle() -> None:
    chain = {"a/one": a_reaction("start", publishes=("two",)), "a/two": a_reaction("two", publishes=("end",))}
    seen = Traffic([("start", "web", 1)], [], [])
    assert found(known(reactions=chain, seen=seen)) == [("nobody-reacts", "end")]


def test_a_core_that_waits_for_an_edge() -> None:
    flow = {"shop/buy": a_flow("publish paid", "wait receipt.sent")}
    edge = {"shop/mail": a_reaction("paid", publishes=("receipt.sent",))}
    (finding,) = draw(known(flow, edge)).findings
    assert (finding.kind, finding.subject, finding.place) == ("core-waits-for-edge", "shop/buy", "flows.py:101")
    seen_too = Traffic([("receipt.sent", "web", 1)], [], [])
    assert found(known(flow, edge, seen=seen_too)) == [], "somebody else publishes it, too"
    unread = {"shop/mail": a_reaction("paid")}
    by_it = Traffic([("receipt.sent", "shop/mail", 1)], [], [])
    assert found(known(flow, unread, seen=by_it)) == [("core-waits-for-edge", "shop/buy")]


def test_a_last_step_that_could_be_a_reaction() -> None:
    def last(*verbs: str) -> list[tuple[str, str]]:
        return found(known({"shop/buy": a_flow(*verbs)}))

    assert last("step charge", "step mail", "sleep 5") == [("could-be-a-reaction", "shop/buy")]
    assert last("step mail") == [], "there is nothing to undo"
    assert last("step mail", "step charge") == [], "it is undone"
    assert last("step charge", "pivot ", "step mail") == [], "nothing is undone any more"
    assert last("step charge", "step mail", "child ship") == []


def test_policies_with_their_places() -> None:
    flow = {"shop/buy": a_flow("step charge", "step mail", "step charge", deadline=60.0)}
    expected = {"shop/x": ExpectationNote("a", "b", 5_000_000, remedy="shop/refund", place="edges.py:1")}
    policies = draw(known(flow, {"shop/mail": a_reaction("a")}, expected)).policies
    assert [(one.owner, one.kind, one.value, one.place) for one in policies] == [
        ("shop/buy", "deadline", 60.0, "flows.py:100"), ("shop/charge", "retry", 5.0, "flows.py:3"),
        ("shop/charge", "compensation", "refund", "flows.py:3"), ("shop/mail", "retry", 2.0, "flows.py:9"),
        ("shop/mail", "timeout", 3.0, "flows.py:9"), ("shop/mail", "retry", 8.0, "edges.py:7"),
        ("shop/x", "expectation", 5.0, "edges.py:1"), ("shop/x", "remedy", "shop/refund", "edges.py:1"),
    ]  # fmt: skip


def test_how_long_somebody_waits() -> None:
    waits = [
        Node(0, "wait", "approved|refused", 7, name="approved|refused", timeout=172_800.0),
        Node(1, "wait", "paid", 9, name="paid"),
    ]
    flow = {"shop/buy": Entry({}, waits, place="flows.py:1")}
    mail = {"shop/mail": ReactionNote(("a",), hold=True, timeout=2.0, place="edges.py:7")}
    policies = draw(known(flow, mail)).policies
    assert [(one.owner, one.kind, one.value, one.place, one.events) for one in policies] == [
        ("shop/buy", "timeout", 172_800.0, "flows.py:7", "approved|refused"),
        ("shop/buy", "timeout", "none", "flows.py:9", "paid"), ("shop/mail", "timeout", 2.0, "edges.py:7", None),
        ("shop/mail", "hold", "later ones of its key", "edges.py:7", None),
    ]  # fmt: skip


def test_a_source_that_cannot_be_read_says_nothing() -> None:
    assert found(known({"shop/buy": Entry()})) == []
