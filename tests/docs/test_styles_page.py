"""The evidence of docs/styles.md holds together, and what is no matter of time in it is what the demo's faults make."""

import re
from collections import Counter
from pathlib import Path

from examples.course_purchase.faults import fault_for
from examples.course_purchase.inputs import generate
from examples.course_purchase.protocol import Call
from examples.course_purchase.purchases import Purchase

PAGE = (Path(__file__).parents[2] / "docs" / "styles.md").read_text()
EVIDENCE = PAGE[PAGE.index("## Three runs as evidence") :]
STYLES = ("choreographed", "orchestrated", "hybrid")
ROWS = {
    cells[0].strip(): [cell.strip() for cell in cells[1:]]
    for cells in (line.strip("|").split("|") for line in EVIDENCE.splitlines() if line.startswith("| "))
    if len(cells) == 4
}
IN_VAIN = {
    "card_declined", "course_full", "enrollment_closed", "charge_reply_always_lost", "enroll_reply_always_lost",
    "refund_reply_lost",
}  # fmt: skip
"""What an owner that is patient cannot make good."""


def of(row: str, style: str) -> str:
    return ROWS[row][STYLES.index(style)]


def number(row: str, style: str) -> int:
    return int(of(row, style))


def left_standing(row: str, style: str) -> int:
    made, undone = map(int, of(row, style).split(" - "))
    return made - undone


def answers(purchase: Purchase) -> bool:
    """Whether its affiliate ever does."""
    return fault_for(Call("refer", "key", 3, 1, purchase.id)) is None


def test_the_books_are_right_in_each_column() -> None:
    for style in STYLES:
        completed = number("completed", style)
        assert left_standing("charged - refunded", style) == left_standing("enrolled - removed", style) == completed
        ended = sum(number(row, style) for row in ("completed", "declined", "compensated"))
        assert ended == number("purchases", style) == 300
        assert number("effects made twice", style) == 0


def test_what_an_owner_makes_of_these_purchases_is_what_their_troubles_allow() -> None:
    purchases = generate(300, 1)
    troubles = Counter(purchase.trouble for purchase in purchases)
    for style in ("orchestrated", "hybrid"):
        assert number("completed", style) == 300 - sum(troubles[trouble] for trouble in IN_VAIN)
        assert number("declined", style) == troubles["card_declined"]
    completed = [purchase for purchase in purchases if purchase.trouble not in IN_VAIN]
    assert number("dead letters", "hybrid") == sum(not answers(purchase) for purchase in completed)


def test_what_the_text_says_of_the_table_is_in_the_table() -> None:
    failures = number("declined", "choreographed") + number("compensated", "choreographed")
    noticed = number("failures that nobody published, noticed", "choreographed")
    assert f"Of {failures}, nobody publishes {noticed}:" in EVIDENCE
    assert 3 * noticed >= failures, "a third"
    late = number("completed", "orchestrated") - number("completed", "choreographed")
    assert (late, "Twelve seats came after their refund" in EVIDENCE) == (12, True)
    letters = number("dead letters", "hybrid")
    assert f"In the hybrid, {letters} affiliates did not answer" in EVIDENCE
    events = number("events", "choreographed")
    assert f"{events:,} events where {number('events', 'orchestrated')} do" in EVIDENCE


def test_its_commands_are_those_of_the_demo() -> None:
    commands = re.findall(r"^\$ motet demo (.*)$", PAGE, re.MULTILINE)
    assert commands[:3] == [f"--style {style} --purchases 300" for style in STYLES]
    assert commands[3] == "--style choreographed --switch-to hybrid --at 150"
