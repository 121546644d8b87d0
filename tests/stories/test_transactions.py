"""Steps that write to the store's own database: effect and record are one commit."""

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from motet import Flow, Retry, StepFailed, testing
from motet.errors import (
    CompensationSignature,
    DefinitionError,
    RunFailed,
    StepCalledDirectly,
    StoreUnavailable,
    WrongPlace,
    WrongType,
)  # fmt: skip
from motet.store.mutations import Mutation
from motet.store.sqlite.transacting import SqliteTransaction
from tests.stories.conftest import ONCE, QUICK, Outside, Shop

Connection = sqlite3.Connection


class SoldOut(Exception):
    """An answer."""


def reserve(connection: Connection, who: str) -> str:
    connection.execute("CREATE TABLE IF NOT EXISTS seat (who TEXT)")
    connection.execute("INSERT INTO seat VALUES (?)", (who,))
    return f"a seat for {who}"


def seats(shop: Shop) -> list[str]:
    """As an outside reader sees them."""
    connection = sqlite3.connect(shop.path)
    try:
        if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'seat'").fetchone() is None:
            return []
        return [who for (who,) in connection.execute("SELECT who FROM seat ORDER BY rowid")]
    finally:
        connection.close()


async def kinds(shop: Shop, id: str) -> list[tuple[str, str]]:
    """The run's history: operations and what became of them."""
    run = await shop.client.store.run(id)
    assert run is not None
    rows = (await shop.client.store.histories([(run.uid, run.generation)]))[run.uid]
    return [(row.op, row.kind) for row in rows]


async def test_effect_and_record_are_one(shop: Shop) -> None:
    book = shop.transaction(name="book")(reserve)

    @shop.workflow
    async def buy(flow: Flow, who: str) -> list[str]:
        return [await flow.transaction(book, who), await flow.transaction(book, who=who.upper())]

    async with shop.worker():
        run = await shop.start(buy, "ann", id="r")
        assert await run.result() == ["a seat for ann", "a seat for ANN"]
        assert seats(shop) == ["ann", "ANN"]
        (first, second) = (await shop.status("r")).done
        assert (first.operation, first.kind, first.outcome, first.attempts) == ("book#1", "transaction", "completed", 1)
        assert (second.operation, second.result, second.result_type) == ("book#2", "a seat for ANN", "str")


async def test_an_async_function(shop: Shop) -> None:
    @shop.transaction
    async def book(connection: Connection, who: str) -> str:
        await asyncio.sleep(0)
        return reserve(connection, who)

    @shop.workflow
    async def buy(flow: Flow) -> str:
        return await flow.transaction(book, "ann")

    async with shop.worker():
        assert await (await shop.start(buy, id="r")).result() == "a seat for ann"
    assert seats(shop) == ["ann"]


async def test_a_fault_is_rolled_back_and_tried_again(shop: Shop) -> None:
    tries: list[int] = []

    @shop.transaction(retry=QUICK)
    def book(connection: Connection, who: str) -> str:
        tries.append(1)
        told = reserve(connection, f"{who}{len(tries)}")
        if len(tries) < 3:
            raise OSError("not yet")
        return told

    @shop.workflow
    async def buy(flow: Flow) -> str:
        return await flow.transaction(book, "ann")

    async with shop.worker():
        assert await (await shop.start(buy, id="r")).result() == "a seat for ann3"
        assert await kinds(shop, "r") == [("book#1", "retrying"), ("book#1", "retrying"), ("book#1", "completed")]
    assert seats(shop) == ["ann3"]


async def test_what_has_failed_for_good_has_not_happened_so_it_is_not_undone(shop: Shop, outside: Outside) -> None:
    @shop.step
    def pay() -> None:
        outside.did("pay")

    @pay.compensation
    def refund(paid: None) -> None:
        outside.did("refund")

    @shop.transaction(retry=ONCE)
    def book(connection: Connection, who: str) -> str:
        reserve(connection, who)
        raise OSError("broken")

    @book.compensation
    def free(seat: str | None, who: str) -> None:
        outside.did("free")

    @shop.workflow
    async def buy(flow: Flow) -> None:
        await flow.step(pay)
        await flow.transaction(book, "ann")

    async with shop.worker():
        with pytest.raises(
            RunFailed, match="transaction book failed after 1 attempt: OSError: broken; it was rolled back"
        ):
            await (await shop.start(buy, id="r")).result()
        (failed,) = [item for item in (await shop.status("r")).failed if item.kind == "transaction"]
        assert failed.error == "OSError: broken"
    assert seats(shop) == []
    assert outside.effects == ["pay", "refund"]


