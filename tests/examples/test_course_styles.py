"""The three styles: each with its own processes, all with the same faults, the same numbers and the same promises."""

import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from examples.course_purchase.chronicle import Story
from examples.course_purchase.entries import Attempt, Entry
from examples.course_purchase.inputs import generate
from examples.course_purchase.ledger_file import read_ledger
from examples.course_purchase.options import BadOptions, DemoOptions, choose_purchases, switch_place
from examples.course_purchase.styles import STYLES
from tests.examples.test_course_demo import KEYS, run

PURCHASES = 60


def chosen_seed() -> int:
    seed = random.randrange(10_000)
    print(f"seed {seed}")
    return seed


def check_sums(report: dict[str, int]) -> None:
    assert report["completed"] + report["declined"] + report["compensated"] == report["purchases"]
    assert report["charged"] - report["refunded"] == report["enrolled"] - report["removed"] == report["completed"]
    broken = ("blocked", "lost", "repeated_steps", "duplicate_effects")
    assert [report[name] for name in broken] == [0, 0, 0, 0]
    assert report["in_flight_at_kill"] >= 10 and report["unanswered_at_kill"] >= 1


def attempts_in(folder: Path) -> list[Attempt]:
    entries: list[Entry] = read_ledger(folder / "ledger.jsonl")
    return [entry for entry in entries if isinstance(entry, Attempt)]


def late_seats(attempts: list[Attempt]) -> set[str]:
    """Purchases that were refunded before they got a seat."""
    done = [(attempt.purchase, attempt.operation) for attempt in attempts if attempt.effects]
    place = {one: number for number, one in enumerate(done)}
    return {
        purchase
        for purchase, operation in done
        if operation == "enroll"
        and (purchase, "refund") in place
        and place[purchase, "refund"] < place[purchase, "enroll"]
    }


def test_choreographed_nobody_owns_a_purchase_and_silence_is_noticed(tmp_path: Path) -> None:
    seed = chosen_seed()
    asked = ("--style", "choreographed", "--purchases", str(PURCHASES), "--seed", str(seed))
    done = run(tmp_path, "--headless", "--json", *asked, "--keep", "kept")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert " ".join(report) == KEYS
    check_sums(report)
    assert report["worker_kills"] == 4
    failures = report["declined"] + report["compensated"]
    silent = {"enrollment_closed", "enroll_reply_always_lost", "enrollment_hangs"}
    meant = [purchase.id for purchase in generate(PURCHASES, seed) if purchase.trouble in silent]
    assert report["expectations_missed"] >= report["noticed"] >= len(meant) >= failures / 10
    attempts = attempts_in(tmp_path / "kept")
    late = late_seats(attempts)
    assert late, "a seat that came after the refund"
    removed = {attempt.purchase for attempt in attempts if attempt.operation == "remove" and attempt.effects}
    assert late <= removed
    callers = {
        operation: {a.caller for a in attempts if a.operation == operation} for operation in ("charge", "enroll")
    }
    assert callers == {"charge": {"billing"}, "enroll": {"enrollment"}}
    assert {"notification", "analytics"} <= {attempt.caller for attempt in attempts}


def test_hybrid_affiliates_fail_and_nobody_else_notices(tmp_path: Path) -> None:
    seed = chosen_seed()
    done = run(tmp_path, "--headless", "--json", "--purchases", str(PURCHASES), "--seed", str(seed), "--keep", "kept")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert " ".join(report) == KEYS
    check_sums(report)
    attempts = attempts_in(tmp_path / "kept")
    assert report["completed"] > 0  # where nobody owns it, a machine that is slow enough misses every time limit
    made = Counter(attempt.operation for attempt in attempts if attempt.effects)
    heard = [made[notice] for notice in ("mail", "count", "recommend")]
    assert heard == [report["completed"]] * 3, "everybody else has heard of every purchase, once"
    assert made["refer"] + report["dead_letters"] == report["completed"]
    assert 0 < report["dead_letters"] < report["completed"]
    assert report["reactions"] >= 3 * report["completed"]
    assert (report["expectations_missed"], report["noticed"]) == (0, 0)


