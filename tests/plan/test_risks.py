"""What is likely to end in trouble is warned of where it is plain, and nowhere else."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import ModuleType

import pytest

from motet import App
from motet.errors import RiskWarning
from motet.orchestration.plan.risks import risks_of

Load = Callable[[str], ModuleType]

HEAD = """
from motet import App, Flow, Retry, attempt
import urllib.request, smtplib

ONCE = Retry(attempts=1)
app = App("shop")

@app.step
async def charge(order: str) -> str: ...

@charge.compensation
async def refund(payment: str | None, order: str) -> None: ...

@app.step
async def greet(order: str) -> None: ...

@app.step(retry=ONCE)
async def ship(order: str) -> None: ...
"""


def found(load: Load, code: str) -> list[tuple[str, str]]:
    """For each risk, the source line that it names, and what is wrong."""
    module = load(HEAD + code)
    lines = (HEAD + code).splitlines()
    return [(lines[risk.line - 1].strip(), risk.reason.partition(",")[0]) for risk in risks_of(module.app.registry)]


def flow(*statements: str) -> str:
    body = "".join(f"    {statement}\n" for statement in statements)
    return f"\n@app.workflow\nasync def buy(flow: Flow, order: str) -> None:\n{body}"


def test_what_is_well_made_is_not_warned_of(load: Load) -> None:
    steps = flow("await flow.step(charge, order)", 'flow.publish("paid", {})')
    assert found(load, steps) == []


# --- steps that send -----------------------------------------------------------------------------------------------

POST = 'urllib.request.urlopen("http://bank/charges", data=b"{}")'


def sending(statement: str, decorator: str = "@app.step") -> str:
    return f"\n{decorator}\ndef send(order: str) -> None:\n    {statement}\n"


def test_a_post_that_is_tried_again_without_a_key(load: Load) -> None:
    assert found(load, sending(POST)) == [(POST, "is tried again when it fails")]


@pytest.mark.parametrize(
    "code",
    [
        sending(POST, "@app.step(retry=ONCE)"),
        sending('urllib.request.urlopen("http://bank/charges")'),
        sending(f"key = attempt().key; {POST}"),
        sending('urllib.request.urlopen(urllib.request.Request("u", headers={"Idempotency-Key": order}), data=b"")'),
        sending(f"{POST}  # motet: ok the bank knows orders by their number"),
        sending("order.post(data=b'')"),  # nobody knows what that is
    ],
)
def test_no_key_is_needed(load: Load, code: str) -> None:
    assert found(load, code) == []


def test_a_mail_by_a_client_that_is_made_there(load: Load) -> None:
    code = """
@app.step
def send(order: str) -> None:
    with smtplib.SMTP("mail") as post:
        post.send_message(order)
"""
    assert found(load, code) == [("post.send_message(order)", "is tried again when it fails")]


def test_clients_of_http(load: Load) -> None:
    httpx = """
import sys, types
fake = types.ModuleType("httpx")
class AsyncClient:
    async def post(self, url): ...
    async def get(self, url): ...
fake.AsyncClient = AsyncClient
sys.modules["httpx"] = fake
import httpx

@app.step
async def send(order: str) -> None:
    async with httpx.AsyncClient() as client:
        await client.get("u")
        await client.post("u")
"""
    try:
        assert found(load, httpx) == [('await client.post("u")', "is tried again when it fails")]
    finally:
        import sys

        sys.modules.pop("httpx", None)


# --- compensations -------------------------------------------------------------------------------------------------


def test_a_compensation_that_cannot_be_called_when_nobody_knows(load: Load) -> None:
    code = """
@app.step
async def seat(order: str) -> int: ...

@seat.compensation
async def free(number: int, order: str) -> None: ...
"""
    assert found(load, code) == []  # nobody uses it yet
    used = code + flow("await flow.step(seat, order)")
    reason = "does not take None as its 'number': when nobody knows whether seat happened"
    assert found(load, used) == [("async def free(number: int, order: str) -> None: ...", reason)]
    assert found(load, used.replace("number: int,", "number: int | None,")) == []
    assert found(load, used.replace("-> None: ...\n\n@app.wor", "-> None: ...  # motet: ok by hand\n\n@app.wor")) == []
    assert found(load, code + flow("flow.pivot()", "await flow.step(seat, order)")) == []  # it never runs


# --- events ---------------------------------------------------------------------------------------------------------


def early(*after: str, before: str = "await flow.step(charge, order)") -> str:
    return flow(before, 'flow.publish("paid", {"order": order})', *after)


def test_an_event_before_a_step_whose_failure_makes_it_untrue(load: Load) -> None:
    assert found(load, early("await flow.step(greet, order)")) == [
        ('flow.publish("paid", {"order": order})', "publishes paid before greet (line 24)")
    ]


@pytest.mark.parametrize(
    "code",
    [
        early(),
        early("flow.pivot()", "await flow.step(greet, order)"),
        early("await flow.step(greet, order)", before="await flow.step(greet, order)"),  # nothing is undone
        early('await flow.wait("paid.seen")', "await flow.step(greet, order)"),  # it was a request
        early("try:", "    await flow.step(greet, order)", "except Exception:", "    pass"),
        early(
            "try:", "    await flow.step(greet, order)", "except Exception:", '    flow.publish("x", {})', "    raise"
        ),
        early("await flow.step(greet, order)").replace('"order": order})', '"order": order})  # motet: ok they know'),
    ],
)
def test_the_event_stays_true(load: Load, code: str) -> None:
    assert [one for one in found(load, code) if "publishes" in one[1]] == []


def test_a_compensation_that_takes_the_event_back(load: Load) -> None:
    code = """
@app.step
async def book(order: str) -> str: ...

@book.compensation
async def unbook(booking: str | None) -> None:
    await app.publish("booking.undone", {})
"""
    told = code + early("await flow.step(greet, order)", before="await flow.step(book, order)")
    assert found(load, told) == []
    silent = told.replace('    await app.publish("booking.undone", {})', "    ...")
    assert len(found(load, silent)) == 1


# --- behind the point of no return ----------------------------------------------------------------------------------


def test_a_step_behind_the_pivot_that_is_tried_once(load: Load) -> None:
    code = flow("await flow.step(charge, order)", "flow.pivot()", "await flow.step(ship, order)")
    reason = "tries ship only once past its point of no return: if it fails"
    assert found(load, code) == [("await flow.step(ship, order)", reason)]
    assert found(load, code.replace("flow.step(ship, order)", "flow.step(greet, order)")) == []
    assert found(load, flow("await flow.step(ship, order)", "flow.pivot()")) == []
    perhaps = flow("if order:", "    flow.pivot()", "await flow.step(ship, order)")
    assert found(load, perhaps) == []  # it may come without the pivot as well


# --- saying so ------------------------------------------------------------------------------------------------------


async def test_a_worker_warns_once_with_the_line(load: Load, tmp_path: object) -> None:
    app: App = load(HEAD + flow("flow.pivot()", "await flow.step(ship, order)")).app
    app.use_store(f"sqlite:///{tmp_path}/motet.db")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(2):
            async with app.worker():
                pass
    risky = [one for one in told if one.category is RiskWarning]
    assert len(risky) == 1
    assert risky[0].filename.endswith("shop.py") and risky[0].lineno == 23
    assert str(risky[0].message).startswith("workflow shop/buy tries ship only once past its point of no return")
    assert "retry=Retry(attempts=...)" in str(risky[0].message) and "# motet: ok <reason>" in str(risky[0].message)
