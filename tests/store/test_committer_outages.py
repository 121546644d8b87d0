"""What the committer does when the store is away, loses a reply, or has declared this worker dead."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motet.config import Settings
from motet.errors import LeaseLost
from motet.runtime import committer as committer_module
from motet.store.mutations import TakeInbox
from motet.store.protocol import Fence, RunFilter, Ticket
from motet.testing.conformance.records import NOW, a_message, a_run, a_worker, an_event, owned_run
from motet.testing.conformance.setting import the_run
from tests.store.between import Fault, Rig, away, mistaken, published, rig, until

FAULTS = {"away": away, "mistaken": mistaken}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("fenced", [True, False], ids=["worker", "client"])
@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("times", [1, 3])
async def test_a_lost_reply_leaves_one_copy(worker: Rig, fault: Fault, fenced: bool, side: str, times: int) -> None:
    if not fenced:
        worker.committer.worker = None
    setattr(worker.between, side, [fault] * times)
    worker.submit("a", an_event("a"), fenced=fenced)
    await worker.settled()
    worker.submit("b", an_event("b"), fenced=fenced)
    assert await worker.settled() == ["a", "b"]
    assert [row.data for row in await worker.store.events(0, 10)] == ['"a"', '"b"']
    assert worker.committer.away_since is None


async def test_the_receipt_is_read_before_a_fenced_batch_is_written_again(worker: Rig) -> None:
    worker.between.after = [away]
    worker.between.asking = [away, mistaken, None]  # the receipt itself is hard to get
    worker.submit("a", an_event())
    assert await worker.settled() == ["a"]
    assert worker.between.guards == [Fence(worker.committer.worker or 0, 1), None], "found: only starts go again"


async def test_after_a_lost_reply_it_is_still_told_who_lost(worker: Rig) -> None:
    winner, loser, free = a_run("r"), a_run("r"), a_run("free")
    await worker.committer.write([winner])
    for fenced in (True, False):
        worker.between.after = [away]
        receipt = await worker.committer.write([loser, free], fenced=fenced)
        assert receipt.lost == {loser.uid: winner}
    assert await worker.store.counts() == {"pending": 2}


async def test_a_clients_message_does_not_come_twice_when_it_was_taken_meanwhile(client: Rig) -> None:
    owner = await client.store.register(a_worker(), {}, NOW)
    run = owned_run(owner)
    await client.store.commit([[run]], None)

    def lose_and_hold() -> None:
        client.between.hold()
        away()

    client.between.after = [lose_and_hold]
    client.submit("told", a_message(run, "retry:1"), fenced=False)
    await until(client.between.held.is_set)  # the same batch comes again
    assert len(await client.store.inbox(owner)) == 1
    await client.store.commit([[TakeInbox(run.uid, "retry:1")]], Fence(owner, 1))
    client.between.let_go()
    assert await client.settled() == ["told"]
    assert await client.store.inbox(owner) == []
    first, again = client.between.guards
    assert first == again and isinstance(first, Ticket)


async def test_a_store_that_is_away_for_long_is_waited_for(worker: Rig, caplog: pytest.LogCaptureFixture) -> None:
    worker.between.before = [away] * 25
    for number in range(10):
        worker.submit(str(number), an_event())
    await until(lambda: len(worker.between.guards) >= 10)
    assert worker.told == [], "nothing is acknowledged that is not durable"
    assert worker.committer.away_since is not None
    assert await worker.settled() == [str(number) for number in range(10)]
    assert worker.committer.away_since is None
    said = [record.message for record in caplog.records if record.name == "motet.committer"]
    assert len(said) == 2, "said once, not at each try"
    assert "it is away; waiting for it, nothing is lost" in said[0]
    assert "answers again" in said[1]


async def test_a_store_that_does_not_answer_at_all_is_reported(
    worker: Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer_module, "SLOW_SECONDS", 0.001)
    worker.between.hold()
    worker.submit("a", an_event())
    await until(lambda: "has not answered" in caplog.text)
    worker.between.let_go()
    assert await worker.settled() == ["a"]
    assert "answers again" in caplog.text


# --- the lease is lost ------------------------------------------------------------------------------------------


async def test_when_the_lease_is_lost_clients_go_on(worker: Rig, caplog: pytest.LogCaptureFixture) -> None:
    lost: list[str] = []
    worker.committer.on_lease_lost = lambda: lost.append("lost")
    me = worker.committer.worker
    assert me is not None and await worker.store.bury(me, 0)
    mine, clients = owned_run(me, "mine"), owned_run(me, "clients", created_at=7)
    worker.submit("fenced", mine)
    worker.submit("client", clients, fenced=False)
    worker.submit("fenced too", an_event())
    assert await worker.settled() == ["client"], "of a dead worker nothing is told"
    assert lost == ["lost"]
    assert worker.committer.worker is None
    assert await worker.store.run("mine") is None
    assert await worker.store.run("clients") == clients._replace(owner=None, epoch=0, state="pending", wake_at=7)
    assert f"worker {me} has been declared dead" in caplog.text


async def test_a_lease_lost_after_a_lost_reply(worker: Rig) -> None:
    """The batch had not arrived when the worker was buried: what is fenced is dropped, a client's is written."""
    me = worker.committer.worker
    assert me is not None
    worker.between.before = [away]
    worker.between.asking = [away] * 3
    worker.submit("fenced", an_event("fenced"))
    worker.submit("client", an_event("client"), fenced=False)
    assert await worker.store.bury(me, 0)
    assert await worker.settled() == ["client"]
    assert await published(worker.store) == ['"client"']