async def test_an_answer_is_rolled_back(shop: Shop) -> None:
    @shop.transaction(raises=[SoldOut])
    def book(connection: Connection, who: str) -> str:
        reserve(connection, who)
        raise SoldOut(who)

    @shop.workflow
    async def buy(flow: Flow) -> str:
        try:
            return await flow.transaction(book, "ann")
        except SoldOut as sold_out:
            return f"sold out: {sold_out}"

    async with shop.worker():
        assert await (await shop.start(buy, id="r")).result() == "sold out: ann"
        assert await kinds(shop, "r") == [("book#1", "answered")]
    assert seats(shop) == []


async def test_a_result_that_cannot_be_recorded_is_rolled_back(shop: Shop) -> None:
    @shop.transaction
    def book(connection: Connection, who: str) -> Any:
        reserve(connection, who)
        return object()

    @shop.workflow
    async def buy(flow: Flow) -> None:
        await flow.transaction(book, "ann")

    async with shop.worker():
        with pytest.raises(RunFailed, match="failed after 1 attempt: NotEncodable"):
            await (await shop.start(buy, id="r")).result()
    assert seats(shop) == []


async def test_what_it_did_is_undone_in_a_transaction_too(shop: Shop) -> None:
    book = shop.transaction(name="book")(reserve)

    @book.compensation(transaction=True)
    def free(connection: Connection, seat: str, who: str) -> None:
        assert seat == f"a seat for {who}"
        connection.execute("DELETE FROM seat WHERE who = ?", (who,))

    @shop.step(retry=ONCE)
    def pay() -> None:
        raise OSError("no money")

    @shop.workflow
    async def buy(flow: Flow) -> None:
        await flow.transaction(book, "ann")
        await flow.transaction(book, "bob")
        await flow.step(pay)

    async with shop.worker():
        with pytest.raises(RunFailed, match="no money"):
            await (await shop.start(buy, id="r")).result()
        assert (await kinds(shop, "r"))[-2:] == [("free#1", "completed"), ("free#2", "completed")]
    assert seats(shop) == []


async def test_beside_other_operations_all_is_applied_in_the_order_of_positions(impatient: Shop) -> None:
    """And the same again in replay: the machine refuses a history that it cannot follow."""
    shop = impatient
    book = shop.transaction(name="book")(reserve)

    @shop.step
    async def note(number: int) -> int:
        return number

    @shop.workflow
    async def buy(flow: Flow) -> list[Any]:
        async def one(number: int) -> Any:
            flow.publish("begun", number)
            first = await flow.step(note, number) if number % 2 else await flow.transaction(book, f"p{number}")
            flow.publish("half", number)
            second = await flow.transaction(book, f"q{number}")
            return [first, second]

        found = await asyncio.gather(*(one(number) for number in range(6)))
        await flow.sleep(0.05)
        return found

    async with shop.worker():
        assert len(await (await shop.start(buy, id="r")).result()) == 6
        assert sorted(seats(shop)) == ["p0", "p2", "p4", "q0", "q1", "q2", "q3", "q4", "q5"]
        assert [type for type, _ in await shop.events()].count("half") == 6
        history = await kinds(shop, "r")
        assert sorted(op for op, kind in history if kind == "completed") == sorted(
            [f"book#{n}" for n in range(1, 10)] + [f"note#{n}" for n in range(1, 4)]
        )


