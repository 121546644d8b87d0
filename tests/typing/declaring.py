"""What type checkers know of declarations: checked by mypy and pyright in strict mode, never run."""

from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_type

from motet import App, Compensation, Expectation, Flow, Missed, Module, Retry, Step, Transaction, Workflow

app = App("typing")
module = Module()


class CardDeclined(Exception): ...


@dataclass
class Purchase:
    id: str


@dataclass
class Payment:
    id: str


@app.step
async def charge(purchase: Purchase, cents: int = 100) -> Payment:
    return Payment(purchase.id)


@app.step(retry=Retry(attempts=3), timeout=timedelta(seconds=5), raises=[CardDeclined], name="seat", aliases=["old"])
def reserve(purchase: Purchase) -> str:
    return purchase.id


@charge.compensation
async def refund(payment: Payment | None, purchase: Purchase, cents: int = 100) -> None: ...


@reserve.compensation(retry=Retry(attempts=None), timeout=None)
def release(seat: str | None) -> None: ...


class Connection:
    def execute(self, sql: str) -> None: ...


@app.transaction
async def book(connection: Connection, purchase: Purchase, seats: int = 1) -> Payment:
    return Payment(purchase.id)


@module.transaction(retry=Retry(attempts=3), timeout=5, raises=[CardDeclined], name="seat", aliases=["old"])
def count(connection: Connection) -> int:
    return 1


@book.compensation(transaction=True)
async def unbook(connection: Connection, booked: Payment, purchase: Purchase, seats: int = 1) -> None: ...


@app.event("purchase.completed", key="purchase_id")
@dataclass
class Completed:
    purchase_id: str


@module.step
async def plain() -> None: ...


@app.workflow
async def without_input(flow: Flow) -> int:
    return 1


@app.workflow(deadline=timedelta(hours=1), raises=[CardDeclined], version=2)
async def buy(flow: Flow, purchase: Purchase) -> Payment:
    return await flow.step(charge, purchase)


@app.workflow(on=[Completed, "purchase.lost"], id=lambda event: f"thanks-{event.key}", filter=lambda event: True)
async def thank(flow: Flow, completed: Completed) -> None: ...


assert_type(thank, Workflow[Completed, None])
assert_type(plain, Step[[], None, Coroutine[Any, Any, None]])
assert_type(count, Transaction[Connection, [], int, int])
assert_type(unbook, Compensation)
assert_type(refund, Compensation)
assert_type(release, Compensation)
assert_type(without_input, Workflow[None, int])
assert_type(buy, Workflow[Purchase, Payment])

# A step is still the plain function that it was.
assert_type(reserve(Purchase("1")), str)
assert_type(Completed("1"), Completed)


async def called() -> None:
    assert_type(await charge(Purchase("1")), Payment)
    assert_type(await book(Connection(), Purchase("1"), seats=2), Payment)


# What must be refused. mypy reports an ignore that is not needed, pyright an expectation that is not met.
reserve("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
count()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
count("no connection")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
reserve()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
app.step(retry=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
Retry(attempts="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@app.workflow
async def make_good(flow: Flow, missed: Missed) -> int:
    return missed.early


expected = app.expect("receipt.sent", after=Completed, within=timedelta(minutes=15), on_missed=make_good)
assert_type(expected, Expectation)
assert_type(module.expect(Completed, after="a", within=60.0, each=True, on_missed=without_input), Expectation)
app.expect("b", after="a", within=1, on_missed=buy)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
