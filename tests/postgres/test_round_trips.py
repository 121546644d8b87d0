"""How often the server is asked between a start in one process and the first step in another; and what is said in one
message with something else, or as a transaction of its own, when something goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from typing import cast

import asyncpg
import pytest

from motet.errors import StoreUnavailable
from motet.model.clock import SYSTEM
from motet.store.mutations import PutInbox
from motet.store.open import store_at
from motet.store.postgres.hints import PUBLISHED, STARTED, Hints, Word
from motet.store.postgres.link import Counted, connect
from motet.store.postgres.store import PostgresStore
from motet.store.postgres.writing import TICKETS_KEPT
from motet.store.postgres_address import parse
from motet.testing.conformance.records import FINGERPRINT, KNOWN, NOW, a_run
from motet.testing.conformance.setting import Scribe, a_ticket

FULL = "DO $$ BEGIN RAISE EXCEPTION 'too many notifications in the NOTIFY queue' USING ERRCODE = '54000'; END $$"


@pytest.fixture
async def store(postgres_address: str) -> AsyncGenerator[PostgresStore]:
    store = cast(PostgresStore, store_at(f"{postgres_address}?listen=off", SYSTEM))
    await store.open(create=True)
    yield store
    await store.close()


def hints_of(store: PostgresStore) -> Hints:
    assert store._opened is not None
    return store._opened.hints


async def may_tell(store: PostgresStore) -> Hints:
    """When nothing is left to tell, and the last time is long ago."""
    house = store._opened
    assert house is not None

    async def told() -> None:
        house.hints._forget_soon()  # a claim is mentioned a moment later, in a round trip of its own
        if house.hints._telling is not None:
            await asyncio.wait({house.hints._telling})
        house.hints._told = 0.0

    await house.thread.call(told)
    return house.hints


async def round_trips(store: PostgresStore, asking: Awaitable[object]) -> int:
    before = store.counted.round_trips
    await asking
    return store.counted.round_trips - before


async def test_a_start_elsewhere_is_few_round_trips(store: PostgresStore) -> None:
    worker = await Scribe.register(store)
    await store.commit([[a_run()]], a_ticket())  # the first of a connection forgets old tickets
    assert len(await store.claim(worker.id, KNOWN, FINGERPRINT, NOW, 10)) == 1
    await may_tell(store)
    run = a_run(origin=None)
    # BEGIN with the ticket; the run; whether it was pruned; COMMIT with NOTIFY
    assert await round_trips(store, store.commit([[run]], a_ticket())) == 4
    assert await round_trips(store, store.prospect(worker.id, KNOWN, FINGERPRINT, NOW)) == 1
    # The claim; nobody has driven it before, and nothing waits in its inbox.
    assert await round_trips(store, store.take(worker.id, KNOWN, FINGERPRINT, NOW, 10)) == 1
    assert {owned.uid for owned in await store.owned(worker.id)} > {run.uid}


async def test_what_stands_in_several_lines_or_is_told_is_claimed_all_the_same(store: PostgresStore) -> None:
    worker = await Scribe.register(store)
    told = a_run("told", state="waiting", wake_at=None)
    await worker.write(a_run("one"), told, PutInbox(told.uid, "k", "cancel", None, NOW))
    assert sorted(await worker.claim()) == ["one", "told"]
    await worker.write(a_run("low", priority=1), a_run("high", priority=2), a_run("mail", queue="mail"))
    assert sorted(await worker.claim()) == ["high", "low", "mail"]


async def test_a_claim_is_read_committed_and_may_write_whatever_the_defaults(
    store: PostgresStore, postgres_address: str
) -> None:
    worker = await Scribe.register(store)
    await worker.write(a_run("r"))
    own = await asyncpg.connect(postgres_address)
    await own.execute(
        """DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable',
        current_database()); EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on',
        current_database()); END $$"""
    )
    await own.close()
    other = cast(PostgresStore, store_at(f"{postgres_address}?listen=off", SYSTEM))
    await other.open(create=False)
    try:
        settings = "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')"
        assert other._opened is not None
        connections, thread = other._opened.connections, other._opened.thread
        assert tuple(await thread.call(lambda: connections.single(lambda link: link.row(settings)))) == (
            "read committed", "off",
        )  # fmt: skip
        assert [run.id for run in await other.claim(worker.id, KNOWN, FINGERPRINT, NOW, 10)] == ["r"]
    finally:
        await other.close()


async def test_where_nothing_can_be_told_commits_go_on(store: PostgresStore) -> None:
    """NOTIFY fails when nobody has read for long: that is no fault of the batch, whose record is not refused."""
    hints = await may_tell(store)
    hints.telling = FULL
    run, ticket = a_run("r"), a_ticket()
    with pytest.raises(StoreUnavailable, match="whether a transaction counts"):
        await store.commit([[run]], ticket)
    assert await store.run("r") == run
    assert not (await store.commit([[run]], ticket)).lost, "written again, it is the same"
    for name in ("s", "t"):
        await may_tell(store)
        await store.commit([[a_run(name)]], a_ticket())
        assert await store.run(name) is not None


async def test_a_failed_transaction_is_not_taken_for_committed(postgres_address: str, store: PostgresStore) -> None:
    link = await connect(parse(postgres_address), Counted())
    await link.script("BEGIN; CREATE TABLE mine (id integer)")
    with pytest.raises(asyncpg.UndefinedTableError):
        await link.do("INSERT INTO nothing VALUES (1)")
    with pytest.raises(StoreUnavailable):
        await link.commit("here", "NOTIFY motet")
    assert link.is_closed, "nobody uses it in the middle of a transaction"
    again = await connect(parse(postgres_address), Counted())
    assert await again.value("SELECT to_regclass('mine')") is None
    await again.script("BEGIN; CREATE TABLE mine (id integer)")
    await again.commit("here", "NOTIFY motet")
    assert await again.value("SELECT to_regclass('mine')::text") == "mine"
    await again.close()


async def test_one_does_not_hear_oneself_and_only_what_is_published_concerns_the_outbox(store: PostgresStore) -> None:
    hints = hints_of(store)
    all_told, outbox = hints.listen(), hints.listen(outbox=True)

    def heard(what: str) -> tuple[bool, bool]:
        hints._notified(None, 1, "motet", what)
        found = all_told.is_set(), outbox.is_set()
        all_told.clear()
        outbox.clear()
        return found

    assert heard(hints._name) == (False, False)
    assert heard("0badcafe") == heard(STARTED) == (True, False)
    assert heard(PUBLISHED) == (True, True)
    assert heard("") == (True, True), "an older program, which does not say what"


async def test_those_that_tell_often_tell_once(store: PostgresStore) -> None:
    hints = await may_tell(store)
    first, second = Word(hints), Word(hints)
    assert first.behind() == hints.telling and first.said
    assert second.behind() == "" and not second.said


async def test_old_tickets_are_forgotten_and_the_latest_are_kept(store: PostgresStore, postgres_address: str) -> None:
    own = await asyncpg.connect(postgres_address)
    await own.execute(
        "INSERT INTO motet.ticket (id) SELECT 'old-' || n FROM generate_series(1, $1::integer) AS n", TICKETS_KEPT + 500
    )
    await store.commit([[a_run()]], a_ticket())
    assert await own.fetchval("SELECT count(*) FROM motet.ticket") == TICKETS_KEPT
    assert await own.fetchval("SELECT count(*) FROM motet.ticket WHERE id = 'old-' || $1::text", "10500") == 1
    await own.close()


async def test_a_ticket_is_never_more_than_a_text(store: PostgresStore, postgres_address: str) -> None:
    ticket = a_ticket()._replace(id="x'); DROP TABLE motet.run -- \\ é ;")
    await store.commit([[a_run("r")]], ticket)
    await store.commit([[a_run("s")]], ticket)
    assert await store.run("r") is not None and await store.run("s") is None, "it was there before"
    own = await asyncpg.connect(postgres_address)
    assert await own.fetchval("SELECT count(*) FROM motet.ticket WHERE id = $1", ticket.id) == 1
    await own.close()