async def test_a_plain_function_whose_time_is_over_writes_nothing_more(shop: Shop) -> None:
    """Nor does it keep others from writing, whatever it does."""
    hanging, errors = threading.Event(), list[str]()
    ended = threading.Event()

    @shop.transaction(timeout=0.05, retry=ONCE)
    def book(connection: Connection, who: str) -> str:
        reserve(connection, who)
        hanging.wait(30)
        for text in ("INSERT INTO seat VALUES ('late')", "COMMIT"):
            try:
                connection.execute(text)
            except sqlite3.Error as error:
                errors.append(str(error))
        ended.set()
        return "too late"

    @shop.workflow
    async def buy(flow: Flow) -> str:
        try:
            return await flow.transaction(book, "ann")
        except StepFailed as failed:
            return str(failed)

    async with shop.worker():
        told = await (await shop.start(buy, id="r")).result()  # written while the function still hangs
        assert "StepTimedOut" in told and told.endswith("its thread goes on alone; it was rolled back")
        hanging.set()
        await asyncio.to_thread(ended.wait, 30)
    assert len(errors) == 2
    assert seats(shop) == []


async def test_a_statement_whose_time_is_over_is_interrupted(shop: Shop) -> None:
    @shop.transaction(timeout=0.05, retry=ONCE)
    def book(connection: Connection) -> int:
        query = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
        (found,) = connection.execute(query).fetchone()  # would never end
        return int(found)

    @shop.workflow
    async def buy(flow: Flow) -> str:
        try:
            return str(await flow.transaction(book))
        except StepFailed as failed:
            return type(failed).__name__

    async with shop.worker():
        assert await (await shop.start(buy, id="r")).result() == "StepFailed"


async def test_who_ends_the_transaction_alone_is_told_so(shop: Shop) -> None:
    @shop.transaction(retry=ONCE)
    def book(connection: Connection) -> None:
        connection.execute("ROLLBACK")

    @shop.workflow
    async def buy(flow: Flow) -> None:
        await flow.transaction(book)

    async with shop.worker():
        with pytest.raises(RunFailed, match="WrongPlace: the function of a transaction has committed or rolled back"):
            await (await shop.start(buy, id="r")).result()


async def test_a_constraint_that_is_checked_at_the_end_is_the_functions_fault(shop: Shop) -> None:
    @shop.transaction(retry=ONCE)
    def book(connection: Connection) -> None:
        connection.execute("PRAGMA defer_foreign_keys = ON")
        connection.execute("CREATE TABLE a (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE TABLE b (a INTEGER REFERENCES a DEFERRABLE INITIALLY DEFERRED)")
        connection.execute("INSERT INTO b VALUES (1)")

    @shop.workflow
    async def buy(flow: Flow) -> None:
        await flow.transaction(book)

    class WithKeys(SqliteTransaction):
        def _begin(self) -> Connection:
            connection = super()._begin()
            connection.execute("COMMIT")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("BEGIN IMMEDIATE")
            return connection

    async with shop.worker():
        shop.client.store.step_transaction = lambda fence, blocking: WithKeys(str(shop.path), fence)  # type: ignore[method-assign]
        with pytest.raises(RunFailed, match="IntegrityError: FOREIGN KEY constraint failed; it was rolled back"):
            await (await shop.start(buy, id="r")).result()
    connection = sqlite3.connect(shop.path)
    assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'b'").fetchone() == (0,)
    connection.close()


@pytest.mark.parametrize("committed", [True, False])
async def test_the_reply_to_the_commit_is_lost(shop: Shop, monkeypatch: pytest.MonkeyPatch, committed: bool) -> None:
    """Whether it was committed is read from the store: the function runs again only if not."""
    replies = iter([False])
    commit = SqliteTransaction.commit

    async def lose_the_reply(transaction: SqliteTransaction, unit: list[Mutation]) -> None:
        answered = next(replies, True)
        if answered or committed:
            await commit(transaction, unit)
        if not answered:
            await transaction.roll_back()
            raise StoreUnavailable("the line is dead")

    monkeypatch.setattr(SqliteTransaction, "commit", lose_the_reply)
    tries: list[str] = []

    @shop.transaction(retry=ONCE)
    def book(connection: Connection, who: str) -> str:
        tries.append(who)
        return reserve(connection, who)

    @shop.workflow
    async def buy(flow: Flow) -> str:
        return await flow.transaction(book, "ann")

    async with shop.worker():
        assert await (await shop.start(buy, id="r")).result() == "a seat for ann"
        assert await kinds(shop, "r") == [("book#1", "completed")]
    assert seats(shop) == ["ann"]
    assert len(tries) == (1 if committed else 2)


