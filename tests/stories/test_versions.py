"""Versions side by side: a run stays with the one that it began with, whoever is new takes the newest."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from motet import Event, Flow, Module, testing
from motet.errors import DuplicateName
from motet.model.run import Version
from tests.stories.conftest import Shop


def deployed(folder: Path, *versions: int) -> Shop:
    """The shop as it is deployed with these versions of one workflow, which waits for a word; on one store."""
    shop = Shop(folder)

    def declare(number: int) -> None:
        @shop.workflow(name="buy", version=number)
        async def buy(flow: Flow) -> str:
            await flow.wait("go")
            return f"v{number}"

    for number in versions:
        declare(number)
    return shop


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'motet.db'}"


async def test_a_run_ends_with_the_version_that_it_began_with(tmp_path: Path, store: str) -> None:
    old, new = deployed(tmp_path, 1), deployed(tmp_path, 1, 2)
    async with testing.virtual(old, store=store) as kit:
        await old.start("buy", id="before")
        await kit.idle()
    async with testing.virtual(new, store=store) as kit:
        await new.start("buy", id="after")
        for id in ("before", "after"):
            await new.publish("go", key=id)
        await kit.idle()
        assert [await new.result(id) for id in ("before", "after")] == ["v1", "v2"]
        assert [(await new.status(id)).version for id in ("before", "after")] == [1, 2]


async def test_whoever_has_not_its_version_leaves_it_for_one_who_has(tmp_path: Path, store: str) -> None:
    """The number was raised and the old function not kept: its runs wait, with all that they were told."""
    old, careless = deployed(tmp_path, 1), deployed(tmp_path, 2)
    async with testing.virtual(old, store=store) as kit:
        await old.start("buy", id="before")
        await kit.idle()
    async with testing.virtual(careless, store=store) as kit:
        await careless.publish("go", key="before")
        await careless.start("buy", id="after")
        await kit.idle()
        status = await careless.status("before")
        assert (status.state, status.version) == ("waiting", 1), "not blocked, and nothing lost"
        assert (await careless.status("after")).version == 2
    right = deployed(tmp_path, 1, 2)
    async with testing.virtual(right, store=store) as kit:
        await kit.idle()
        assert await right.result("before") == "v1"


async def test_the_right_worker_beside_a_careless_one_takes_it(tmp_path: Path, store: str) -> None:
    old, careless = deployed(tmp_path, 1), deployed(tmp_path, 2)
    async with testing.virtual(careless, old, store=store) as kit:
        await old.start("buy", id="r1")
        await careless.start("buy", id="r2")
        await kit.idle()
        for id in ("r1", "r2"):
            await careless.publish("go", key=id)
        await kit.idle()
        assert [await careless.result(id) for id in ("r1", "r2")] == ["v1", "v2"]


async def test_a_start_means_the_newest_or_the_very_definition_that_it_is_given(shop: Shop) -> None:
    @shop.workflow(name="buy", version=7)
    async def buy_7(flow: Flow) -> int:
        return 7

    @shop.workflow(name="buy")
    async def buy(flow: Flow) -> int:
        return 1

    @shop.workflow
    async def both(flow: Flow) -> list[int]:
        return [await flow.child(buy_7), await flow.child(buy)]

    async with testing.virtual(shop) as kit:
        await shop.start("buy", id="by name")
        await shop.start(buy, id="old")
        await shop.start(both, id="both")
        await kit.idle()
        assert [await shop.result(id) for id in ("by name", "old", "both")] == [7, 1, [7, 1]]


async def test_the_same_id_again_is_the_same_run_whatever_its_version(tmp_path: Path, store: str) -> None:
    old, new = deployed(tmp_path, 1), deployed(tmp_path, 1, 2)
    async with testing.virtual(old, new, store=store) as kit:
        run = await old.start("buy", id="r")
        again = await new.start("buy", id="r")
        assert again.uid == run.uid
        await new.publish("go", key="r")
        await kit.idle()
        assert await again.result() == "v1"


async def test_what_an_event_starts_is_said_by_the_newest_version(shop: Shop) -> None:
    """Whichever is declared first; of an older version nothing counts but its body."""

    @shop.workflow(name="greet", on="came", id=lambda event: f"new-{event.key}", version=2)
    async def greet_2(flow: Flow, event: Event[Any]) -> str:
        return "v2"

    @shop.workflow(name="greet", on="left")
    async def greet(flow: Flow, event: Event[Any]) -> str:
        return "v1"

    @shop.workflow(name="silent", on="came")
    async def silent(flow: Flow, event: Event[Any]) -> None: ...

    @shop.workflow(name="silent", version=2)
    async def silent_2(flow: Flow) -> None: ...

    async with testing.virtual(shop) as kit:
        for type in ("came", "left"):
            await shop.publish(type, key="k")
        await kit.idle()
        (run,) = await shop.runs()
        assert (run.id, run.version) == ("new-k", 2)


async def test_versions_in_modules(shop: Shop) -> None:
    module = Module()

    @module.workflow(name="buy", on="ordered", version=1)
    async def buy(flow: Flow, event: Event[Any]) -> str:
        return "v1"

    @shop.workflow(name="buy", on="ordered", version=2)
    async def buy_2(flow: Flow, event: Event[Any]) -> str:
        return "v2"

    shop.include(module)
    assert [reaction.version for reaction in shop.reactions] == [2]
    assert set(shop.registry.versions) == {Version("shop/buy", 1), Version("shop/buy", 2)}
    assert shop.registry.workflow("buy") is buy_2
    with pytest.raises(DuplicateName, match=r"'shop/buy' and have version 2; .* a higher version="):

        @shop.workflow(name="buy", version=2)
        async def third(flow: Flow) -> None: ...


def counting(folder: Path, *versions: int) -> Shop:
    """A loop that begins a new generation for each number; version 3 takes texts instead."""
    shop = Shop(folder)

    def declare(number: int) -> None:
        @shop.workflow(name="count", version=number)
        async def count(flow: Flow, rounds: list[int]) -> list[int]:
            if len(rounds) == 2:
                return [*rounds, number]
            await flow.wait("go")
            return flow.restart([*rounds, number])

    for number in (number for number in versions if number < 3):
        declare(number)
    if 3 in versions:

        @shop.workflow(name="count", version=3)
        async def count_texts(flow: Flow, rounds: list[str]) -> list[str]:
            return rounds

    return shop


async def test_a_restart_goes_on_with_the_newest_version(tmp_path: Path, store: str) -> None:
    """A new generation has no history that could bind it: so long-lived runs leave old code behind by themselves."""
    old, new = counting(tmp_path, 1), counting(tmp_path, 1, 2)
    async with testing.virtual(old, store=store) as kit:
        await old.start("count", [], id="r")
        await kit.idle()
    async with testing.virtual(new, store=store) as kit:
        for _ in range(2):
            await new.publish("go", key="r")
            await kit.idle()
        assert await new.result("r") == [1, 2, 2]
        assert (await new.status("r")).version == 2


async def test_a_restart_stays_where_its_input_can_be_read(
    tmp_path: Path, store: str, caplog: pytest.LogCaptureFixture
) -> None:
    shop = counting(tmp_path, 1, 3)
    async with testing.virtual(shop, store=store) as kit:
        await shop.start(shop.registry.version("shop/count", 1), [], id="r")
        with caplog.at_level(logging.WARNING, "motet.worker"):
            for _ in range(2):
                await shop.publish("go", key="r")
                await kit.idle()
        assert await shop.result("r") == [1, 1, 1]
    assert "restarts as v1, for v3 of shop/count cannot read its input" in caplog.text


def growing(folder: Path, *, knows: bool) -> Shop:
    """The shop before and after a step was put between two others, behind `flow.changed`."""
    shop = Shop(folder)
    did = shop.outside.did

    @shop.step
    async def charge() -> None:
        did("charge")

    @shop.step
    async def check_fraud() -> None:
        did("check")

    @shop.step
    async def enroll() -> None:
        did("enroll")

    @shop.workflow
    async def buy(flow: Flow) -> str:
        await flow.step(charge)
        new = knows and flow.changed("fraud-check")
        if new:
            await flow.step(check_fraud)
        await flow.step(enroll)
        await flow.wait("go")
        return "new" if new else "old"

    return shop


async def test_a_branch_behind_changed_is_for_new_runs_only(tmp_path: Path, store: str) -> None:
    old, new, again = (growing(tmp_path, knows=knows) for knows in (False, True, True))
    async with testing.virtual(old, store=store) as kit:
        await old.start("buy", id="before")
        await kit.idle()
    async with testing.virtual(new, store=store) as kit:
        await new.start("buy", id="after")
        await kit.idle()
        status = await new.status("after")
        done = [done.operation for done in status.done]
        assert done == ["charge#1", "changed:fraud-check#1", "check_fraud#1", "enroll#1"]
    async with testing.virtual(again, store=store) as kit:
        for id in ("before", "after"):
            await again.publish("go", key=id)
        await kit.idle()
        assert [await again.result(id) for id in ("before", "after")] == ["old", "new"]
    assert [old.outside.effects, new.outside.effects, again.outside.effects] == [
        ["charge", "enroll"], ["charge", "check", "enroll"], [],
    ]  # fmt: skip


async def test_the_call_is_taken_out_again(tmp_path: Path, store: str) -> None:
    """The marker that is left in the history is ignored."""
    new, last = growing(tmp_path, knows=True), Shop(tmp_path)

    @last.step
    async def charge() -> None: ...

    @last.step
    async def check_fraud() -> None: ...

    @last.step
    async def enroll() -> None: ...

    @last.workflow
    async def buy(flow: Flow) -> str:
        for step in (charge, check_fraud, enroll):
            await flow.step(step)
        await flow.wait("go")
        return "cleaned"

    async with testing.virtual(new, store=store) as kit:
        await new.start("buy", id="r")
        await kit.idle()
    async with testing.virtual(last, store=store) as kit:
        await last.publish("go", key="r")
        await kit.idle()
        assert await last.result("r") == "cleaned"


async def test_one_answer_however_often_it_is_asked(tmp_path: Path, store: str) -> None:
    """A loop that has begun before the change does not change in its middle; its next generation does."""

    def deploy(*, knows: bool) -> Shop:
        shop = Shop(tmp_path)

        @shop.workflow
        async def loop(flow: Flow, seen: list[bool]) -> list[bool]:
            for _ in range(2):
                seen.append(knows and flow.changed("round"))
                await flow.wait("go")
            return seen if len(seen) > 2 else flow.restart(seen)

        return shop

    old, new = deploy(knows=False), deploy(knows=True)
    async with testing.virtual(old, store=store) as kit:
        await old.start("loop", [], id="r")
        await kit.idle()
    async with testing.virtual(new, store=store) as kit:
        for _ in range(4):
            await new.publish("go", key="r")
            await kit.idle()
        assert await new.result("r") == [False, False, True, True]
