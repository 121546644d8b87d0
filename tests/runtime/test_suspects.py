"""Three crashes: runs that may kill their process go one by one, and the killer is parked."""

import msgspec
import pytest

from motet.model.run import Run
from motet.runtime.suspects import BODY, OneByOne, is_suspect, killer


def run(crashes: int, current: list[dict[str, object]] | None = None) -> Run:
    text = msgspec.json.encode(current).decode() if current is not None else None
    return Run(
        "uid", "id", "shop/buy", 1, "running", 1, 1, 1, None, None, None, text, None, None, "id", None, None,
        0, 0, None, None, None, crashes, None, "3.11", "code",
    )  # fmt: skip


@pytest.mark.parametrize(("crashes", "suspect"), [(0, False), (2, False), (3, True), (9, True)])
def test_suspect_from_the_third_crash_on(crashes: int, suspect: bool):
    assert is_suspect(run(crashes)) is suspect


def test_the_killer_is_what_was_recorded_as_running():
    marked: list[dict[str, object]] = [{"operation": "other#1"}, {"operation": "boom#1", "suspect": True}]
    assert killer(run(4, marked)) == "boom#1"
    assert killer(run(3, marked)) is None, "not yet run alone"
    assert killer(run(4, [{"operation": "boom#1"}])) is None, "only a neighbour of the killer"
    assert killer(run(4)) is None
    assert killer(run(4, [{"operation": "", "suspect": True}])) == BODY


def test_one_by_one_in_the_order_of_asking():
    turn = OneByOne()
    begun: list[int] = []
    for number in range(3):
        turn.ask(lambda number=number: begun.append(number))  # type: ignore[misc]
    assert begun == [0]
    turn.leave()
    assert begun == [0, 1]
    turn.leave()
    turn.leave()
    turn.ask(lambda: begun.append(3))
    assert begun == [0, 1, 2, 3]