async def test_a_store_that_is_away_costs_no_attempt(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    begin, away = SqliteTransaction.begin, iter([True, True, True, True, True])

    async def sometimes(transaction: SqliteTransaction) -> Connection:
        if next(away, False):
            raise StoreUnavailable("away")
        return await begin(transaction)

    monkeypatch.setattr(SqliteTransaction, "begin", sometimes)
    monkeypatch.setattr("motet.runtime.insisting.FIRST_WAIT", 0.001)
    tries: list[int] = []

    @shop.transaction(retry=ONCE)
    def book(connection: Connection, who: str) -> str:
        tries.append(1)
        if len(tries) < 3:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise RuntimeError("dressed up") from error
        return reserve(connection, who)

    @shop.workflow
    async def buy(flow: Flow) -> str:
        return await flow.transaction(book, "ann")

    async with shop.worker():
        assert await (await shop.start(buy, id="r")).result() == "a seat for ann"
        assert await kinds(shop, "r") == [("book#1", "completed")]
    assert len(tries) == 3


async def test_what_always_looks_like_an_outage_is_the_functions_fault(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motet.runtime.insisting.FIRST_WAIT", 0.001)

    @shop.transaction(retry=ONCE)
    def book(connection: Connection) -> None:
        error = sqlite3.OperationalError("no end of it")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    @shop.workflow
    async def buy(flow: Flow) -> None:
        await flow.transaction(book)

    async with shop.worker():
        with pytest.raises(RunFailed, match="no end of it"):
            await (await shop.start(buy, id="r")).result()


async def test_who_has_lost_the_run_commits_nothing(shop: Shop, outside: Outside) -> None:
    """Declared dead while its transaction waits for its turn: the heir does it, once."""

    @shop.step
    async def stand() -> None:
        await outside.wait_at("gate")

    book = shop.transaction(name="book")(reserve)

    @shop.workflow
    async def buy(flow: Flow) -> str:
        await flow.step(stand)
        return await flow.transaction(book, "ann")

    async with shop.worker():
        run = await shop.start(buy, id="r")
        await outside.reached("gate")
        worker = shop.client.worker
        assert worker is not None
        before = worker.id
        taken = asyncio.Event()
        original = shop.client.store.step_transaction

        def late(fence: Any, *, blocking: bool) -> Any:
            transaction = original(fence, blocking=blocking)
            begin = transaction.begin

            async def begin_late() -> object:
                if fence.worker == before:
                    (row,) = await shop.client.store.workers()
                    assert await shop.client.store.bury(row.id, row.counter)
                    taken.set()
                return await begin()

            transaction.begin = begin_late  # type: ignore[method-assign]
            return transaction

        shop.client.store.step_transaction = late  # type: ignore[method-assign]
        outside.open("gate")
        assert await run.result() == "a seat for ann"
        assert taken.is_set() and worker.id != before
        assert await kinds(shop, "r") == [("stand#1", "completed"), ("book#1", "completed")]
    assert seats(shop) == ["ann"]


async def test_events_and_starts_in_it_are_part_of_it(shop: Shop) -> None:
    tries: list[int] = []

    @shop.transaction(retry=QUICK)
    async def book(connection: Connection, who: str) -> str:
        await shop.publish("seat.booked", {"who": who}, key=who, conn=connection)
        await shop.start(ship, id=f"ship-{who}", conn=connection)
        tries.append(1)
        if len(tries) == 1:
            raise OSError("not yet")
        with pytest.raises(
            WrongPlace, match="app.publish in transaction shop/book, which has a transaction of its own"
        ):
            await shop.publish("seat.booked")
        return reserve(connection, who)

    @shop.workflow
    async def ship(flow: Flow) -> str:
        return "shipped"

    @shop.workflow
    async def buy(flow: Flow) -> None:
        await flow.transaction(book, "ann")

    async with shop.worker():
        await (await shop.start(buy, id="r")).result()
        assert await shop.result("ship-ann") == "shipped"
        booked = [row for row in await shop.client.store.events(0, 9) if row.type == "seat.booked"]
        assert [(row.subject, row.correlationid) for row in booked] == [("ann", "r")]


async def test_a_suspects_transaction_is_accused_and_acquitted(shop: Shop) -> None:
    book = shop.transaction(name="book")(reserve)

    @shop.workflow
    async def buy(flow: Flow) -> str:
        return await flow.transaction(book, "ann")

    async with shop.connect():
        await shop.start(buy, id="r")
    connection = sqlite3.connect(shop.path)
    connection.execute("UPDATE run SET crashes = 3")
    connection.commit()
    async with shop.worker():
        assert await shop.result("r") == "a seat for ann"
    assert connection.execute("SELECT crashes FROM run").fetchone() == (0,)
    connection.close()
    assert seats(shop) == ["ann"]


async def test_in_virtual_time(shop: Shop) -> None:
    tries: list[int] = []

    @shop.transaction(retry=Retry(attempts=3, first=60))
    def book(connection: Connection, who: str) -> str:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("not yet")
        return reserve(connection, who)

    @shop.workflow
    async def buy(flow: Flow) -> str:
        return await flow.transaction(book, "ann")

    async with testing.virtual(shop, auto=True):
        assert await (await shop.start(buy, id="r")).result() == "a seat for ann"
    assert len(tries) == 3


WRONG: list[tuple[str, Callable[[Shop, Flow], Awaitable[Any]], type[Exception], str]] = [
    ("as a step", lambda shop, flow: flow.step(shop.registry.steps["shop/book"], "ann"), WrongType,
     "shop/book is a transaction; write: await flow.transaction\\(book, ...\\)"),
    ("a step", lambda shop, flow: flow.transaction(shop.registry.steps["shop/pay"]), WrongType,
     "flow.transaction takes a transaction, .* decorate the function with @app.transaction"),
    ("too few", lambda shop, flow: flow.transaction(shop.registry.steps["shop/book"]), TypeError, "who"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "act", "kind", "words"), WRONG, ids=[wrong[0] for wrong in WRONG])
async def test_what_is_refused_in_a_body(
    shop: Shop, what: str, act: Callable[[Shop, Flow], Awaitable[Any]], kind: type[Exception], words: str
) -> None:
    shop.transaction(name="book")(reserve)
    shop.registry.steps["shop/book"].__name__ = "book"
    shop.step(name="pay")(lambda: None)

    @shop.workflow
    async def buy(flow: Flow) -> str:
        with pytest.raises(kind, match=words):
            await act(shop, flow)
        return "refused"

    async with shop.worker():
        assert await (await shop.start(buy, id="r")).result() == "refused"


async def test_called_directly_it_is_the_plain_function_but_not_in_a_body(shop: Shop) -> None:
    book = shop.transaction(name="book")(reserve)
    connection = sqlite3.connect(":memory:")
    assert book(connection, "ann") == "a seat for ann"

    @shop.workflow
    async def buy(flow: Flow) -> str:
        with pytest.raises(StepCalledDirectly, match="await flow.transaction\\(reserve, ...\\)"):
            book(connection, "ann")
        return "refused"

    async with shop.worker():
        assert await (await shop.start(buy, id="r")).result() == "refused"
    connection.close()


def test_declarations_that_cannot_work(shop: Shop) -> None:
    with pytest.raises(
        DefinitionError, match=r"transaction shop/book takes \(\) -> None; its first parameter must be the conn"
    ):

        @shop.transaction
        def book() -> None: ...  # type: ignore[misc]

    good = shop.transaction(name="good")(reserve)
    with pytest.raises(
        CompensationSignature, match=r"expected free\(connection, result\) or free\(connection, result, "
    ):

        @good.compensation(transaction=True)
        def free(seat: str, who: str, more: int) -> None: ...
