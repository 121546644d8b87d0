"""Who notices that something has not happened: expectations as their users see them, in virtual time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from motet import App, Event, Flow, Missed, Module
from motet.errors import DefinitionError, DuplicateName
from motet.model.codec import plain
from motet.model.expected import MISSED_EVENT, Expected
from motet.store.protocol import ExpectedFilter
from motet.testing import virtual

MINUTES = timedelta(minutes=1)


def a_shop(**options: Any) -> App:
    """After `charged`, `enrolled` within 15 minutes."""
    app = App("shop")
    app.expect("enrolled", after="charged", within=15 * MINUTES, name="enrollment", **options)
    return app


async def rows(app: App, **wanted: Any) -> list[Expected]:
    return await app.client.store.expected(ExpectedFilter(**wanted))


async def states(app: App) -> dict[str, str]:
    return {row.key: row.state for row in await rows(app)}


async def misses(app: App) -> list[dict[str, Any]]:
    """What was announced."""
    log = await app.client.store.events(0, 1000)
    return [plain(event.data) for event in log if event.type == MISSED_EVENT]


async def test_met_in_time_and_late_and_missed() -> None:
    app = a_shop()
    async with virtual(app) as kit:
        for key in ("in-time", "at-the-last-moment", "too-late", "never"):
            await app.publish("charged", {"amount": 5}, key=key)
        await kit.advance(14 * MINUTES)
        assert set((await states(app)).values()) == {"open"}
        await app.publish("enrolled", key="in-time")
        await kit.advance(1 * MINUTES)
        await app.publish("enrolled", key="at-the-last-moment")
        await kit.idle()
        assert await misses(app) == []
        await kit.advance(1 * MINUTES)
        assert sorted(miss["key"] for miss in await misses(app)) == ["never", "too-late"]
        await app.publish("enrolled", key="too-late")
        await kit.advance(timedelta(days=30))
        assert await states(app) == {
            "in-time": "met", "at-the-last-moment": "met", "too-late": "late", "never": "missed"
        }  # fmt: skip
        assert len(await misses(app)) == 2, "announced once"


async def test_what_a_miss_tells() -> None:
    app = a_shop()
    async with virtual(app) as kit:
        id = await app.publish("charged", {"amount": 5}, key="42")
        await kit.advance(16 * MINUTES)
        (event,) = [event for event in await app.client.store.events(0, 10) if event.type == MISSED_EVENT]
        (trigger,) = [event for event in await app.client.store.events(0, 10) if event.type == "charged"]
    told = app.registry.events.read(event)
    assert isinstance(told, Missed)
    assert (told.expectation, told.key, told.expected, told.after) == ("shop/enrollment", "42", "enrolled", "charged")
    assert (told.trigger, told.data, told.early) == (id, {"amount": 5}, 0)
    assert told.due - told.armed_at == 15 * MINUTES
    assert (event.source, event.subject, event.causationid) == ("motet", "42", id)
    assert event.correlationid == trigger.correlationid


async def test_a_workflow_is_the_remedy_and_starts_once() -> None:
    app = App("shop")
    refunds: list[Missed] = []

    @app.step
    def refund(missed: Missed) -> None:
        refunds.append(missed)

    @app.workflow
    async def give_back(flow: Flow, missed: Missed) -> int:
        await flow.step(refund, missed)
        return missed.data["amount"]  # type: ignore[no-any-return]

    app.expect("enrolled", after="charged", within=900, name="enrollment", on_missed=give_back)
    async with virtual(app) as kit:
        await app.publish("charged", {"amount": 5}, key="42")
        await kit.advance(timedelta(hours=5))
        assert [missed.key for missed in refunds] == ["42"]
        assert await app.result("enrollment:42") == 5
        run = await app.client.store.run("enrollment:42")
        (event,) = [event for event in await app.client.store.events(0, 10) if event.type == MISSED_EVENT]
        assert run is not None
        assert (run.cause, run.conversation) == (event.id, event.correlationid)


async def test_a_function_is_the_remedy() -> None:
    app, told = App("shop"), list[str]()

    async def page(event: Event[Missed]) -> None:
        told.append(f"{event.key} by {event.data.expectation}")
        event.publish("somebody.paged", {"about": event.data.key})

    app.expect("enrolled", after="charged", within=900, name="enrollment", on_missed=page)
    app.expect("receipt.sent", after="charged", within=60, name="receipt")
    async with virtual(app) as kit:
        await app.publish("charged", key="42")
        await kit.advance(timedelta(hours=5))
        assert told == ["42 by shop/enrollment"], "and not the other's"
        log = await app.client.store.events(0, 10)
        (miss,) = [row for row in log if row.type == MISSED_EVENT and plain(row.data)["after"] == "charged"][1:]
        (paged,) = [row for row in log if row.type == "somebody.paged"]
        assert (paged.causationid, paged.correlationid) == (miss.id, "42")
        (note,) = [plain(c.definition) for c in await app.client.store.cursors() if c.name == "shop/enrollment"]
        assert note["remedy"] == "shop/enrollment.remedy"


async def test_a_function_of_a_module_is_the_remedy_under_the_apps_name() -> None:
    app, module, told = App("shop"), Module(), list[str | None]()

    def page(event: Event[Missed]) -> None:
        told.append(event.key)

    module.expect("enrolled", after="charged", within=900, name="enrollment", on_missed=page)
    app.include(module)
    async with virtual(app) as kit:
        await app.publish("charged", key="42")
        await kit.advance(901)
        assert told == ["42"]
        names = {cursor.name for cursor in await app.client.store.cursors()}
        assert names == {"shop/enrollment", "shop/enrollment.remedy"}


async def test_charged_but_not_enrolled_is_noticed_in_a_pure_choreography() -> None:
    """Nobody publishes any failure: enrollment has simply forgotten one of them."""
    billing, enrollment, audit = App("billing"), App("enrollment"), App("audit")

    @billing.workflow
    async def bill(flow: Flow, learner: str) -> None:
        flow.publish("learner.charged", {"learner": learner}, key=learner)

    @enrollment.workflow
    async def enroll(flow: Flow, learner: str) -> None:
        if learner != "bob":
            flow.publish("learner.enrolled", {"learner": learner}, key=learner)

    @audit.workflow
    async def call_somebody(flow: Flow, missed: Missed) -> str:
        return f"{missed.key} was charged and is not enrolled"

    audit.expect(
        "learner.enrolled", after="learner.charged", within=timedelta(hours=1), name="seat", on_missed=call_somebody
    )
    async with virtual(billing, enrollment, audit) as kit:
        for learner in ("alice", "bob", "carol"):
            await billing.start(bill, learner, id=f"bill-{learner}")
            await enrollment.start(enroll, learner, id=f"enroll-{learner}")
        await kit.advance(timedelta(hours=2))
        assert await states(audit) == {"alice": "met", "bob": "missed", "carol": "met"}
        assert await audit.result("seat:bob") == "bob was charged and is not enrolled"


async def test_the_first_trigger_arms_and_later_ones_are_counted() -> None:
    app = a_shop()
    async with virtual(app) as kit:
        await app.publish("charged", key="42")
        await kit.advance(10 * MINUTES)
        await app.publish("charged", key="42")
        await kit.advance(6 * MINUTES)
        (row,) = await rows(app)
        assert (row.state, row.triggers) == ("missed", 2)


async def test_each_trigger_arms() -> None:
    app = a_shop(each=True)
    async with virtual(app) as kit:
        for _ in range(3):
            await app.publish("charged", key="42")
            await kit.advance(10 * MINUTES)
        await app.publish("enrolled", key="42")
        await kit.advance(timedelta(days=1))
        found = await rows(app)
        assert [row.state for row in found] == ["late", "late", "met"]
        assert len(await misses(app)) == 2, "the second was missed five minutes ago, the third has five left"


async def test_what_came_before_its_trigger_does_not_count_and_is_shown() -> None:
    app = a_shop()
    async with virtual(app) as kit:
        await app.publish("enrolled", key="42")
        await kit.advance(1 * MINUTES)
        assert await states(app) == {}
        await app.publish("charged", key="42")
        await kit.advance(16 * MINUTES)
        (row,) = await rows(app)
        assert (row.state, row.early) == ("missed", 1)
        assert (await misses(app))[0]["early"] == 1


async def test_events_tell_their_own_times() -> None:
    """What was on its way for long has happened in time all the same."""
    app = a_shop()
    async with virtual(app) as kit:
        began = kit.now
        await app.publish("charged", key="slow-post")
        await app.publish("charged", key="lost-post")
        await kit.advance(20 * MINUTES)
        await app.publish("enrolled", key="slow-post", time=began + 5 * MINUTES)
        await app.publish("charged", key="old-news", time=began)
        await app.publish("enrolled", key="reordered", time=began + 19 * MINUTES)
        await app.publish("charged", key="reordered", time=began + 18 * MINUTES)
        await kit.idle()
        assert await states(app) == {
            "slow-post": "met", "lost-post": "missed", "old-news": "missed", "reordered": "met"
        }  # fmt: skip
        (row,) = [row for row in await rows(app) if row.key == "slow-post"]
        assert row.missed_at is not None, "it was announced all the same"


@pytest.mark.parametrize(("within", "state"), [(timedelta(hours=2), "open"), (timedelta(minutes=1), "missed")])
async def test_a_changed_time_limit_applies_to_what_is_open(tmp_path: Any, within: timedelta, state: str) -> None:
    store = f"sqlite:///{tmp_path}/motet.db"
    app = a_shop()
    async with virtual(app, store=store) as kit:
        await app.publish("charged", key="gone")
        await kit.advance(16 * MINUTES)
        await app.publish("charged", key="42")
        await kit.advance(10 * MINUTES)
        now = kit.now
    newer = App("shop")
    newer.expect("enrolled", after="charged", within=within, name="enrollment")
    async with virtual(newer, store=store, start=now) as kit:
        await kit.advance(6 * MINUTES)
        assert await states(newer) == {"42": state, "gone": "missed"}


async def test_after_a_night_without_workers_the_log_is_read_before_anything_is_missed(tmp_path: Any) -> None:
    store = f"sqlite:///{tmp_path}/motet.db"
    app, publisher = a_shop(), App("publisher")
    async with virtual(app, store=store) as kit:
        for number in range(30):
            await app.publish("charged", key=f"k{number}")
        await kit.idle()
        began = kit.now
    async with virtual(publisher, store=store, start=began) as kit:
        await kit.advance(5 * MINUTES)
        for number in range(29):
            await publisher.publish("enrolled", key=f"k{number}")
    async with virtual(app, store=store, start=began + timedelta(hours=8)) as kit:
        await kit.idle()
        assert [miss["key"] for miss in await misses(app)] == ["k29"]
        assert list((await states(app)).values()).count("met") == 29


async def test_one_that_is_added_later_can_begin_anywhere(tmp_path: Any) -> None:
    store = f"sqlite:///{tmp_path}/motet.db"
    app = App("shop")
    async with virtual(app, store=store) as kit:
        await app.publish("charged", key="early")
        await kit.advance(1 * MINUTES)
        between = kit.now
        await app.publish("charged", key="later")
        await kit.advance(1 * MINUTES)
        now = kit.now
    newer = App("shop")
    newer.expect("enrolled", after="charged", within=60, name="all", start="beginning")
    newer.expect("enrolled", after="charged", within=60, name="some", start=between)
    newer.expect("enrolled", after="charged", within=60, name="none")
    async with virtual(newer, store=store, start=now) as kit:
        await newer.publish("charged", key="new")
        await kit.idle()
        found = {(row.expectation, row.key) for row in await rows(newer)}
    assert found == {
        ("shop/all", "early"), ("shop/all", "later"), ("shop/all", "new"), ("shop/some", "later"),
        ("shop/some", "new"), ("shop/none", "new"),
    }  # fmt: skip


async def test_a_renamed_one_keeps_what_it_expects(tmp_path: Any) -> None:
    store = f"sqlite:///{tmp_path}/motet.db"
    app = a_shop()
    async with virtual(app, store=store) as kit:
        await app.publish("charged", key="42")
        await kit.idle()
        now = kit.now
    newer = App("shop")
    newer.expect("enrolled", after="charged", within=900, name="seat", aliases=["enrollment"])
    async with virtual(newer, store=store, start=now) as kit:
        await newer.publish("enrolled", key="42")
        await kit.idle()
        (row,) = await rows(newer)
        assert (row.expectation, row.state) == ("shop/seat", "met")


async def test_a_heartbeat_that_stops_is_missed() -> None:
    """The trigger is itself what is expected next."""
    app = App("plant")
    app.expect("pump.beat", after="pump.beat", within=60, each=True, name="pulse")
    async with virtual(app) as kit:
        for _ in range(5):
            await app.publish("pump.beat", key="pump-1")
            await kit.advance(30)
        assert await misses(app) == []
        await kit.advance(timedelta(hours=1))
        assert [miss["key"] for miss in await misses(app)] == ["pump-1"]
        assert [row.state for row in await rows(app)] == ["met"] * 4 + ["missed"]


async def test_a_module_brings_its_own() -> None:
    app, module = App("shop"), Module()

    @module.event("order.paid", key="order")
    @dataclass
    class OrderPaid:
        order: str

    @module.workflow
    async def chase(flow: Flow) -> str:
        return "chased"

    module.expect("order.sent", after=OrderPaid, within=60, on_missed=chase)
    app.include(module)
    async with virtual(app) as kit:
        await app.publish(OrderPaid("42"))
        await kit.advance(61)
        assert await app.result("order.sent-after-order.paid:42") == "chased"
        (row,) = await rows(app)
        assert row.expectation == "shop/order.sent-after-order.paid"


async def test_events_without_a_key_concern_nobody() -> None:
    app = a_shop()
    async with virtual(app) as kit:
        await app.publish("charged")
        await app.publish("enrolled")
        await kit.advance(timedelta(hours=1))
        assert await rows(app, states=("early", "open", "met", "missed", "late")) == []


@dataclass
class Keyless:
    number: int


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"within": 0}, "within is 0; it must be above 0"),
        ({"within": timedelta(days=-1)}, "it must be above 0"),
        ({"on_missed": "remedy"}, "on_missed is 'remedy'; it must be a workflow"),
        ({"start": "yesterday"}, "start is 'yesterday'; it must be 'now', 'beginning' or a datetime with a time zone"),
    ],
)
def test_what_cannot_be_is_refused_at_once(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(DefinitionError, match=reason):
        App("shop").expect("b", after="a", **{"within": 1, **options})


async def test_what_cannot_be_is_refused_before_anything_runs() -> None:
    app = App("shop")

    @app.workflow
    async def remedy(flow: Flow, number: int) -> None: ...

    app.event("counted")(Keyless)
    broken: list[tuple[dict[str, Any], str]] = [
        ({"event": "b", "after": Keyless}, "event 'counted' has no key"),
        ({"event": "counted", "after": "a"}, "event 'counted' has no key"),
        ({"event": "b.*", "after": "a"}, "'b.\\*' is a pattern; name one event"),
        ({"event": dict, "after": "a"}, "dict is not a declared event"),
        ({"event": "b", "after": "a", "on_missed": remedy}, "its remedy shop/remedy takes <class 'int'>"),
    ]
    for options, reason in broken:
        own = App("shop")
        own.registry = app.registry
        own.expect(options.pop("event"), within=1, **options)
        with pytest.raises(DefinitionError, match=reason):
            async with virtual(own):
                pass


def test_a_function_of_flow_is_no_remedy() -> None:
    async def remedy(flow: Flow, missed: Missed) -> None: ...

    with pytest.raises(DefinitionError, match="decorate it with @app.workflow, or let it take \\(event\\)"):
        a_shop(on_missed=remedy)


def test_two_of_one_name_are_refused() -> None:
    app = a_shop()
    with pytest.raises(DuplicateName, match="two expectations are named 'shop/enrollment'"):
        app.expect("b", after="a", within=1, name="enrollment")
