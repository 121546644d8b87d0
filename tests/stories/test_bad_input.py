"""What bad input gets: a clear error at the call, and nothing written."""

import asyncio
import math
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from motet import App, Flow, RunBlocked, RunExists, RunNotFound, Settings, StepFailed
from motet.errors import (
    CompensationSignature,
    ConfigError,
    DefinitionError,
    DuplicateName,
    NotConnected,
    NotEncodable,
    NotInStep,
    NotPossible,
    PayloadTooLarge,
    StoreMissing,
    StoreRefused,
    UnknownWorkflow,
    UnstorableText,
    WrongType,
)
from motet.orchestration.attempt import attempt


@dataclass
class Order:
    id: str
    cents: int = 0
    note: object = None


class Shop:
    """An app with one workflow."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.app = App("shop", store=f"sqlite:///{path}")
        self.results: list[object] = []

        @self.app.step
        async def give() -> object:
            return self.results.pop(0)

        @self.app.workflow
        async def buy(flow: Flow, order: Order) -> str:
            return order.id

        @self.app.workflow
        async def other(flow: Flow, order: Order) -> str:
            return order.id

        @self.app.workflow
        async def take(flow: Flow) -> object:
            return await flow.step(give)

        self.buy, self.other, self.take = buy, other, take

    def rows(self) -> int:
        with sqlite3.connect(self.path) as connection:
            found: int = connection.execute("SELECT count(*) FROM run").fetchone()[0]
        return found


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    shop = Shop(tmp_path / "motet.db")
    async with shop.app.worker():
        yield shop


# --- values ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "error", "says"),
    [
        (lambda: Order("1", note=object()), NotEncodable, "the input of workflow shop/buy is not JSON-able"),
        (lambda: Order("1", note={1, object()}), NotEncodable, "is not JSON-able"),
        (lambda: {"id": 5}, WrongType, r"the input of workflow shop/buy is not Order: Expected `str`, got `int`"),
        (lambda: "an order", WrongType, "the input of workflow shop/buy is not Order"),
        (lambda: None, WrongType, "is not Order"),
        (lambda: Order("1", cents=math.nan), WrongType, "is not Order"),  # type: ignore[arg-type]
        (lambda: Order("a\x00b"), UnstorableText, "holds a NUL character, which databases cannot store"),
        (lambda: Order("1", note={"\x00": 1}), UnstorableText, "holds a NUL character"),
        (lambda: Order("\ud800"), UnstorableText, "holds half of a surrogate pair"),
        (
            lambda: Order("x" * 2_100_000),
            PayloadTooLarge,
            r"is 2,100,\d+ bytes, the limit is 2,097,152; store large data elsewhere and pass a reference",
        ),
    ],
)
async def test_a_value_that_cannot_be_recorded(shop: Shop, value, error, says) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=says):
        await shop.app.start(shop.buy, value(), id="bad")
    assert shop.rows() == 0
    with pytest.raises(RunNotFound, match="there is no run 'bad' in sqlite:///"):
        await shop.app.status("bad")


async def test_text_that_only_looks_like_a_nul_is_kept(shop: Shop) -> None:
    text = "\\u0000 and \\\\u0000"
    assert await (await shop.app.start(shop.buy, Order(text), id="fine")).result() == text


@pytest.mark.parametrize(
    ("id", "says"), [("", "has 0 characters"), ("x" * 513, "has 513"), ("a\x00", "NUL"), ("\udfff", "surrogate")]
)
async def test_an_id_that_cannot_be_stored(shop: Shop, id: str, says: str) -> None:
    with pytest.raises(UnstorableText, match=says):
        await shop.app.start(shop.buy, Order("1"), id=id)
    assert shop.rows() == 0


@pytest.mark.parametrize(
    ("result", "says"), [(object(), "is not JSON-able"), ("\x00", "NUL"), ("x" * 2_100_000, "bytes")]
)
async def test_a_result_that_cannot_be_recorded_is_a_fault_and_not_tried_again(
    shop: Shop, result: object, says: str
) -> None:
    shop.results = [result, "a second attempt"]
    run = await shop.app.start(shop.take, id="taken")
    with pytest.raises(Exception, match=says):
        await run.result()
    assert shop.results == ["a second attempt"], "the effect had happened: once is enough"


# --- runs --------------------------------------------------------------------------------------------------------


async def test_an_unknown_workflow(shop: Shop) -> None:
    with pytest.raises(UnknownWorkflow, match="no workflow is named 'sell' here; known: shop/buy, shop/other"):
        await shop.app.start("sell", Order("1"), id="unknown")
    assert shop.rows() == 0


async def test_an_id_in_use(shop: Shop) -> None:
    first = await shop.app.start(shop.buy, Order("1"), id="order-1")
    again = await shop.app.start(shop.buy, Order("1"), id="order-1")
    assert first.uid == again.uid
    with pytest.raises(RunExists, match=r"run 'order-1' exists with another input; choose another id, or read it with"):
        await shop.app.start(shop.buy, Order("2"), id="order-1")
    with pytest.raises(RunExists, match="run 'order-1' exists and is of workflow shop/buy"):
        await shop.app.start(shop.other, Order("1"), id="order-1")
    assert shop.rows() == 1


async def test_steering_what_cannot_be_steered(shop: Shop) -> None:
    await (await shop.app.start(shop.buy, Order("1"), id="over")).result()
    with pytest.raises(NotPossible, match="run 'over' has ended as completed; there is nothing to cancel"):
        await shop.app.cancel("over")
    for verb in (shop.app.retry, shop.app.skip):
        with pytest.raises(NotPossible, match="run 'over' is completed, not blocked"):
            await verb("over")
    with pytest.raises(RunNotFound):
        await shop.app.cancel("never")


async def test_a_corrupt_row_parks_its_run_and_touches_no_other(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "motet.db")
    async with shop.app.connect():
        await shop.app.start(shop.buy, Order("1"), id="broken")
        await shop.app.start(shop.buy, Order("2"), id="sound")
    with sqlite3.connect(shop.path) as connection:
        connection.execute("""UPDATE run SET input = '{"id": 7' WHERE id = 'broken'""")
    async with shop.app.worker():
        assert await shop.app.result("sound") == "2"
        with pytest.raises(RunBlocked, match="run 'broken' is blocked and needs a person"):
            await shop.app.result("broken")


# --- definitions and settings ------------------------------------------------------------------------------------


def test_a_compensation_of_another_shape() -> None:
    app = App("shop")

    @app.step
    async def charge(order: Order, cents: int) -> str:
        return ""

    with pytest.raises(CompensationSignature, match=r"refund\(cents\) or refund\(result, order, cents\)|expected "):

        @charge.compensation
        async def refund(result: str, cents: int) -> None: ...


def test_definitions_that_cannot_work() -> None:
    app = App("shop")

    @app.step
    async def charge() -> None: ...

    with pytest.raises(DuplicateName, match="two steps are named 'shop/charge'"):
        app.step(name="charge")(lambda: None)
    with pytest.raises(DefinitionError, match="must be an async function"):
        app.workflow(lambda flow: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(DefinitionError, match=r"it must take \(flow\) or \(flow, input\)"):

        @app.workflow  # type: ignore[arg-type]
        async def wide(flow: Flow, one: int, two: int) -> None: ...

    with pytest.raises(DefinitionError, match="key 'number' is not a field of Order"):
        app.event("order.placed", key="number")(Order)
    with pytest.raises(ConfigError, match="setting idle_seconds is 0; it must be a number above 0"):
        Settings(idle_seconds=0)
    with pytest.raises(ConfigError, match="store address 'mysql://x' is not understood"):
        asyncio.run(_open(App("shop", store="mysql://x")))
    with pytest.raises(ConfigError, match="names in records are app/name"):
        App("a/b")


async def _open(app: App) -> None:
    async with app.connect():
        raise AssertionError("it opened")


# --- the store ---------------------------------------------------------------------------------------------------


async def test_a_store_that_is_not_there_or_not_ours(tmp_path: Path) -> None:
    missing = App("shop", store=f"sqlite:///{tmp_path / 'none.db'}")
    with pytest.raises(StoreMissing, match=r"there is no store at .*none\.db"):
        async with missing.connect(create=False):
            raise AssertionError("it opened")
    assert list(tmp_path.iterdir()) == []
    text = tmp_path / "text.db"
    text.write_text("this is a letter to somebody, and it is longer than a page header would be " * 20)
    with pytest.raises(StoreRefused, match="is not a SQLite database"):
        await _open(App("shop", store=f"sqlite:///{text}"))
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE event (name TEXT)")
    with pytest.raises(StoreRefused, match="is a database of something else"):
        await _open(App("shop", store=f"sqlite:///{foreign}"))


async def test_verbs_without_a_connection() -> None:
    app = App("shop")
    with pytest.raises(
        NotConnected, match=r"app 'shop' is not connected; use it inside 'async with shop\.worker\(\):'"
    ):
        await app.status("any")


def test_attempt_outside_a_step() -> None:
    with pytest.raises(NotInStep, match=r"attempt\(\) tells a step, or the handler .* and neither is running here"):
        attempt()


# --- time --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True])
async def test_a_step_that_hangs_is_ended_by_its_timeout(tmp_path: Path, plain: bool) -> None:
    import threading

    from motet import Retry

    app = App("hanging", store=f"sqlite:///{tmp_path / 'motet.db'}")
    release = threading.Event()
    cancelled: list[bool] = []

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    def hang_in_a_thread() -> None:
        release.wait(60)

    step = app.step(name="hang", timeout=0.05, retry=Retry(attempts=2, first=0))(hang_in_a_thread if plain else hang)

    @app.workflow(raises=[StepFailed])
    async def patient(flow: Flow) -> None:
        await flow.step(step)

    async with app.worker():
        with pytest.raises(StepFailed, match=r"attempt 2 of .*hang took longer than 0\.05 s") as caught:
            await (await app.start(patient, id="hung")).result()
    release.set()
    if plain:
        assert "its thread goes on alone" in str(caught.value)
    else:
        assert cancelled == [True, True]
