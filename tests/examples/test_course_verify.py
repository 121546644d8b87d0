"""The check is worth something: each broken promise is found, in a ledger that is right but for this one
thing."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from examples.course_purchase.book import Book
from examples.course_purchase.entries import Attempt, Entry, Mark
from examples.course_purchase.outside import in_flight
from examples.course_purchase.protocol import Call, Operation
from examples.course_purchase.verify import RunEnd, StoryEnd, Switch, Told, Verdict, Ways, verify

COMPLETED = RunEnd("completed")
DECLINED = RunEnd("failed", "CardDeclined")
FULL = RunEnd("failed", "CourseFull")


class Story:
    """A ledger's entries as they come about, with the runs beside them. Keys are honoured."""

    def __init__(self) -> None:
        self.book = Book()
        self.entries: list[Entry] = []
        self.ends: dict[str, RunEnd] = {}
        self.in_flight_at_kill = 10
        self.withholding = False
        self.told = Told(events=12, reactions=7, dead_letters=1, expectations_missed=3, noticed=2)
        self.ways: dict[str, Ways] = {}
        self.switch: Switch | None = None
        self.processes = 1

    def attempt(
        self,
        operation: Operation,
        purchase: str,
        *,
        key: str | None = None,
        number: int = 1,
        token: int = 1,
        declined: bool = False,
        caller: str = "shop",
        line: str | None = None,
    ) -> Attempt:
        owner = line or f"purchase-{purchase}"
        call = Call(operation, key or f"{operation}-{purchase}", number, token, purchase, caller=caller, line=owner)
        call = replace(call, trouble="card_declined" if declined else None)
        attempt = self.book.take(call, withholding=self.withholding)
        self.entries.append(attempt)
        return attempt

    def acknowledge(self, key: str) -> None:
        self.entries.append(self.book.acknowledge(key, "step", 1))

    def complete(self, purchase: str) -> None:
        for operation in ("charge", "enroll"):
            self.attempt(operation, purchase)
            self.acknowledge(f"{operation}-{purchase}")
        self.ends[purchase] = COMPLETED

    def compensate(self, purchase: str, *operations: Operation) -> None:
        for operation in operations:
            self.attempt(operation, purchase)
        self.ends[purchase] = FULL

    def kill(self) -> None:
        """Withhold the answer to one charge, kill, and let the successor find it by its key."""
        self.withholding = True
        self.attempt("charge", "killed")
        self.entries.append(self.book.mark("worker_killed"))
        self.withholding = False
        self.entries.append(self.book.mark("released"))
        self.complete("killed")

    def verdict(self, workers: int = 1) -> Verdict:
        return verify(
            self.entries,
            list(self.ends),
            self.ends,
            in_flight_at_kill=self.in_flight_at_kill,
            seconds=1.23456,
            workers=workers,
            processes=self.processes,
            told=self.told,
            ways=self.ways,
            switch=self.switch,
        )


@pytest.fixture
def story() -> Story:
    """Six purchases, one of each outcome that is right."""
    told = Story()
    told.complete("good")
    told.attempt("charge", "poor", declined=True)
    told.ends["poor"] = DECLINED
    told.compensate("full", "charge", "refund")
    told.compensate("unknown", "charge", "enroll", "remove", "refund")
    told.compensate("nothing", "refund")
    told.kill()
    return told


def test_a_right_ledger_breaks_nothing_and_gives_exactly_these_numbers(story: Story) -> None:
    verdict = story.verdict()
    assert verdict.broken == []
    assert verdict.report.as_dict() == {
        "purchases": 6,
        "completed": 2,
        "declined": 1,
        "compensated": 3,
        "blocked": 0,
        "charged": 4,
        "enrolled": 3,
        "removed": 1,
        "refunded": 2,
        "duplicate_effects": 0,
        "repeated_steps": 0,
        "lost": 0,
        "worker_kills": 1,
        "in_flight_at_kill": 10,
        "unanswered_at_kill": 1,
        "seconds": 1.235,
        "events": 12,
        "reactions": 7,
        "dead_letters": 1,
        "expectations_missed": 3,
        "noticed": 2,
    }


def never_refunded(story: Story) -> None:
    story.compensate("bad", "charge")


def refunded_though_completed(story: Story) -> None:
    story.attempt("refund", "good")


def never_enrolled(story: Story) -> None:
    story.attempt("charge", "bad")
    story.ends["bad"] = COMPLETED


def seat_left_behind(story: Story) -> None:
    story.compensate("bad", "charge", "enroll", "refund")


def two_wrongs_that_add_up(story: Story) -> None:
    """One completed without anything, one failed with everything: the sums alone are right."""
    story.ends["bad"] = COMPLETED
    story.compensate("worse", "charge", "enroll")


def charged_under_a_new_key(story: Story) -> None:
    story.attempt("charge", "good", key="another")


