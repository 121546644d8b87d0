"""Turns and places: each queue has its turn, and each has at least one place."""

from motet.runtime.turns import Places, Turns


def filled(**waiting: int) -> Turns[str]:
    turns: Turns[str] = Turns()
    for queue, count in waiting.items():
        for number in range(count):
            turns.put(queue, f"{queue}{number}")
    return turns


def all_of(turns: Turns[str]) -> list[str]:
    found: list[str] = []
    while (item := turns.take()) is not None:
        found.append(item)
    return found


def test_queues_take_turns_and_each_keeps_its_order():
    turns = filled(a=4, b=1, c=2)
    assert len(turns) == 7
    assert all_of(turns) == ["a0", "b0", "c0", "a1", "c1", "a2", "a3"]
    assert len(turns) == 0 and not turns


def test_who_comes_later_is_last_in_turn():
    turns = filled(a=3)
    assert turns.take() == "a0"
    turns.put("b", "b0")
    assert all_of(turns) == ["a1", "b0", "a2"]


def test_one_of_a_certain_queue():
    turns = filled(a=1, b=2)
    assert (turns.take("b"), turns.take("c"), turns.take("b"), turns.take("b")) == ("b0", None, "b1", None)
    assert all_of(turns) == ["a0"]


def test_who_gives_up_is_forgotten():
    turns = filled(a=2, b=1)
    for queue, item in (("a", "a0"), ("b", "b0"), ("b", "b0"), ("c", "c0")):
        turns.remove(queue, item)
    assert len(turns) == 1
    assert all_of(turns) == ["a1"]
    turns = filled(a=2)
    turns.clear()
    assert (len(turns), turns.take()) == (0, None)


def test_each_queue_has_a_place_even_above_the_limit():
    places = Places(2)
    for _ in range(2):
        assert places.has("a")
        places.take("a")
    assert not places.has("a")
    assert places.has("b")
    places.take("b")
    assert not places.has("b"), "but not a second one"


def test_a_queue_keeps_its_one_place():
    places, turns = Places(2), filled(a=2, b=2)
    for queue in ("a", "a", "b"):
        places.take(queue)
    places.leave("b")
    assert places.next(turns, "b") == "b0", "it has no other, and somebody waits"
    places.take("b")
    places.leave("a")
    assert places.next(turns, "a") is None, "two are at work, and one of them is of this queue"
    places.leave("a")
    assert places.next(turns, "a") == "a0"


def test_who_leaves_lets_the_next_in_turn_in():
    places, turns = Places(2), filled(b=1, a=1)
    places.take("a")
    places.take("a")
    places.leave("a")
    assert places.next(turns, "a") == "b0"
    places.take("b")
    assert places.next(turns, "a") is None
