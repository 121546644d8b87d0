"""How the committer groups what is ready: at once when idle, in batches under load, never half a unit."""

from pathlib import Path

import pytest

from motet.config import Settings
from motet.errors import StoreRejected
from motet.runtime.hooks import Hooks
from motet.store.mutations import EndRun, Mutation, ShowProgress, size_of
from motet.testing.conformance.records import a_fact, a_run, an_event, owned_run
from tests.store.between import Rig, rig


async def test_what_comes_alone_is_committed_at_once(worker: Rig) -> None:
    for name in ("a", "b", "c"):
        worker.submit(name, an_event())
        await worker.settled()
    assert worker.sizes == [1, 1, 1]
    assert worker.told == ["a", "b", "c"]


async def test_while_one_batch_is_in_flight_the_next_gathers(worker: Rig) -> None:
    worker.between.hold()
    worker.submit("first", an_event())
    await worker.between.held.wait()
    for number in range(50):
        worker.submit(str(number), an_event())
    worker.between.let_go()
    assert await worker.settled() == ["first", *map(str, range(50))]
    assert worker.sizes == [1, 50]
    assert worker.between.most_in_flight == 1


async def test_one_is_in_flight_at_a_time(worker: Rig) -> None:
    def more(left: int) -> None:
        worker.submit(str(left), an_event())
        if left:
            worker.committer.submit([an_event()], lambda _: more(left - 1))

    for _ in range(5):
        more(20)
    await worker.settled()
    assert worker.between.most_in_flight == 1
    assert len(worker.told) == 105


async def _batches(path: Path, settings: Settings, units: list[list[Mutation]]) -> list[int]:
    async with rig(path, settings) as found:
        await found.register()
        found.between.hold()
        found.submit("first", an_event())
        await found.between.held.wait()
        for unit in units:
            found.submit("unit", *unit)
        found.between.let_go()
        await found.settled()
        assert [unit for batch in found.between.batches[1:] for unit in batch] == units
        return found.sizes[1:]


async def test_bounded_by_rows(tmp_path: Path) -> None:
    units: list[list[Mutation]] = [[an_event()] for _ in range(25)]
    assert await _batches(tmp_path, Settings(batch_rows=10), units) == [10, 10, 5]


async def test_a_unit_is_never_split(tmp_path: Path) -> None:
    units: list[list[Mutation]] = [[an_event() for _ in range(3)] for _ in range(7)]
    assert await _batches(tmp_path, Settings(batch_rows=10), units) == [3, 3, 1]


async def test_a_unit_larger_than_the_bounds_goes_alone(tmp_path: Path) -> None:
    small, large = [an_event()], [an_event() for _ in range(30)]
    units: list[list[Mutation]] = [[*small], [*large], [*small], [*small]]
    assert await _batches(tmp_path, Settings(batch_rows=10), units) == [1, 1, 2]


@pytest.mark.parametrize("text", ["x" * 400, "é" * 200])
async def test_bounded_by_bytes(tmp_path: Path, text: str) -> None:
    units: list[list[Mutation]] = [[an_event(data=text)] for _ in range(5)]
    assert await _batches(tmp_path, Settings(batch_bytes=1000), units) == [2, 2, 1]


def test_size_counts_the_payloads_of_every_kind_in_bytes() -> None:
    run = a_run(input="é", attributes=None)
    assert size_of([run]) == 2
    assert (
        size_of([a_fact(run, 1, payload="12345"), an_event(data="é12"), ShowProgress(run.uid, "[]", "n")]) == 5 + 4 + 2
    )
    assert size_of([an_event(data="\ud800")]) > 0, "what can never be stored is counted all the same"


async def test_done_is_called_in_the_order_of_submission(worker: Rig) -> None:
    names = [str(number) for number in range(300)]
    for index, name in enumerate(names):
        worker.submit(name, *(an_event() for _ in range(index % 4 + 1)), fenced=index % 3 != 0)
    assert await worker.settled() == names


