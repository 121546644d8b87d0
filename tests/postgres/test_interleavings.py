"""What two transactions may not do to each other, in the one order of events in which it would show.

Each is held where it matters by somebody else's locks, and waited for there: nothing rests on being quick.
"""

from __future__ import annotations

import json

import pytest

from motet.errors import StoreUnavailable
from motet.store.mutations import KeepDelivery, PutInbox, RegisterWait
from motet.store.postgres.tending import MOVING
from motet.store.protocol import DeliveryFence, Store
from motet.testing.conformance.records import a_delivery, a_fact, an_event, owned_run
from motet.testing.conformance.setting import Scribe, a_ticket
from tests.postgres.holding import Outside, begun


async def test_whose_batch_is_on_its_way_is_not_buried(store: Store, other: Store, outside: Outside) -> None:
    """The fence is a lock: between looking at it and committing, nobody can declare the worker dead."""
    worker = await Scribe.register(store)
    run = owned_run(worker.id)
    await worker.write(run)
    holding = await outside.hold_fact(run.uid, 1)
    batch = begun(worker.write(a_fact(run, 1)))
    await outside.until_waiting(1)
    counter = (await other.workers())[0].counter
    assert not await other.bury(worker.id, counter)
    await holding.rollback()
    await batch
    assert [row.batch for row in await other.workers()] == [2]


async def test_a_reader_that_has_passed_a_position_never_finds_an_earlier_one_filled(
    store: Store, other: Store, outside: Outside
) -> None:
    """One batch with an event is on its way for long; another one that began later is committed first."""
    worker, later = await Scribe.register(store), await Scribe.register(other)
    run = owned_run(worker.id)
    await worker.write(run)
    holding = await outside.hold_fact(run.uid, 1)
    batch = begun(worker.write(a_fact(run, 1), an_event("slow")))
    await outside.until_waiting(1)
    await later.write(an_event("quick"))
    (seen,) = await other.events(0, 10)
    await holding.rollback()
    await batch
    assert [event.data for event in await other.events(seen.position, 10)] == ['"slow"']


async def test_what_is_published_in_transactions_of_ones_own_keeps_its_order(
    store: Store, other: Store, outside: Outside
) -> None:
    """Whoever moves it into the log takes all of it, and not what another one has left."""
    worker, later = await Scribe.register(store), await Scribe.register(other)
    run = owned_run(worker.id)
    await worker.write(run)
    await outside.connection.execute("SELECT pg_advisory_lock($1::bigint)", MOVING)  # nobody does it by the way
    await outside.publish("one", "1")
    holding = await outside.hold_fact(run.uid, 1)
    batch = begun(worker.write(a_fact(run, 1), an_event()))
    await outside.until_waiting(1)
    await outside.publish("two", "2")
    await later.write(an_event())
    await holding.rollback()
    await batch
    assert [event.data for event in await other.events(0, 10) if event.type == "sold"] == ["1", "2"]


HELD_COMMIT = """
    CREATE FUNCTION held() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER held AFTER INSERT ON motet.{table} DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION held()"""


async def test_of_a_wait_and_its_event_the_second_one_finds_the_first(
    store: Store, other: Store, outside: Outside
) -> None:
    """The wait has looked and is just being committed when the event comes."""
    worker = await Scribe.register(store)
    run = owned_run(worker.id)
    await worker.write(run)
    await outside.connection.execute(HELD_COMMIT.format(table="wait"))
    await outside.connection.execute("SELECT pg_advisory_lock(42)")
    wait = RegisterWait(run.uid, "1.paid#1", "k", json.dumps({"paid": [0]}))
    batch = begun(worker.write(wait))
    await outside.until_waiting(1)
    event = begun(other.commit([[an_event(type="paid", subject="k")]], a_ticket()))
    await outside.until_waiting(2, unless=event)
    await outside.connection.execute("SELECT pg_advisory_unlock(42)")
    await batch
    await event
    told: list[PutInbox] = await other.inbox(worker.id)
    assert [message.kind for message in told] == ["event"]


@pytest.mark.parametrize("comes_through", [True, False])
async def test_who_asks_for_a_delivery_waits_for_its_commit(
    store: Store, other: Store, outside: Outside, comes_through: bool
) -> None:
    """The connection was lost while the server was committing: what is told then is what will hold."""
    worker = await Scribe.register(store)
    (cursor,) = await worker.follow("shop/send")
    await outside.connection.execute(HELD_COMMIT.format(table="delivery"))
    await outside.connection.execute("SELECT pg_advisory_lock(42)")
    fence = DeliveryFence(cursor.name, cursor.epoch, worker.id)
    transaction = store.delivery_transaction(fence)
    await transaction.begin()
    row = KeepDelivery(*a_delivery(3, reaction=cursor.name, state="done"), cursor.epoch)
    committing = begun(transaction.commit([row]))
    await outside.until_waiting(1)
    asking = begun(other.delivery_state(fence, 3))
    await outside.until_waiting(2, unless=asking)
    if not comes_through:
        backend = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active'"
        await outside.connection.execute(backend)
    await outside.connection.execute("SELECT pg_advisory_unlock(42)")
    assert await asking == ("done" if comes_through else None)
    if comes_through:
        await committing
    else:
        with pytest.raises(StoreUnavailable):
            await committing
    await transaction.roll_back()