async def test_a_batch_that_arrived_before_the_burial_counts(worker: Rig) -> None:
    me = worker.committer.worker
    assert me is not None
    worker.between.after = [away]
    worker.between.asking = [away]
    worker.submit("fenced", an_event())
    await until(lambda: worker.between.batches)
    assert await worker.store.bury(me, 1)
    assert await worker.settled() == ["fenced"]
    assert len(await published(worker.store)) == 1


async def test_who_registers_anew_does_not_write_what_the_dead_one_had_in_mind(worker: Rig) -> None:
    old = worker.committer.worker
    assert old is not None
    worker.between.hold()
    worker.submit("in flight", an_event("old"))
    await worker.between.held.wait()
    orphan = owned_run(old, "orphan")
    worker.submit("waiting", an_event("old"))
    worker.submit("client", orphan, fenced=False)
    assert await worker.store.bury(old, 0)
    worker.committer.lose_lease(LeaseLost("dead"))  # heard elsewhere first, as by claiming
    new = await worker.register()
    worker.submit("new", an_event("new"))
    worker.between.let_go()
    assert await worker.settled() == ["client", "new"]
    assert await published(worker.store) == ['"new"']
    assert (await the_run(worker.store, "orphan")).owner is None, "its owner is dead: it waits to be claimed"
    assert worker.committer.worker == new, "old news does not bury the new one"
    (row,) = await worker.store.workers()
    assert (row.id, row.batch) == (new, worker.committer.batch)


async def test_old_news_is_ignored(worker: Rig) -> None:
    me = worker.committer.worker
    assert me is not None
    worker.committer.lose_lease(LeaseLost("dead"), worker=me - 1)
    assert worker.committer.worker == me
    worker.committer.lose_lease(LeaseLost("dead"), worker=me)
    assert worker.committer.worker is None


async def test_nobody_writes_fenced_without_a_worker(client: Rig) -> None:
    client.submit("fenced", an_event())
    client.submit("client", an_event(), fenced=False)
    assert await client.settled() == ["client"]


# --- any mixture ------------------------------------------------------------------------------------------------

_faults = st.lists(st.sampled_from([None, None, away, mistaken]), max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    units=st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.booleans()), min_size=1, max_size=25),
    before=_faults, after=_faults, asking=_faults, rows=st.integers(1, 12), is_worker=st.booleans(),
)  # fmt: skip
async def test_whatever_happens_there_is_one_copy_in_order(
    tmp_path_factory: pytest.TempPathFactory, units, before, after, asking, rows: int, is_worker: bool
) -> None:
    """Units of (fenced, events, poisoned) under any faults: acknowledged is what is there, once, and in order."""
    async with rig(tmp_path_factory.mktemp("mixture"), Settings(batch_rows=rows)) as found:
        if is_worker:
            await found.register()
        found.between.before, found.between.after, found.between.asking = list(before), list(after), list(asking)
        expected: list[str] = []
        good: list[str] = []
        bad: list[str] = []
        for number, (fenced, events, poisoned) in enumerate(units):
            name = str(number)
            rows_of_unit = [an_event(f"{name}.{index}") for index in range(events)]
            if poisoned:
                found.submit(name, *rows_of_unit, an_event(data="\ud800"), fenced=fenced and is_worker)
                bad.append(f"{name}: StoreRejected")
            else:
                found.submit(name, *rows_of_unit, fenced=fenced and is_worker)
                good.append(name)
                expected += [event.data for event in rows_of_unit]
        told = await found.settled()
        assert [name for name in told if ":" not in name] == good
        assert sorted(name for name in told if ":" in name) == sorted(bad)
        assert [row.data for row in await found.store.events(0, 1000)] == expected
        assert await found.store.runs(RunFilter()) == []