def test_purchases_in_flight_end_in_the_style_they_began_in(tmp_path: Path) -> None:
    seed = chosen_seed()
    asked = ("--style", "choreographed", "--switch-to", "hybrid", "--at", "40", "--seed", str(seed))
    done = run(tmp_path, "--headless", "--json", *asked, "--purchases", "80", "--keep", "kept")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert " ".join(report) == f"{KEYS} switched_at in_flight_at_switch"
    check_sums(report)
    assert (report["switched_at"], report["worker_kills"]) == (40, 5)
    assert report["in_flight_at_switch"] >= 1
    callers: dict[str, set[str]] = {}
    for attempt in attempts_in(tmp_path / "kept"):
        callers.setdefault(attempt.purchase, set()).add(attempt.caller)
    purchases = [purchase.id for purchase in generate(80, seed)]
    assert all("billing" in callers[one] and "shop" not in callers[one] for one in purchases[:40])
    assert all(callers[one] == {"shop"} for one in purchases[40:])


def test_services_of_several_workers_are_killed_and_paused_all_through(tmp_path: Path) -> None:
    seed = chosen_seed()
    asked = ("--style", "choreographed", "--workers", "2", "--purchases", "40", "--seed", str(seed))
    done = run(tmp_path, "--json", *asked)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    check_sums(report)
    assert report["worker_kills"] > 6 and report["worker_pauses"] >= 1
    told = done.stderr
    assert re.search(r"Billing \d+, .*enrollment \d+, .*notification \d+, analytics \d+ drive 40 purchases", told)
    assert "$ motet conversation p000" in told
    assert "Every promise was kept" in told
    assert "failures that nobody has published, noticed" in told


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (["purchase.requested"], "lost"),
        (["payment.declined"], "declined"),
        (["payment.failed"], "compensated"),
        (["payment.captured"], "lost"),
        (["payment.captured", "seat"], "completed"),
        (["payment.captured", "no seat"], "lost"),
        (["payment.captured", "no seat", "payment.refunded"], "lost"),
        (["payment.captured", "no seat", "payment.refunded", "seat.released"], "compensated"),
        (["payment.captured", "seat.missing"], "lost"),
        (["payment.captured", "seat.missing", "payment.refunded", "seat"], "lost"),
        (["payment.captured", "seat.missing", "seat", "payment.refunded", "seat.released"], "compensated"),
    ],
)
def test_what_became_of_a_purchase_is_what_was_said_of_it(said: list[str], outcome: str) -> None:
    story = Story()
    for name in said:
        decided = {"seat": {"enrollment": {"id": "seat_1"}}, "no seat": {"enrollment": None}}.get(name)
        story.take("enrollment.decided" if decided is not None else name, decided or {})
    assert story.end.outcome == outcome


def test_what_cannot_be_switched_is_refused() -> None:
    with pytest.raises(BadOptions, match="there is no style 'baroque'; choose one of choreographed"):
        choose_purchases(DemoOptions(style="baroque"))
    with pytest.raises(BadOptions, match="from hybrid to orchestrated there is nothing to switch"):
        choose_purchases(DemoOptions(switch_to="orchestrated"))
    with pytest.raises(BadOptions, match="--switch-to is missing"):
        choose_purchases(DemoOptions(at=50))
    with pytest.raises(BadOptions, match="a switch at purchase 95 of 100 shows nothing"):
        choose_purchases(DemoOptions(style="choreographed", switch_to="hybrid", at=95, purchases=100))
    both = DemoOptions(style="choreographed", switch_to="hybrid", at=150)
    assert len(choose_purchases(both)) == 300, "what was asked for can be done"
    assert switch_place(both, 300) == ("choreographed", "hybrid", 150)
    assert len(choose_purchases(DemoOptions())) == 100
    assert STYLES == ("choreographed", "orchestrated", "hybrid")
