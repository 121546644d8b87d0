"""Three crashes: runs that may kill their process go one by one, and the killer is parked."""

import asyncio

import msgspec
import pytest

from motet.model.run import Run
from motet.runtime.suspects import (
    BODY,
    FREE_BODIES,
    RUNS,
    SUSPECT_BODIES,
    OneByOne,
    Turn,
    accuse_bodies,
    groups,
    is_suspect,
    killer,
)
from motet.store.mutations import ShowProgress


def run(crashes: int, current: list[dict[str, object]] | None = None) -> Run:
    text = msgspec.json.encode(current).decode() if current is not None else None
    return Run(
        "uid", "id", "shop/buy", 1, "running", 1, 1, 1, None, None, None, text, None, None, "id", None, None,
        0, 0, None, None, None, crashes, None, "3.11", "code",
    )  # fmt: skip


@pytest.mark.parametrize(("crashes", "suspect"), [(0, False), (2, False), (3, True), (9, True)])
def test_suspect_from_the_third_crash_on(crashes: int, suspect: bool):
    assert is_suspect(run(crashes)) is suspect


def test_the_killer_is_what_was_accused():
    accused: list[dict[str, object]] = [{"operation": "other#1"}, {"operation": "boom#1", "suspect": 3}]
    assert killer(run(4, accused)) == "boom#1"
    assert killer(run(3, accused)) is None, "its process has not died since"
    assert killer(run(1, [{"operation": "boom#1", "suspect": 0}])) == "boom#1", "acquitted once, and found all the same"
    assert killer(run(4, [{"operation": "boom#1"}])) is None, "only a neighbour of the killer"
    assert killer(run(4)) is None
    assert killer(run(4)._replace(current="not JSON")) is None
    assert killer(run(4, [{"operation": "boom#1", "suspect": True}])) == "boom#1", "as it was written before"


def died_in(group: list[Run]) -> list[Run]:
    """These runs after their process has died while their bodies ran."""
    accused = {row.uid: row.current for row in accuse_bodies(group) if isinstance(row, ShowProgress)}
    return [run._replace(current=accused.get(run.uid), crashes=run.crashes + 1) for run in group]


def test_a_body_that_was_accused_alone_is_the_killer():
    (dead,) = died_in([run(3)])
    assert killer(dead) == BODY
    assert killer(dead._replace(crashes=3)) is None, "its process has not died since"


def test_bodies_that_were_accused_together_are_accused_alone_next():
    dead = died_in([run(3)._replace(uid=str(number)) for number in range(5)])
    assert [killer(one) for one in dead] == [None] * 5
    assert list(groups(dead)) == [[one] for one in dead]
    assert [killer(one) for one in died_in([dead[2]])] == [BODY]


def test_suspects_come_into_memory_in_small_groups_and_others_in_larger_ones():
    free = [run(number % 3)._replace(uid=f"free-{number}") for number in range(FREE_BODIES + 1)]
    suspects = [run(3 + number % 2)._replace(uid=f"suspect-{number}") for number in range(SUSPECT_BODIES + 1)]
    found = list(groups([*suspects, *free]))
    assert found == [free[:FREE_BODIES], free[FREE_BODIES:], suspects[:SUSPECT_BODIES], suspects[SUSPECT_BODIES:]]
    assert [len(accuse_bodies(group)) for group in found] == [0, 0, SUSPECT_BODIES, 1]


def test_a_killer_is_parked_without_being_accused_again():
    dead = run(4, [{"operation": "boom#1", "suspect": 3}])
    assert list(groups([dead])) == [[dead]]
    assert accuse_bodies([dead]) == []


class Line:
    """A line of suspects that notes who begins and who gives up."""

    def __init__(self) -> None:
        self.turns = OneByOne()
        self.story: list[str] = []

    def ask(self, name: str, wanted: bool = True, of: str = RUNS) -> Turn:
        def begin() -> bool:
            self.story.append(f"{name} begins")
            return wanted

        def give_up() -> None:
            self.story.append(f"{name} gives up")
            self.turns.leave(turn)

        turn = Turn(self.turns, begin, give_up, of)
        self.turns.ask(turn)
        return turn

    def told(self) -> list[str]:
        """What has happened since it was last asked."""
        story, self.story = self.story, []
        return story


def test_one_by_one_in_the_order_of_asking():
    line = Line()
    first, second, third = (line.ask(name) for name in ("a", "b", "c"))
    assert line.told() == ["a begins"]
    line.turns.leave(first)
    assert line.told() == ["b begins"]
    line.turns.leave(second)
    line.turns.leave(third)
    line.turns.leave(third)
    assert line.told() == ["c begins"]
    line.ask("d")
    assert line.told() == ["d begins"]


def test_runs_and_each_reaction_are_served_in_turn():
    line = Line()
    turns = [line.ask(f"run {number}") for number in range(3)]
    turns += [line.ask("x1", of="x"), line.ask("x2", of="x"), line.ask("y1", of="y")]
    turns[3].time_out()
    while line.turns._turn is not None:
        line.turns.leave(line.turns._turn)
    order = [words.removesuffix(" begins") for words in line.told()]
    assert order == ["run 0", "run 1", "x1", "y1", "run 2", "x2"]


async def test_between_groups_of_bodies_one_turn_comes():
    line = Line()
    await line.turns.let_one()
    line.turns.hold()
    first, second = line.ask("a"), line.ask("b")
    assert line.told() == []
    letting = asyncio.create_task(line.turns.let_one())
    while not line.story:
        await asyncio.sleep(0)
    assert line.told() == ["a begins"] and not letting.done(), "its end is awaited"
    line.turns.leave(first)
    await letting
    assert line.told() == [], "the next group's bodies come first"
    await line.turns.let_one()
    assert line.told() == ["b begins"], "which is not awaited for ever"
    line.turns.leave(second)


def test_who_has_had_the_turn_for_long_gives_it_up_to_who_waits():
    line = Line()
    first = line.ask("a")
    second = line.ask("b")
    assert line.told() == ["a begins"]
    first.time_out()
    assert line.told() == ["a gives up", "b begins"]
    line.turns.leave(first)
    assert line.told() == [], "the turn that it leaves is not its own any more"
    line.ask("c")
    assert line.told() == [], "b has just begun"
    second.time_out()
    assert line.told() == ["b gives up", "c begins"]


def test_who_has_had_the_turn_for_long_keeps_it_until_another_asks():
    line = Line()
    first = line.ask("a")
    first.time_out()
    assert line.told() == ["a begins"]
    line.ask("b")
    assert line.told() == ["a gives up", "b begins"]


def test_time_that_is_up_after_the_turn_means_nothing():
    line = Line()
    first = line.ask("a")
    line.turns.leave(first)
    line.ask("b")
    line.ask("c")
    first.time_out()
    assert line.told() == ["a begins", "b begins"]


def test_who_leaves_while_waiting_is_not_asked():
    line = Line()
    first, second = line.ask("a"), line.ask("b")
    line.turns.leave(second)
    first.time_out()
    assert line.told() == ["a begins"], "nobody waits"
    line.turns.leave(first)
    assert line.told() == []


def test_many_who_want_no_turn_any_more():
    line = Line()
    first = line.ask("first")
    for number in range(5_000):
        line.ask(str(number), wanted=False)
    line.ask("last")
    line.turns.leave(first)
    assert line.told()[-1] == "last begins"


def test_no_turn_begins_while_bodies_run():
    line = Line()
    line.turns.hold()
    line.ask("a")
    line.ask("b")
    assert line.told() == []
    line.turns.go_on()
    assert line.told() == ["a begins"]
