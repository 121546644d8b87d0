"""Crashes at moments that chance finds too seldom: each was once a bug, or nearly one."""

from __future__ import annotations

from motet.model.codec import plain
from motet.store.mutations import BeginGeneration
from tests.property.house import House, Plan, Store, cut_off, story
from tests.property.programs import Program
from tests.property.test_crashes import check

CALM = Plan(trouble=0)
STAY: Program = ["sleep", 1]
PAID: Program = ["seq", [["step", "a"], ["publish", 1], ["sleep", 50]]]


def commit_and_die(house: House) -> None:
    """Everything that waits is on disk; nobody was told."""
    house.store.apply(unit for unit, _ in house.queue)
    house.restart()


def published(store: Store) -> list[str]:
    """The types of all events but the engine's own."""
    return [event.type for event in store.events if event.source != "motet"]


def until_something_happens(house: House) -> None:
    """The first result or timer is reported, and waits to be written."""
    while not house.happen():
        house.settle()
        if not house.happenings or min(one.tick for one in house.happenings) > house.tick:
            house.next_tick()


def test_a_cancel_that_is_recorded_before_a_publish_that_a_crash_delayed() -> None:
    house = House(CALM, [PAID])
    until_something_happens(house)
    commit_and_die(house)  # the step is done, its drain has not published
    house.put_cancel()
    house.claim()
    commit_and_die(house)  # the cancel is recorded
    house.run()
    check(house)
    assert house.store.runs["0top"].state == "cancelled"
    assert published(house.store) == ["number.1"]


def test_a_cancel_beside_the_last_result_before_a_restart_reaches_the_next_generation() -> None:
    house = House(CALM, [["seq", [["step", "c"]]], ["sleep", 50]])
    until_something_happens(house)
    house.put_cancel()
    house.hear()
    commit_and_die(house)  # both are recorded: the result, with which the generation ends, and the cancel
    house.run()
    assert (house.store.runs["0top"].generation, house.store.runs["0top"].state) == (2, "cancelled")


def test_a_cancel_beside_the_last_result_before_a_restart_without_any_crash() -> None:
    house = House(CALM, [["seq", [["step", "c"]]], ["sleep", 50]])
    until_something_happens(house)
    house.put_cancel()
    house.hear()
    house.run()
    assert (house.store.runs["0top"].generation, house.store.runs["0top"].state) == (2, "cancelled")


def test_a_result_that_is_on_its_way_when_the_run_is_cancelled_is_undone_once_with_what_it_is() -> None:
    house = House(CALM, [["seq", [["step", "a"], ["sleep", 50]]]])
    house.settle()
    house.next_tick()
    house.put_cancel()
    house.hear()
    assert house.happen()  # the cancel stands before the result in one batch
    house.run()
    facts = [(op, kind) for _, op, kind, _, _ in story(house.store)["steps"]]
    assert facts == [("a#1", "completed"), ("undo_a#1", "completed")]


def test_a_child_that_was_given_up_before_its_start_was_durable_still_reports() -> None:
    house = House(CALM, [["seq", [["sleep", 1], ["child", ["sleep", 50]]]]])
    until_something_happens(house)
    house.put_cancel()
    house.hear()
    commit_and_die(house)  # the timer that leads to the child, and the cancel
    house.run()
    assert {run.id.partition("~")[0]: run.state for run in house.store.runs.values()} == {
        "top": "cancelled",
        "top/run_part#1": "cancelled",
    }


def test_a_cancel_that_is_heard_while_the_next_generation_is_being_written() -> None:
    house = House(CALM, [["seq", [["step", "c"]]], ["sleep", 50]])
    until_something_happens(house)
    house.commit()
    assert any(isinstance(row, BeginGeneration) for unit, _ in house.queue for row in unit)
    house.put_cancel()
    house.hear()
    house.run()
    assert (house.store.runs["0top"].generation, house.store.runs["0top"].state) == (2, "cancelled")


def test_two_timers_of_one_batch_whose_drains_have_not_published_when_the_process_dies() -> None:
    nap = ["seq", [["sleep", 1], ["publish", 1]]]
    house = House(Plan(batched=(True,)), [["gather", [nap, nap], False]])
    until_something_happens(house)
    assert len(house.queue) == 2
    commit_and_die(house)
    house.run()
    check(house)
    assert published(house.store) == ["number.1", "number.1"]


def test_a_deadline_that_passes_during_unwinding_holds_nothing_up() -> None:
    house = House(Plan(trouble=0, deadline=30), [["seq", [["step", "a"], ["fail", True]]]])
    until_something_happens(house)
    house.settle()  # the compensation is in flight
    house.tick = 100
    house.restart()
    house.run()
    assert house.store.runs["0top"].state == "failed"


def test_a_skip_that_was_recorded_is_seen_in_the_incidents_although_the_process_died() -> None:
    house = House(Plan(trouble=10), [["seq", [["gather", [["step", "b"], ["step", "b"]], True], ["fail", True]]]])
    while house.store.runs["0top"].state != "blocked":
        house.settle()
        house.happen() or house.next_tick()
    incidents = plain(house.store.runs["0top"].error or "")
    assert [row["operation"] for row in incidents] == ["undo_b#1", "undo_b#2"]
    house.put("skip", {"op": "undo_b#1"})
    house.hear()
    commit_and_die(house)
    house.settle()
    incidents = plain(house.store.runs["0top"].error or "")
    assert [row["operation"] for row in incidents] == ["undo_b#2"]


def test_a_publish_and_a_compensation_that_cannot_be_called_in_one_drain_keep_their_order() -> None:
    house = House(Plan(trouble=10), [["finally", ["step", "b"], ["publish", 1]]])
    house.run()
    check(house)
    kinds = [row.kind for row in house.store.history["0top", 1]]
    assert kinds == ["retrying", "failed", "published", "stuck", "skipped"]


def test_a_publish_and_a_step_that_is_given_up_in_its_backoff_in_one_drain_keep_their_order() -> None:
    says_goodbye = ["finally", ["sleep", 50], ["publish", 1]]
    given_up = 0
    for seed in range(40):
        for ticks in range(1, 6):
            plan = Plan(seed=seed, trouble=10)
            house = House(plan, [["catch", ["timeout", ticks, ["gather", [says_goodbye, ["step", "a"]], False]], STAY]])
            store = house.run()
            check(house)
            given_up += bool(cut_off(store))
    assert given_up, "no seed has led to it"
