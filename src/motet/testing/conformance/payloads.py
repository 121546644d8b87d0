"""Payloads in place: read as they are stored, exchanged only while nobody else has changed them."""

from __future__ import annotations

from motet.model.event import EventRow
from motet.model.forgotten import FORGOTTEN
from motet.model.run import Run
from motet.store.mutations import KeepDelivery, RegisterWait, ShowProgress
from motet.store.payloads import COLUMNS, KEYS, TABLES, PayloadChange, PayloadRow, Payloads, Table
from motet.store.protocol import Store
from motet.testing.conformance.cursors import a_move
from motet.testing.conformance.pruning import LATER, ROWS, a_tombstone, end, retaining
from motet.testing.conformance.records import a_delivery, a_fact, a_message, an_event, owned_run
from motet.testing.conformance.setting import Scribe, StoreSuite, the_run


def with_payloads(store: Store) -> Payloads:
    """The store, which can do it."""
    assert isinstance(store, Payloads)
    return store


async def all_of(store: Store, table: Table, conversation: str | None = None, limit: int = 2) -> list[PayloadRow]:
    """By pages."""
    found: list[PayloadRow] = []
    while page := await with_payloads(store).payloads(table, conversation, found[-1].key if found else None, limit):
        found += page
    return found


async def fill(worker: Scribe, conversation: str, key: str) -> tuple[Run, EventRow]:
    """Something in each table, all of one conversation."""
    run = owned_run(worker.id, f"r-{key}", conversation=conversation, note="n", first_input="1", result="2", error="3")
    event = an_event(f"e-{key}", correlationid=conversation, subject=key)
    await worker.write(run, a_fact(run, 1), a_fact(run, 2, payload=None, digest=None), event, a_message(run))
    position = await worker.store.head()
    reaction = f"shop/{key}"
    (cursor,) = await worker.follow(reaction)
    await worker.write(KeepDelivery(*a_delivery(position, reaction=reaction, data="5"), cursor.epoch))
    await worker.write(a_move(cursor, position))
    return run, event


class PayloadsInPlace(StoreSuite):
    """For whoever encrypts anew, or forgets."""

    async def test_every_payload_is_there(self, store: Store, worker: Scribe) -> None:
        run, event = await fill(worker, "talk", "k")
        await worker.write(ShowProgress(run.uid, "[4]", None))
        assert await all_of(store, "run") == [
            PayloadRow((run.uid,), ("running",), (run.input, "1", "2", "3", "[4]", "n", run.attributes))
        ]
        assert await all_of(store, "history") == [
            PayloadRow((run.uid, 1, 1), ("completed", "step"), ('"1"', 77)),
            PayloadRow((run.uid, 1, 2), ("completed", "step"), (None, None)),
        ]
        assert await all_of(store, "event") == [PayloadRow((1,), (event.id, event.source), (event.data,))]
        message = a_message(run)
        assert await all_of(store, "inbox") == [PayloadRow((run.uid, "cancel"), ("cancel",), (message.payload,))]
        assert await all_of(store, "delivery") == [PayloadRow(("shop/k", 1), ("retrying",), ('"e"', "5"))]

    async def test_of_one_conversation_or_of_all_in_pages(self, store: Store, worker: Scribe) -> None:
        for number in range(3):
            await fill(worker, "one", f"a{number}")
            await fill(worker, "two", f"b{number}")
        for table in TABLES:
            everything = await all_of(store, table)
            one, two = [await all_of(store, table, name) for name in ("one", "two")]
            assert len(one) == len(two) == len(everything) // 2 == (6 if table == "history" else 3), table
            assert sorted([*one, *two]) == everything == sorted(everything), table
            assert await all_of(store, table, "three") == []

    async def test_they_are_exchanged_if_nobody_has_changed_them(self, store: Store, worker: Scribe) -> None:
        run, _ = await fill(worker, "talk", "k")
        other, _ = await fill(worker, "other", "x")
        for table in TABLES:
            row, *_ = await all_of(store, table, "talk")
            after = tuple(7 if name == "digest" else f'"{name}"' for name in COLUMNS[table])
            stale = (*row.values[:-1], "something else" if table != "history" else 5)
            change = PayloadChange(row.key, row.values, after)
            assert await with_payloads(store).replace_payloads(table, [change._replace(before=stale)]) == 0
            assert await with_payloads(store).replace_payloads(table, [change, change]) == 1
            assert next(found.values for found in await all_of(store, table, "talk")) == after, table
            assert len(KEYS[table]) == len(row.key)
        assert (await the_run(store, run.id)).first_input == '"first_input"'
        assert (await the_run(store, other.id)).first_input == "1"
        assert (await store.events(0, 1))[0].data == '"data"'

    async def test_a_forgotten_event_comes_for_no_wait(self, store: Store, worker: Scribe) -> None:
        waiting = owned_run(worker.id, "r")
        await worker.write(waiting)
        kinds = ["known", "unknown"]
        await worker.write(RegisterWait(waiting.uid, "1.known#1", "another", '{"known":[0]}'))
        await worker.write(*(an_event(type=kind, subject="k") for kind in kinds))
        rows = await all_of(store, "event")
        changes = [PayloadChange(row.key, row.values, (FORGOTTEN,)) for row in rows]
        assert await with_payloads(store).replace_payloads("event", changes) == 2
        for kind in kinds:
            await worker.write(RegisterWait(waiting.uid, f"1.{kind}#2", "k", f'{{"{kind}":[0]}}'))
        assert await store.inbox(worker.id) == []
        await worker.write(*(an_event(type=kind, subject="k") for kind in kinds))
        assert [message.key for message in await store.inbox(worker.id)] == [
            "event:1.known#2:3", "event:1.unknown#2:4"
        ]  # fmt: skip

    async def test_tombstones_forget_inputs(self, store: Store, worker: Scribe) -> None:
        runs = [owned_run(worker.id, f"r{number}", conversation=f"talk{number}") for number in range(2)]
        await worker.write(*runs)
        await end(worker, *runs)
        stones = [a_tombstone(await the_run(store, run.id)) for run in runs]
        await retaining(store).prune_runs(LATER, stones, ROWS)
        assert await with_payloads(store).forget_digests("talk0") == 1
        assert await with_payloads(store).forget_digests("talk0") == 0
        assert await retaining(store).tombstone("r0") == stones[0]._replace(digest=None)
        assert await retaining(store).tombstone("r1") == stones[1]

    async def test_scrubbing_hurts_nobody(self, store: Store, worker: Scribe) -> None:
        await worker.write(owned_run(worker.id, "r"))
        assert await with_payloads(store).scrub()
        await worker.write(owned_run(worker.id, "next"))
        assert [run.id for run in await store.owned(worker.id)] == ["r", "next"]
