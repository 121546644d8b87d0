"""Purchases: the same seed makes the same ones, and a bad file is refused by line and field."""

import json
from pathlib import Path

import pytest

from examples.course_purchase import inputs
from examples.course_purchase.inputs import BadPurchases, generate, load
from examples.course_purchase.purchases import TROUBLES

GOOD = {"id": "p1", "learner": "ada", "course": "counterpoint", "card": "card_1", "price_cents": 100}


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_the_same_seed_makes_the_same_purchases() -> None:
    assert generate(100, seed=3) == generate(100, seed=3)
    assert generate(100, seed=3) != generate(100, seed=4)


@pytest.mark.parametrize("seed", range(5))
def test_from_twenty_purchases_on_every_trouble_comes_up(seed: int) -> None:
    purchases = generate(20, seed)
    assert {purchase.trouble for purchase in purchases} >= set(TROUBLES)
    assert len({purchase.id for purchase in purchases}) == 20


def test_fewer_purchases_than_troubles_are_possible() -> None:
    assert len(generate(3, seed=1)) == 3


def test_about_half_of_many_purchases_meet_no_trouble() -> None:
    purchases = generate(1_000, seed=1)
    assert 500 < sum(purchase.trouble is None for purchase in purchases) < 600


def test_the_example_file_is_read_and_has_every_trouble() -> None:
    purchases = load(Path(inputs.__file__).with_name("purchases.jsonl"))
    assert len(purchases) == 40
    assert {purchase.trouble for purchase in purchases} >= set(TROUBLES)


def test_empty_lines_are_skipped_and_other_line_ends_are_part_of_a_text(tmp_path: Path) -> None:
    odd = {**GOOD, "id": "p2", "learner": "a\u2028b"}
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps(GOOD) + "\n\n" + json.dumps(odd, ensure_ascii=False) + "\n")
    assert [purchase.learner for purchase in load(path)] == ["ada", "a\u2028b"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{broken", "line 2: not JSON: Expecting property name enclosed in double quotes at column 2"),
        ("[1]", "line 2: expected a JSON object, not [1]"),
        ({**GOOD, "id": "p1"}, "line 2: field 'id': 'p1' was used in line 1 already"),
        ({**GOOD, "id": ""}, "line 2: field 'id' must be a text that is not empty, not \"\""),
        ({"id": "p2"}, "line 2: field 'learner' is missing"),
        ({**GOOD, "id": "p2", "card": 7}, "line 2: field 'card' must be a text that is not empty, not 7"),
        (
            {**GOOD, "id": "p2", "price_cents": 0},
            "line 2: field 'price_cents' must be a whole number, 1 or more, not 0",
        ),
        (
            {**GOOD, "id": "p2", "price_cents": True},
            "field 'price_cents' must be a whole number, 1 or more, not true",
        ),
        (
            {**GOOD, "id": "p2", "price_cents": 9.5},
            "field 'price_cents' must be a whole number, 1 or more, not 9.5",
        ),
        (
            {**GOOD, "id": "p2", "trouble": "gremlins"},
            "line 2: field 'trouble' must be one of card_declined, ",
        ),
        (
            {**GOOD, "id": "p2", "prise": 1},
            "line 2: unknown field 'prise'; expected id, learner, course, card",
        ),
    ],
)
def test_a_bad_line_is_refused_by_number_and_field(tmp_path: Path, line: object, complaint: str) -> None:
    path = write(tmp_path / "in.jsonl", GOOD, line)
    with pytest.raises(BadPurchases) as refused:
        load(path)
    assert complaint in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadPurchases, match=r"cannot read .*missing\.jsonl: No such file or directory"):
        load(tmp_path / "missing.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(BadPurchases, match="is not UTF-8 text: the byte at 0"):
        load(tmp_path / "latin.jsonl")
    with pytest.raises(BadPurchases, match="holds no purchases; write one JSON object per line"):
        load(write(tmp_path / "empty.jsonl"))