def charged_twice_and_refunded_twice(story: Story) -> None:
    """The balance is right; the learner's bank statement is not."""
    story.attempt("charge", "full", key="another")
    story.attempt("refund", "full", key="another-too")


def refunded_twice(story: Story) -> None:
    paid = story.attempt("charge", "bad").effects[0].id
    for key in ("one", "two"):
        story.entries.append(story.book.take(Call("refund", key, 1, 1, "bad", effect=paid), withholding=False))
    story.ends["bad"] = FULL


def completed_step_ran_again(story: Story) -> None:
    story.attempt("charge", "good", number=2)


def run_lost(story: Story) -> None:
    story.ends["bad"] = RunEnd("running")


def run_blocked(story: Story) -> None:
    story.ends["bad"] = RunEnd("blocked")


def declined_though_charged(story: Story) -> None:
    story.compensate("bad", "charge", "refund")
    story.ends["bad"] = DECLINED


def done_without_a_start(story: Story) -> None:
    story.attempt("charge", "stranger")
    story.attempt("refund", "stranger")


def one_key_for_two_things(story: Story) -> None:
    story.attempt("enroll", "poor", key="charge-good")


def no_kill(story: Story) -> None:
    story.entries = [entry for entry in story.entries if not isinstance(entry, Mark)]


def two_kills(story: Story) -> None:
    story.entries.append(story.book.mark("worker_killed"))


def too_few_in_flight(story: Story) -> None:
    story.in_flight_at_kill = 9


def released_before_the_kill(story: Story) -> None:
    killed = next(i for i, entry in enumerate(story.entries) if isinstance(entry, Mark))
    story.entries.insert(killed, story.book.mark("released"))


def made_by_one_that_was_declared_dead(story: Story) -> None:
    story.attempt("charge", "bad", token=2)
    story.attempt("enroll", "bad", token=1)
    story.ends["bad"] = COMPLETED


def heard_by_nobody(story: Story) -> None:
    story.told.notices["mail", "good"] += 1


def heard_twice(story: Story) -> None:
    story.told.notices["count", "good"] += 1
    for key in ("one", "two"):
        story.attempt("count", "good", key=key)


def nobody_should_have_heard(story: Story) -> None:
    story.attempt("count", "poor")


def ended_in_another_style(story: Story) -> None:
    story.ways["good"] = Ways(frozenset({"billing", "enrollment"}))


def owned_by_two(story: Story) -> None:
    story.ways["full"] = Ways(frozenset({"shop"}), "purchase-full")
    story.attempt("refund", "full", key="another", line="refund-full")


def switched_when_nothing_was_in_flight(story: Story) -> None:
    story.switch = Switch(at=3, in_flight=0)


def one_of_four_services_not_killed(story: Story) -> None:
    story.processes = 4
    two_kills(story)
    two_kills(story)


@pytest.mark.parametrize(
    ("wrong", "complaints"),
    [
        (never_refunded, ["charged - refunded is 3, but 2", "bad compensated with 1 payments and 0 seats"]),
        (
            refunded_though_completed,
            ["charged - refunded is 1, but 2", "good completed with 0 payments and 1 seats"],
        ),
        (never_enrolled, ["enrolled - removed is 2, but 3", "bad completed with 1 payments and 0 seats"]),
        (seat_left_behind, ["enrolled - removed is 3, but 2", "bad compensated with 0 payments and 1 seats"]),
        (
            two_wrongs_that_add_up,
            ["2 purchases ended otherwise than the ledger says: bad completed with 0 payments"],
        ),
        (
            charged_under_a_new_key,
            ["charged - refunded is 3, but 2", "1 effects were made twice", "good completed with 2 payments"],
        ),
        (charged_twice_and_refunded_twice, ["1 effects were made twice"]),
        (
            refunded_twice,
            ["charged - refunded is 1, but 2", "1 effects were made twice", "bad compensated with -1"],
        ),
        (completed_step_ran_again, ["1 attempts came after their step's record was durable"]),
        (run_lost, ["1 accepted purchases have no ended run: lost is 1"]),
        (run_blocked, ["1 runs are blocked"]),
        (declined_though_charged, ["1 declined purchases were charged: bad"]),
        (done_without_a_start, ["1 purchases are in the ledger whose start was never accepted: stranger"]),
        (one_key_for_two_things, ["1 idempotency keys were used for two things: charge-good"]),
        (made_by_one_that_was_declared_dead, ["1 effects were made by a worker that had been declared dead before"]),
        (no_kill, ["the worker was killed 0 times, not once", "0 effects were unanswered at the kill"]),
        (two_kills, ["the worker was killed 2 times, not once"]),
        (too_few_in_flight, ["9 runs were in flight at the kill, not 10 or more"]),
        (
            heard_by_nobody,
            ["1 times somebody heard of a purchase too often or too seldom: mail for good: 0 instead of 1"],
        ),
        (heard_twice, ["count for good: 2 instead of 1"]),
        (nobody_should_have_heard, ["count for poor: 1 instead of 0"]),
        (ended_in_another_style, ["1 purchases did not end in the style that they began in: good"]),
        (owned_by_two, ["1 purchases had another owner than their run: full"]),
        (switched_when_nothing_was_in_flight, ["no purchase was in flight at the switch"]),
        (one_of_four_services_not_killed, ["the worker was killed 3 times, not 4 times, once each"]),
        (released_before_the_kill, ["0 effects were unanswered at the kill, not 1 or more"]),
    ],
)
def test_each_broken_promise_is_named(story: Story, wrong: Callable[[Story], None], complaints: Sequence[str]) -> None:
    wrong(story)
    broken = story.verdict().broken
    for complaint in complaints:
        assert any(complaint in sentence for sentence in broken), broken


