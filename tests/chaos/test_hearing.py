"""What is said of runs that have heard something else than was said to them."""

from __future__ import annotations

import json

from tests.chaos.asking import Row
from tests.chaos.hearing import wrong


class Told:
    """A database in which this was said to one run, and it has heard that."""

    def __init__(self, said: list[int], heard: list[int]) -> None:
        self._said = said
        self._heard = heard

    def ask(self, question: str, *_values: object) -> list[Row]:
        if "FROM event" in question:
            return [("hear-1", position) for position in self._said]
        return [("hear-1", json.dumps(self._heard))]

    def integrity(self) -> str:
        return "ok"

    def close(self) -> None: ...


def test_all_words_in_the_order_of_the_log_are_well() -> None:
    assert wrong(Told([3, 5, 8], [3, 5, 8])) == []


def test_words_that_were_left_out_or_heard_in_another_order_are_named() -> None:
    (words,) = wrong(Told([3, 5, 8], [3, 8, 5]))
    assert words == "hearing: 1 runs have not heard what was said: hear-1 heard [3, 8, 5] of [3, 5, 8]"
    assert wrong(Told([3, 5, 8], [3, 5]))
