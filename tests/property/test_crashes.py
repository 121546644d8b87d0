"""Random workflows end the same whether or not the process crashes, whenever and however often it does."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from motet.model.codec import plain
from motet.model.run import ENDED
from tests.property.house import House, Plan, cut_off, story
from tests.property.programs import Program, rounds

_flags = st.lists(st.booleans(), min_size=1, max_size=7).map(tuple)
plans = st.builds(
    Plan,
    seed=st.integers(0, 10_000),
    trouble=st.integers(0, 6),
    cancel_at=st.none() | st.integers(1, 15),
    compensate=st.booleans(),
    deadline=st.none() | st.integers(1, 20),
    batched=_flags,
    release=_flags,
)
crashes = st.frozensets(st.integers(1, 60), min_size=1, max_size=8)


@given(rounds, plans, crashes)
def test_crashes_change_nothing_that_anybody_can_see(
    programs: list[Program], plan: Plan, crashes: frozenset[int]
) -> None:
    calm = House(plan, programs)
    calm.run()
    check(calm)
    stormy = House(Plan(**{**vars(plan), "crashes": crashes}), programs)
    stormy.run()
    check(stormy)
    # What was given up and in flight when the process died is unknown now; all else is as it would have been.
    if cut_off(stormy.store) == cut_off(calm.store):
        assert story(stormy.store) == story(calm.store)


def check(house: House) -> None:
    """What holds for every run, however it went."""
    store = house.store
    ids = [event.id for event in store.events]
    assert len(ids) == len(set(ids))
    published = {
        f"{uid}.{generation}.{row.op}"
        for (uid, generation), rows in store.history.items()
        for row in rows
        if row.kind == "published"
    }
    ended = {f"{run.uid}.{run.state}" for run in store.runs.values() if run.state in ENDED}
    blocked = {id for id in ids if ".blocked." in id}
    assert published | ended | blocked == set(ids)
    for key in store.history:
        check_generation(house, *key)


def check_generation(house: House, uid: str, generation: int) -> None:
    rows = house.store.history[uid, generation]
    run = house.store.runs[uid]
    pivoted = any(row.kind == "pivoted" for row in rows)
    settled: dict[str, Any] = {}
    for row in rows:
        if row.kind in ("completed", "answered", "failed", "skipped"):
            settled.setdefault(row.op, row)
    undone = [settled[row.op].target or row.target for row in settled.values() if row.operation_kind == "compensation"]
    assert len(undone) == len(set(undone)), "undone twice"
    last = generation == run.generation
    uncompensated = run.error is not None and (house.plan.compensate is False or pivoted)
    if last and run.state in ("failed", "cancelled") and not uncompensated:
        happened = {key for key, target, done in house.outside.effects if done and not target}
        for op, row in settled.items():
            compensated = row.operation_kind == "step" and op[0] in "ab" and row.kind in ("completed", "failed")
            if compensated and f"{uid}.{generation}.{op}" in happened:
                assert op in undone, f"{op} has happened and was neither undone nor skipped by a person"
    for row in rows:
        if row.operation_kind == "compensation" and row.target is not None:
            assert settled[row.target].kind in ("completed", "failed")
    assert plain(run.result or "null") is None or run.state == "completed"