def test_a_completed_step_that_ran_again_is_all_that_is_broken_by_it(story: Story) -> None:
    """With keys honoured nothing else shows it: no effect is made twice, and all sums are right."""
    completed_step_ran_again(story)
    assert len(story.verdict().broken) == 1


def test_a_late_request_of_one_that_was_declared_dead_may_come_if_it_changes_nothing(story: Story) -> None:
    for operation in ("charge", "enroll"):
        story.attempt(operation, "late", token=2)
        story.acknowledge(f"{operation}-late")
    story.ends["late"] = COMPLETED
    story.attempt("charge", "late", token=1)
    assert story.verdict().broken == []


def test_several_workers_must_be_killed_and_must_be_paused(story: Story) -> None:
    assert story.verdict(workers=4).broken == ["no worker stood still until the others had declared it dead"]
    story.entries.append(story.book.mark("worker_paused"))
    two_kills(story)
    verdict = story.verdict(workers=4)
    assert verdict.broken == []
    numbers = verdict.report.as_dict()
    assert (numbers["workers"], numbers["worker_kills"], numbers["worker_pauses"]) == (4, 2, 1)
    no_kill(story)
    assert "no worker was killed" in story.verdict(workers=4).broken


def test_an_accepted_start_without_any_run_is_lost(story: Story) -> None:
    accepted = [*story.ends, "vanished"]
    verdict = verify(story.entries, accepted, story.ends, in_flight_at_kill=10, seconds=1)
    assert (verdict.report.lost, verdict.report.purchases) == (1, 7)
    assert any("lost is 1" in sentence for sentence in verdict.broken)


def test_in_flight_are_those_that_had_reached_the_outside_and_not_ended(story: Story) -> None:
    story.attempt("charge", "after-the-kill")
    assert in_flight(story.entries, ended={"good", "poor", "full"}) == 3
    assert in_flight(story.entries, ended={"good", "poor", "full", "unknown", "nothing", "killed"}) == 0


def test_what_is_as_the_style_wants_it_breaks_nothing(story: Story) -> None:
    story.ways = {purchase: Ways(frozenset({"shop"}), f"purchase-{purchase}") for purchase in story.ends}
    story.switch = Switch(at=3, in_flight=2)
    story.told.notices["mail", "good"] += 1
    story.attempt("mail", "good", line="shop/mail_receipt")
    story.told.notices["refer", "good"] += 0  # an event and its dead letter
    verdict = story.verdict()
    assert verdict.broken == []
    numbers = verdict.report.as_dict()
    assert (numbers["switched_at"], numbers["in_flight_at_switch"]) == (3, 2)


def test_each_line_of_owners_has_tokens_of_its_own(story: Story) -> None:
    """A service that reacts for the first time is not one that was declared dead."""
    story.attempt("charge", "many", token=5, line="payment-many", caller="billing")
    story.attempt("enroll", "many", token=2, line="enrollment/keep_seats", caller="enrollment")
    story.attempt("refund", "many", token=1, line="refund-many", caller="billing")
    story.attempt("remove", "many", token=2, line="enrollment/keep_seats", caller="enrollment")
    story.ends["many"] = FULL
    assert story.verdict().broken == []
    story.attempt("enroll", "many", token=1, line="enrollment/keep_seats", caller="enrollment", key="stale")
    story.ends["many"] = FULL
    assert any("declared dead before" in sentence for sentence in story.verdict().broken)


def test_a_purchase_without_owner_has_ended_when_its_events_say_so() -> None:
    assert [StoryEnd(outcome).ended for outcome in ("completed", "declined", "compensated")] == [True] * 3
    assert [StoryEnd(outcome).ended for outcome in ("lost", "blocked")] == [False, False]


def test_a_cancelled_run_counts_as_compensated() -> None:
    assert RunEnd("cancelled").outcome == "compensated"
    assert RunEnd("waiting").outcome == "lost"
