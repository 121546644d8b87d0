"""What can be declared, what is refused when the program starts, and what a definition tells of itself."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from motet import App, Flow, Module, Retry, Step
from motet.errors import CompensationSignature, ConfigError, DefinitionError, DuplicateName, UnknownWorkflow, WrongType
from motet.orchestration.registry import Registry
from motet.orchestration.signature import Arguments, admits_none, hints_of

LIMIT = 10_000


@dataclass
class Purchase:
    id: str


@dataclass
class Receipt:
    id: str


class Payment(msgspec.Struct):
    id: str


@pytest.fixture
def shop() -> App:
    return App("shop")


# --- steps --------------------------------------------------------------------------------------------------------


def test_a_step_is_the_plain_function_with_a_name_bare_or_with_arguments(shop: App) -> None:
    @shop.step
    def charge(purchase: Purchase) -> str:
        """Take the money."""
        return purchase.id

    @shop.step(name="send")
    async def ship(purchase: Purchase) -> str:
        return purchase.id

    assert (charge.name, ship.name) == ("shop/charge", "shop/send")
    assert (charge(Purchase("p")), charge.__doc__, charge.__name__) == ("p", "Take the money.", "charge")
    assert inspect.unwrap(charge) is charge.function
    assert not charge.is_async and ship.is_async
    assert repr(charge) == "<step shop/charge>"


async def test_a_step_called_outside_of_a_workflow_is_the_coroutine_function(shop: App) -> None:
    @shop.step
    async def ship(purchase: Purchase) -> str:
        return purchase.id

    assert await ship(Purchase("p")) == "p"


@pytest.mark.parametrize(("given", "held"), [(10, 10.0), (timedelta(minutes=1), 60.0), (None, None), (0.5, 0.5)])
def test_timeouts_are_seconds_or_timedeltas_or_none(shop: App, given: Any, held: float | None) -> None:
    @shop.step(timeout=given)
    async def charge() -> None: ...

    assert charge.timeout == held


@pytest.mark.parametrize("timeout", [0, -1, timedelta(0)])
def test_a_timeout_must_be_above_0(shop: App, timeout: Any) -> None:
    with pytest.raises(DefinitionError, match=r"timeout is .*; it must be above 0, or None for no end"):
        shop.step(timeout=timeout)(lambda: None)

    @shop.step
    async def charge() -> None: ...

    with pytest.raises(DefinitionError, match="step shop/charge: timeout"):
        charge.options(timeout=timeout)


@pytest.mark.parametrize("raises", [[int], ["CardDeclined"], [KeyboardInterrupt], [ValueError("x")]])
def test_raises_takes_exception_classes(shop: App, raises: Any) -> None:
    with pytest.raises(DefinitionError, match="is not an exception class"):
        shop.step(raises=raises)(lambda: None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"attempts": 0}, "at least 1, or None for no end"),
        ({"first": -1}, "may not be negative"),
        ({"cap": -1}, "may not be negative"),
        ({"factor": 0.5}, "factor is at least 1"),
        ({"jitter": 2}, "between 0 and 1"),
    ],
)
def test_a_retry_policy_that_cannot_work_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Retry(**given)


@pytest.mark.parametrize("what", [functools.partial(print, 1), 7, Purchase("p"), Purchase])
def test_what_is_no_function_is_refused(shop: App, what: Any) -> None:
    with pytest.raises(DefinitionError, match="is not a function; decorate a def or an async def"):
        shop.step(what)
    with pytest.raises(DefinitionError, match="is not a function; decorate a def or an async def"):
        shop.workflow(what)


def test_options_are_for_one_call_and_keep_everything_else(shop: App) -> None:
    @shop.step(retry=Retry(attempts=2), timeout=5, raises=[ValueError])
    async def charge(purchase: Purchase) -> Payment: ...

    quick = charge.options(timeout=1)

    @charge.compensation
    async def refund(payment: Payment | None) -> None: ...

    assert (quick.timeout, quick.retry, quick.raises, quick.name) == (1.0, charge.retry, (ValueError,), "shop/charge")
    assert (charge.timeout, charge.options(timeout=None).timeout, charge.options().timeout) == (5.0, None, 5.0)
    assert charge.options(retry=Retry(attempts=9)).retry.attempts == 9
    assert quick.compensated_by is refund is charge.compensated_by


def test_annotations_of_functions_inside_functions_are_read_whether_bare_or_with_arguments(shop: App) -> None:
    @dataclass
    class Local:
        id: str

    @shop.step
    async def bare(local: Local) -> Local: ...

    @shop.step(timeout=1)
    async def dressed(local: Local) -> Local: ...

    @bare.compensation
    async def undo(result: Local | None, local: Local) -> None: ...

    @shop.workflow
    async def flows(flow: Flow, local: Local) -> Local: ...

    @shop.workflow(version=2)
    async def flows_too(flow: Flow, local: Local) -> Local: ...

    shop.registry.prepare()
    assert bare.hints["local"] is dressed.hints["return"] is Local
    assert flows.input is not None and flows.input.kind is Local


def test_an_annotation_that_cannot_be_read_is_found_when_the_program_starts(shop: App) -> None:
    @shop.step
    async def charge(purchase: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(DefinitionError, match=r"an annotation cannot be read at run time .*Missing.*import its class"):
        shop.registry.prepare()


def test_a_type_that_is_no_data_is_found_when_the_program_starts(shop: App) -> None:
    @shop.step
    async def charge(purchase: Purchase | Receipt) -> None: ...

    with pytest.raises(DefinitionError, match=r"step shop/charge: a parameter's type .* cannot be read from JSON"):
        shop.registry.prepare()


# --- compensations ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bare", [True, False])
def test_a_compensation_takes_the_result_or_the_result_and_the_steps_parameters(shop: App, bare: bool) -> None:
    @shop.step
    async def charge(purchase: Purchase, currency: str = "EUR") -> Payment: ...

    def refund(payment: Payment | None, purchase: Purchase, currency: str) -> None: ...

    made = charge.compensation(refund) if bare else charge.compensation(name="pay_back", timeout=3)(refund)
    assert made.takes_parameters and made.admits_none and made.retry.attempts == 10
    assert (made.name, made.timeout) == (("refund", ...) if bare else ("pay_back", 3.0))
    assert made(None, Purchase("p"), "EUR") is None


def _nothing() -> None: ...
def _other_names(payment: Payment, order: Purchase, currency: str) -> None: ...
def _too_few(payment: Payment, purchase: Purchase) -> None: ...
def _other_order(payment: Payment, currency: str, purchase: Purchase) -> None: ...


@pytest.mark.parametrize("wrong", [_nothing, _other_names, _too_few, _other_order])
def test_a_wrong_compensation_prints_the_expected_signature(shop: App, wrong: Callable[..., Any]) -> None:
    @shop.step
    async def charge(purchase: Purchase, currency: str) -> Payment: ...

    with pytest.raises(CompensationSignature) as error:
        charge.compensation(wrong)
    name = wrong.__name__
    assert f"expected {name}(result) or {name}(result, purchase, currency)" in str(error.value)


def test_a_compensation_of_a_step_without_parameters_takes_the_result_all_the_same(shop: App) -> None:
    @shop.step
    async def charge() -> Payment: ...

    with pytest.raises(CompensationSignature, match=r"expected _nothing\(result\)"):
        charge.compensation(_nothing)


def test_a_step_has_one_compensation(shop: App) -> None:
    @shop.step
    async def charge() -> Payment: ...

    @charge.compensation
    async def refund(payment: Payment) -> None: ...

    with pytest.raises(DefinitionError, match="step shop/charge has a compensation already: refund"):
        charge.options(timeout=1).compensation(refund.function)


@pytest.mark.parametrize(
    ("hint", "admits"),
    [(None, True), (Any, True), (object, True), (Payment | None, True), (Payment, False), (int | str, False)],
)
def test_whether_a_parameter_admits_none(hint: Any, admits: bool) -> None:
    assert admits_none(hint) is admits


def test_a_first_parameter_without_annotation_does_not_admit_none(shop: App) -> None:
    @shop.step
    async def charge() -> Payment: ...

    @charge.compensation
    async def refund(payment) -> None: ...  # type: ignore[no-untyped-def]

    assert not refund.admits_none


# --- workflows ----------------------------------------------------------------------------------------------------


async def _two_inputs(flow: Flow, a: int, b: int) -> None: ...
async def _no_flow() -> None: ...
async def _keyword_only(flow: Flow, *, a: int) -> None: ...
async def _many(flow: Flow, *numbers: int) -> None: ...


@pytest.mark.parametrize("wrong", [_two_inputs, _no_flow, _keyword_only, _many])
def test_a_workflow_takes_flow_and_at_most_one_input(shop: App, wrong: Callable[..., Any]) -> None:
    with pytest.raises(DefinitionError, match=r"it must take \(flow\) or \(flow, input\): put several inputs into one"):
        shop.workflow(wrong)


def test_a_workflow_is_an_async_function(shop: App) -> None:
    with pytest.raises(DefinitionError, match=r"must be an async function: async def _nothing\(flow, ...\)"):
        shop.workflow(_nothing)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"deadline": 0}, "deadline is 0; it must be above 0"),
        ({"version": 0}, "versions count from 1"),
        ({"raises": [int]}, "is not an exception class"),
    ],
)
def test_workflow_options_that_cannot_work_are_refused(shop: App, options: dict[str, Any], message: str) -> None:
    async def body(flow: Flow) -> None: ...

    with pytest.raises(DefinitionError, match=message):
        shop.workflow(**options)(body)


async def test_a_workflow_called_is_its_plain_coroutine(shop: App) -> None:
    @shop.workflow
    async def double(flow: Flow, number: int) -> int:
        return 2 * number

    assert await double(None, 4) == 8  # type: ignore[arg-type]
    assert repr(double) == "<workflow shop/double v1>"


# --- names --------------------------------------------------------------------------------------------------------


def test_two_definitions_of_one_name_are_refused(shop: App) -> None:
    shop.step(name="charge")(lambda: None)
    with pytest.raises(DuplicateName, match="two steps are named 'shop/charge'; give one of them another name="):
        shop.step(name="charge")(lambda: None)

    async def body(flow: Flow) -> None: ...

    shop.workflow(body)
    with pytest.raises(DuplicateName, match="two workflows are named 'shop/body'"):
        shop.workflow(name="other", aliases=["body"])(body)


def test_a_new_step_may_not_take_the_name_that_an_alias_keeps_for_runs_in_flight(shop: App) -> None:
    shop.step(name="debit", aliases=["charge"])(lambda: None)
    with pytest.raises(DuplicateName, match="shop/debit and shop/charge would both be recorded as 'charge'"):
        shop.step(name="charge")(lambda: None)


def test_operations_are_recorded_under_the_oldest_name(shop: App) -> None:
    step: Step[..., Any, Any] = shop.step(name="debit", aliases=["charge", "take"])(lambda: None)

    async def body(flow: Flow) -> None: ...

    workflow = shop.workflow(name="buy", aliases=["purchase"])(body)
    assert (step.operation_name, workflow.operation_name) == ("charge", "purchase")
    assert shop.registry.workflow("shop/purchase") is workflow


def test_a_workflow_is_found_by_its_full_name_or_by_the_end_of_it(shop: App) -> None:
    async def body(flow: Flow) -> None: ...

    workflow = shop.workflow(body)
    assert shop.registry.workflow("shop/body") is shop.registry.workflow("body") is workflow
    with pytest.raises(UnknownWorkflow, match="no workflow is named 'bodi' here; known: shop/body"):
        shop.registry.workflow("bodi")


def test_a_modules_declarations_become_the_apps_own(shop: App) -> None:
    module = Module()

    @module.step
    async def charge() -> None: ...

    @module.workflow(aliases=["old_buy"])
    async def buy(flow: Flow) -> None: ...

    assert shop.include(module) is module
    assert (charge.name, buy.name) == ("shop/charge", "shop/buy")
    assert shop.registry.workflow("shop/old_buy") is buy
    with pytest.raises(DefinitionError, match="belongs to another app; a module goes into one app"):
        App("bar").include(module)
    second = Module()
    second.step(name="charge")(lambda: None)
    with pytest.raises(DuplicateName):
        shop.include(second)


@pytest.mark.parametrize("name", ["", "a/b", "a@b", "nul\0", "x" * 600])
def test_an_apps_name_is_checked(name: str) -> None:
    with pytest.raises(Exception, match="app"):
        App(name)


def test_the_fingerprint_is_that_of_the_source(shop: App) -> None:
    shop.step(name="one")(lambda: None)
    fingerprint = shop.registry.fingerprint
    assert fingerprint == shop.registry.fingerprint and len(fingerprint) == 16
    other = Registry()
    other.include(shop.registry)
    assert other.fingerprint == fingerprint
    assert Registry().fingerprint != fingerprint


# --- arguments ----------------------------------------------------------------------------------------------------


def _positional(a: int, b: str = "b") -> None: ...
def _wide(a: int, *rest: Purchase, k: Payment, **more: Purchase) -> None: ...


def arguments(function: Callable[..., Any]) -> Arguments:
    return Arguments(function, hints_of(function, {}), "step f")


def test_arguments_are_encoded_as_they_bind_and_decoded_by_annotation() -> None:
    codec = arguments(_positional)
    assert codec.encode((1,), {}, LIMIT) == codec.encode((), {"a": 1, "b": "b"}, LIMIT) == '[1,"b"]'
    assert codec.decode('[1,"b"]') == ((1, "b"), {})
    with pytest.raises(TypeError, match="too many positional arguments"):
        codec.encode((1, "b", 3), {}, LIMIT)
    with pytest.raises(WrongType, match="the arguments of step f is not"):
        codec.decode('["one","b"]')


def test_starred_and_keyword_parameters_are_decoded_by_their_annotations() -> None:
    codec = arguments(_wide)
    given = (1, Purchase("p"), Purchase("q")), {"k": Payment("x"), "extra": Purchase("r")}
    assert codec.decode(codec.encode(*given, LIMIT)) == given
    with pytest.raises(WrongType):
        codec.decode('{"args":[1,7],"kwargs":{"k":{"id":"x"}}}')
