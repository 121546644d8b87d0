"""The book decides rightly: keys honoured or ignored, undone by name or by looking it up."""

import pytest

from examples.course_purchase.book import Book, reply_to
from examples.course_purchase.entries import Attempt, Entry
from examples.course_purchase.protocol import Call, Operation, Reply
from examples.course_purchase.purchases import Trouble


def call(
    operation: Operation,
    key: str,
    *,
    attempt: int = 1,
    purchase: str = "p1",
    trouble: Trouble | None = None,
    effect: str | None = None,
) -> Call:
    return Call(operation, key, attempt, 1, purchase, trouble, effect, cents=100)


def take(book: Book, wanted: Call, *, withholding: bool = False) -> Attempt:
    return book.take(wanted, withholding=withholding)


def test_a_repeated_key_gets_the_first_result_and_changes_nothing() -> None:
    book = Book()
    first = take(book, call("charge", "k1"))
    again = take(book, call("charge", "k1", attempt=2))
    assert [effect.id for effect in first.effects] == ["pay_1"]
    assert (again.effects, again.duplicate_of) == ((), "pay_1")
    assert reply_to(again) == reply_to(first) == Reply("done", "pay_1")


def test_a_book_that_ignores_keys_does_the_work_again() -> None:
    book = Book(honours_keys=False)
    assert take(book, call("charge", "k1")).effects[0].id == "pay_1"
    assert take(book, call("charge", "k1", attempt=2)).effects[0].id == "pay_2"


def test_an_earlier_process_of_the_ledger_is_remembered() -> None:
    before = Book()
    written: list[Entry] = [
        take(before, call("charge", "k1")),
        before.mark("withholding"),
        before.acknowledge("k1", "pay", 1),
    ]
    book = Book()
    book.replay(written)
    again = take(book, call("charge", "k1", attempt=2))
    assert (again.number, again.duplicate_of) == (4, "pay_1")
    assert take(book, call("refund", "k2")).effects[0].undoes == "pay_1"


def test_an_undo_by_name_undoes_that_effect() -> None:
    book = Book()
    take(book, call("enroll", "k1"))
    removed = take(book, call("remove", "k2", effect="seat_1"))
    assert [(effect.id, effect.undoes) for effect in removed.effects] == [("removal_2", "seat_1")]


def test_an_undo_without_a_name_finds_what_the_purchase_has() -> None:
    book = Book()
    take(book, call("charge", "k1", purchase="p1"))
    take(book, call("charge", "k2", purchase="p2"))
    refunded = take(book, call("refund", "k3", purchase="p2"))
    assert [effect.undoes for effect in refunded.effects] == ["pay_2"]


def test_an_undo_without_a_name_finds_nothing_where_nothing_was_done_or_all_is_undone() -> None:
    book = Book()
    assert take(book, call("refund", "k1")).outcome == "nothing_to_undo"
    take(book, call("charge", "k2"))
    take(book, call("refund", "k3"))
    again = take(book, call("refund", "k4"))
    assert (again.outcome, again.effects) == ("nothing_to_undo", ())


def test_an_undo_without_a_name_undoes_all_that_ignored_keys_have_piled_up() -> None:
    book = Book(honours_keys=False)
    for number in (1, 2, 3):
        take(book, call("charge", "k1", attempt=number))
    refunded = take(book, call("refund", "k2"))
    assert [effect.undoes for effect in refunded.effects] == ["pay_1", "pay_2", "pay_3"]
    assert len({effect.id for effect in refunded.effects}) == 3


def test_an_undo_by_name_is_done_however_often_it_is_told() -> None:
    """The book does not protect an engine from its own mistakes; the check must see them."""
    book = Book()
    take(book, call("charge", "k1"))
    first = take(book, call("refund", "k2", effect="pay_1"))
    second = take(book, call("refund", "k3", effect="pay_1"))
    assert [attempt.effects[0].undoes for attempt in (first, second)] == ["pay_1", "pay_1"]


@pytest.mark.parametrize("other", [call("enroll", "k1"), call("charge", "k1", purchase="p2")])
def test_a_key_used_for_something_else_is_refused(other: Call) -> None:
    book = Book()
    take(book, call("charge", "k1"))
    conflict = take(book, other)
    assert (conflict.outcome, conflict.effects) == ("key_conflict", ())


def test_a_refusal_is_not_remembered_as_a_result() -> None:
    book = Book()
    assert take(book, call("enroll", "k1", trouble="enrollment_outage")).outcome == "unavailable"
    assert take(book, call("enroll", "k1", attempt=2, trouble="enrollment_outage")).outcome == "unavailable"
    assert take(book, call("enroll", "k1", attempt=3, trouble="enrollment_outage")).effects


@pytest.mark.parametrize(
    ("operation", "trouble", "attempt", "outcome", "reply"),
    [
        ("charge", "card_declined", 9, "card_declined", "sent"),
        ("enroll", "course_full", 1, "course_full", "sent"),
        ("charge", "course_full", 1, "done", "sent"),
        ("enroll", "enrollment_outage", 2, "unavailable", "sent"),
        ("enroll", "enrollment_outage", 3, "done", "sent"),
        ("enroll", "enrollment_closed", 99, "unavailable", "sent"),
        ("enroll", "enrollment_hangs", 1, "hung", "never"),
        ("enroll", "enrollment_hangs", 2, "done", "sent"),
        ("charge", "charge_reply_lost", 2, "done", "lost"),
        ("charge", "charge_reply_lost", 3, "done", "sent"),
        ("charge", "charge_reply_always_lost", 99, "done", "lost"),
        ("refund", "charge_reply_always_lost", 1, "nothing_to_undo", "sent"),
        ("enroll", "enroll_reply_lost", 1, "done", "lost"),
        ("enroll", "enroll_reply_lost", 2, "done", "sent"),
        ("enroll", "enroll_reply_always_lost", 99, "done", "lost"),
        ("enroll", "refund_reply_lost", 1, "course_full", "sent"),
        ("refund", "refund_reply_lost", 1, "nothing_to_undo", "lost"),
        ("refund", "refund_reply_lost", 2, "nothing_to_undo", "sent"),
    ],
)
def test_every_trouble_strikes_where_it_should(
    operation: Operation, trouble: Trouble, attempt: int, outcome: str, reply: str
) -> None:
    found = take(Book(), call(operation, "k1", attempt=attempt, trouble=trouble))
    assert (found.outcome, found.reply) == (outcome, reply)


def test_a_withheld_reply_is_known_before_it_is_written_and_a_lost_one_stays_lost() -> None:
    book = Book()
    assert take(book, call("charge", "k1"), withholding=True).reply == "withheld"
    assert take(book, call("charge", "k2", trouble="charge_reply_lost"), withholding=True).reply == "lost"
    assert take(book, call("enroll", "k3", trouble="enrollment_hangs"), withholding=True).reply == "never"
