"""Whoever publishes, reacts, fails and dies: every event reaches every reaction that it is for, in order per key, and
an effect that is made through its delivery (published with it, or written in its transaction) is there once.

Processes die in the middle of handlers and around commits (`lives.py`); `tests/stories/test_reacting_kills.py` and the
campaign do the same with real ones.
"""

from __future__ import annotations

import logging
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from motet.choreography.patterns import Patterns
from motet.model.event import LoggedEvent
from motet.model.failure import decode_failure
from motet.runtime.reacting import service
from tests.property.lives import ATTEMPTS, Death, Published, Reacts, World

TYPES = ("a.x", "a.y", "b.x")
KEYS = ("k1", "k2", "k3", None)
EXAMPLES = 30
WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
"""How threads and the disk fall in with each other is not Hypothesis' to repeat."""


def _reactions(count: int) -> st.SearchStrategy[list[Reacts]]:
    """Later ones may react to what earlier ones publish."""
    return st.tuples(*(_reaction(number) for number in range(count))).map(list)


def _reaction(number: int) -> st.SearchStrategy[Reacts]:
    patterns = ["a.*", "a.x", "b.*", *(f"c.{earlier}" for earlier in range(number))]
    return st.builds(
        Reacts,
        events=st.lists(st.sampled_from(patterns), min_size=1, max_size=2, unique=True).map(tuple),
        how=st.sampled_from(["publish", "publish", "thread", "book"]),
        only=st.sampled_from([None, None, None, "k1"]),
        concurrency=st.integers(1, 4),
        failures=st.lists(st.sampled_from([0, 0, 0, 1, 2, ATTEMPTS]), min_size=1, max_size=5).map(tuple),
    )


published = st.lists(st.builds(Published, st.sampled_from(TYPES), st.sampled_from(KEYS), st.booleans()), max_size=25)
deaths = st.lists(st.builds(Death, st.sampled_from(["handler", "handler", "commit"]), st.integers(1, 25)), max_size=5)


@pytest.fixture(autouse=True, scope="module")
def quickly() -> Iterator[None]:
    """Positions are recorded soon; nobody is told what is meant to go wrong."""
    before, service.SAVE_SECONDS = service.SAVE_SECONDS, 0.01
    names = ("motet.reactions", "motet.worker", "motet.committer", "asyncio")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    yield
    service.SAVE_SECONDS = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@settings(max_examples=EXAMPLES, phases=WITHOUT_SHRINKING)
@given(st.integers(1, 4).flatmap(_reactions), published, deaths)
def test_every_event_reaches_every_reaction_in_order_and_once(
    reactions: list[Reacts], published: list[Published], deaths: list[Death]
) -> None:
    with tempfile.TemporaryDirectory(prefix="motet-lives-") as folder:
        world = World(Path(folder), reactions, published)
        world.publish_early()
        for death in deaths:
            world.live(death)
        assert not world.live(None)
        innocent = _redrive_the_innocent(world)
        log = world.log()
        poisons: set[tuple[str, int]] = set()
        for number, reacts in enumerate(reactions):
            poisons |= _check(world, number, reacts, log, innocent)
        assert {(letter.reaction, letter.position) for letter in world.letters()} == poisons


def _redrive_the_innocent(world: World) -> set[tuple[str, int]]:
    """Whoever was at work at each of three deaths is taken for a killer, and a person has it tried again."""
    redriven: set[tuple[str, int]] = set()
    while killers := [row for row in world.letters() if decode_failure(row.error or "").type == "ProcessKiller"]:
        assert world.deaths >= 3, "nobody can be convicted yet"
        for letter in killers:
            redriven.add((letter.reaction, letter.position))
            world.redrive(letter)
        assert not world.live(None)
    return redriven


def _check(
    world: World, number: int, reacts: Reacts, log: list[LoggedEvent], innocent: set[tuple[str, int]]
) -> set[tuple[str, int]]:
    """Its effects; returns its dead letters as they must be."""
    name, match = f"lives/r{number}", Patterns(reacts.events).match
    wanted = [event for event in log if match(event.type) and reacts.only in (None, event.subject)]
    good = [event for event in wanted if not reacts.poisons(event.position)]
    at = {event.id: event.position for event in log}
    answers = [at[event.causationid or ""] for event in log if event.source == name]
    for effects in (answers, world.booked(number)) if reacts.how == "book" else (answers,):
        assert sorted(effects) == [event.position for event in good], "each once, and none lost"
        _check_order(effects, {event.position: event.subject for event in wanted}, name, innocent)
    return {(name, event.position) for event in wanted if reacts.poisons(event.position)}


def _check_order(effects: list[int], keys: dict[int, str | None], name: str, innocent: set[tuple[str, int]]) -> None:
    by_key: dict[str, list[int]] = defaultdict(list)
    for position in effects:
        key = keys[position]
        if key is not None and (name, position) not in innocent:
            by_key[key].append(position)
    for key, positions in by_key.items():
        assert positions == sorted(positions), f"{name} of {key}"