async def test_who_fails_when_told_harms_nobody(worker: Rig, caplog: pytest.LogCaptureFixture) -> None:
    def fails(_: object) -> None:
        raise KeyError("of mine")

    worker.submit("before", an_event())
    worker.committer.submit([an_event()], fails)
    worker.committer.submit([an_event(data="\ud800")], None, fails)
    worker.submit("after", an_event())
    await worker.settled()
    worker.submit("later", an_event())
    assert await worker.settled() == ["before", "after", "later"]
    assert [record.exc_info is not None for record in caplog.records if "has failed" in record.message] == [True, True]


# --- a record that can never be stored --------------------------------------------------------------------------


async def test_a_data_error_is_cornered_and_only_its_unit_fails(worker: Rig) -> None:
    bad = an_event(data="\ud800")
    companion = an_event()
    worker.between.hold()
    worker.submit("first", an_event())
    await worker.between.held.wait()
    good = [an_event() for _ in range(9)]
    for event in good[:6]:
        worker.submit(event.id, event)
    worker.submit("bad", companion, bad)
    for event in good[6:]:
        worker.submit(event.id, event, fenced=False)
    worker.between.let_go()
    told = await worker.settled()
    assert sorted(told) == sorted(["first", "bad: StoreRejected", *(event.id for event in good)])
    assert [name for name in told if name in {event.id for event in good}] == [event.id for event in good]
    stored = [row.id for row in await worker.store.events(0, 100)][1:]
    assert stored == [event.id for event in good], "the rest of the culprit's unit is not written either"


async def test_several_culprits(client: Rig) -> None:
    for number in range(20):
        client.submit(str(number), an_event(data="\ud800" if number % 7 == 3 else '"ok"'), fenced=False)
    told = await client.settled()
    assert sorted(name for name in told if ":" in name) == [f"{number}: StoreRejected" for number in (10, 17, 3)]
    assert len(await client.store.events(0, 100)) == 17


async def test_a_forbidden_change_of_state_is_such_an_error(worker: Rig) -> None:
    worker_id = worker.committer.worker
    assert worker_id is not None
    waiting, running = owned_run(worker_id, "w", state="waiting"), owned_run(worker_id, "r")
    worker.submit("starts", waiting, running)
    worker.submit("forbidden", EndRun(waiting.uid, "completed", None, None, 1))
    worker.submit("allowed", EndRun(running.uid, "completed", None, None, 1))
    assert sorted(await worker.settled()) == ["allowed", "forbidden: StoreRejected", "starts"]


async def test_write_raises_what_the_store_refuses(client: Rig) -> None:
    with pytest.raises(StoreRejected, match="refuses a record"):
        await client.committer.write([an_event(data="\ud800")])
    assert (await client.committer.write([a_run("r")])).lost == {}


# --- hooks ------------------------------------------------------------------------------------------------------


async def test_failpoints_stand_around_each_commit(tmp_path: Path) -> None:
    hooks = Hooks()
    passed: list[tuple[str, frozenset[str], int]] = []
    async with rig(tmp_path, hooks=hooks) as found:
        hooks.failpoint = lambda when, kinds: passed.append((when, kinds, len(found.between.batches)))
        await found.register()
        run = owned_run(found.committer.worker or 0)
        found.submit("a", run, a_fact(run, 1))
        await found.settled()
    kinds = frozenset({"StartRun", "RecordFact"})
    assert passed == [("before", kinds, 0), ("after", kinds, 1)]


async def test_listeners_hear_of_batches(tmp_path: Path) -> None:
    hooks = Hooks()
    heard: list[tuple[int, int]] = []
    hooks.batch_committed(lambda units, rows, seconds: heard.append((units, rows)))
    async with rig(tmp_path, hooks=hooks) as found:
        found.submit("a", an_event(), an_event(), fenced=False)
        await found.settled()
    assert heard == [(1, 2)]
