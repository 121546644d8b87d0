"""Pruning beside everybody else, held in the one place in which it would show: nothing is lost, doubled or left."""

from __future__ import annotations

from collections.abc import Sequence

from motet.model.event import EventRow
from motet.model.forgotten import FORGOTTEN
from motet.model.run import Run
from motet.store.mutations import EndRun, KeepDelivery, RegisterWait, RetireId, StartRun
from motet.store.payloads import PayloadChange, Payloads
from motet.store.protocol import Store
from motet.store.retention import EventLimits, Retaining
from motet.testing.conformance.cursors import a_move
from motet.testing.conformance.pruning import LATER, ROWS, a_tombstone, end, retaining
from motet.testing.conformance.records import NOW, a_delivery, a_fact, a_run, an_event, owned_run
from motet.testing.conformance.setting import Scribe, the_run
from tests.postgres.holding import Outside, begun


async def some_runs(worker: Scribe, count: int) -> list[Run]:
    """They are over, and had three steps each."""
    runs = [owned_run(worker.id, f"r{number}") for number in range(count)]
    await worker.write(*runs, *(a_fact(run, position) for run in runs for position in (1, 2, 3)))
    await end(worker, *runs)
    return [await the_run(worker.store, run.id) for run in runs]


async def some_events(worker: Scribe, count: int) -> EventLimits:
    """They are old, and nobody needs them but for the newest."""
    await worker.write(*(an_event(recorded_at=NOW + number) for number in range(count)))
    return await retaining(worker.store).event_limits(LATER)


async def left_of(outside: Outside, *tables: str) -> list[int]:
    return [await outside.connection.fetchval(f"SELECT count(*) FROM motet.{table}") for table in tables]


def both(store: Store, other: Store) -> tuple[Retaining, Retaining]:
    return retaining(store), retaining(other)


async def test_of_two_that_prune_runs_each_one_is_pruned_by_one(store: Store, other: Store, outside: Outside) -> None:
    runs = await some_runs(await Scribe.register(store), 4)
    stones = [a_tombstone(run) for run in runs]
    holding = await outside.hold_row("history", "uid = $1 AND position = 2", runs[2].uid)
    first = begun(both(store, other)[0].prune_runs(LATER, stones, ROWS))
    await outside.until_waiting(1)
    second = begun(both(store, other)[1].prune_runs(LATER, stones[::-1], ROWS))
    await outside.until_waiting(2)
    await holding.rollback()
    told = [await first, await second]
    assert [(one.runs, one.facts, one.dealt_with) for one in told] == [(4, 12, 4), (0, 0, 4)]
    assert await left_of(outside, "run", "history", "tombstone") == [0, 0, 4]


async def test_of_two_that_prune_the_log_each_event_is_removed_by_one(
    store: Store, other: Store, outside: Outside
) -> None:
    limits = await some_events(await Scribe.register(store), 6)
    holding = await outside.hold_row("event", "position = 4")
    first = begun(retaining(store).prune_events(limits, [1, 2, 3, 4, 5]))
    await outside.until_waiting(1)
    second = begun(retaining(other).prune_events(limits, [5, 4, 3, 2, 1]))
    await outside.until_waiting(2)
    await holding.rollback()
    assert [await first, await second] == [5, 0]
    assert [event.position for event in await store.events(0, 9)] == [6]


async def test_of_two_that_prune_earlier_generations_no_row_holds_up_either(
    store: Store, other: Store, outside: Outside
) -> None:
    worker = await Scribe.register(store)
    run = owned_run(worker.id, "r", generation=2)
    await worker.write(run, *(a_fact(run._replace(generation=1), position, at=NOW) for position in range(1, 7)))
    holding = await outside.hold_row("history", "uid = $1 AND position = 4", run.uid)
    first = begun(retaining(store).prune_generations(LATER, [(run.uid, 2)], ROWS))
    await outside.until_waiting(1)
    second = begun(retaining(other).prune_generations(LATER, [(run.uid, 2)], ROWS))
    await outside.until_waiting(2)
    await holding.rollback()
    assert [(await first).facts, (await second).facts] == [6, 0]


async def test_a_history_that_is_just_being_forgotten_goes_whole(store: Store, other: Store, outside: Outside) -> None:
    """An exchanged row lies elsewhere; left behind without its run, nobody would ever remove it."""
    (run,) = await some_runs(await Scribe.register(store), 1)
    assert isinstance(other, Payloads)
    rows = await other.payloads("history", run.conversation, None, 9)
    changes = [PayloadChange(row.key, row.values, (FORGOTTEN, None)) for row in rows]
    holding = await outside.hold_row("history", "uid = $1 AND position = 3", run.uid)
    forgetting = begun(other.replace_payloads("history", changes))
    await outside.until_waiting(1)
    pruning = begun(retaining(store).prune_runs(LATER, [a_tombstone(run)], ROWS))
    await outside.until_waiting(2)
    await holding.rollback()
    assert await forgetting == 3
    assert ((await pruning).runs, (await pruning).facts) == (1, 3)
    assert await left_of(outside, "run", "history") == [0, 0]


async def test_an_id_that_is_just_being_given_away_gets_no_tombstone(
    store: Store, other: Store, outside: Outside
) -> None:
    worker = await Scribe.register(store)
    first, second, busy = owned_run(worker.id, "r"), owned_run(worker.id, "r"), owned_run(worker.id, "busy")
    await worker.write(first, busy)
    await worker.write(EndRun(first.uid, "failed", None, "1", NOW))
    stone = a_tombstone(await the_run(store, "r"))
    holding = await outside.hold_fact(busy.uid, 1)
    batch = begun(worker.write(RetireId(first.uid, "r"), second, a_fact(busy, 1)))
    await outside.until_waiting(1)
    pruning = begun(retaining(other).prune_runs(LATER, [stone], ROWS))
    await outside.until_waiting(2)
    await holding.rollback()
    await batch
    assert (await pruning).runs == 1
    assert await retaining(store).tombstone("r") is None
    again: StartRun = a_run("r")
    assert (await other.commit([[again]], None)).lost == {again.uid: second}


async def test_a_reader_that_is_just_moved_back_finds_its_events(store: Store, other: Store, outside: Outside) -> None:
    worker = await Scribe.register(store)
    limits, position = await followed(worker, "shop/send"), 2
    assert limits.until == 5
    holding = await outside.hold_row("delivery", "position = 4")
    replay = begun(other.replay("shop/send", position))
    await outside.until_waiting(1)
    pruning = begun(retaining(store).prune_events(limits, [1, 2, 3, 5]))
    await outside.until_waiting(2)
    await holding.rollback()
    assert await replay
    assert await pruning == 2
    assert [event.position for event in await store.events(position, 9)] == [3, 4, 5, 6]


async def test_who_moves_a_reader_back_waits_for_what_is_just_removed(
    store: Store, other: Store, outside: Outside
) -> None:
    """Otherwise it would be told of events that are gone a moment later."""
    worker = await Scribe.register(store)
    limits = await followed(worker, "shop/send")
    holding = await outside.hold_row("event", "position = 3")
    pruning = begun(retaining(store).prune_events(limits, [1, 2, 3, 5]))
    await outside.until_waiting(1)
    replay = begun(other.replay("shop/send", 0))
    await outside.until_waiting(2, unless=replay)
    assert not replay.done()
    await holding.rollback()
    assert (await pruning, await replay) == (4, True)
    assert [event.position for event in await store.events(0, 9)] == [4, 6]


async def followed(worker: Scribe, reaction: str) -> EventLimits:
    """A reaction has passed all events, but for one that is to be tried again."""
    await some_events(worker, 6)
    (cursor,) = await worker.follow(reaction)
    await worker.write(
        KeepDelivery(*a_delivery(4, reaction=reaction, state="retrying"), cursor.epoch), a_move(cursor, 6)
    )  # fmt: skip
    return await retaining(worker.store).event_limits(LATER)


async def test_a_delivery_that_is_just_left_behind_keeps_its_event(
    store: Store, other: Store, outside: Outside
) -> None:
    """The cursor moves past an event in the same batch in which its delivery gets a row of its own."""
    worker = await Scribe.register(store)
    limits = await some_events(worker, 6)
    (cursor,) = await worker.follow("shop/send")
    busy = owned_run(worker.id, "busy")
    await worker.write(busy)
    holding = await outside.hold_fact(busy.uid, 1)
    kept = KeepDelivery(*a_delivery(3, reaction="shop/send", state="retrying"), cursor.epoch)
    batch = begun(worker.write(kept, a_move(cursor, 6), a_fact(busy, 1)))
    await outside.until_waiting(1)
    pruned: Sequence[int] = [await retaining(other).prune_events(limits, [1, 2, 3, 4, 5])]
    assert pruned == [0], "the reader has not passed them"
    await holding.rollback()
    await batch
    assert await retaining(other).prune_events(limits, [1, 2, 3, 4, 5]) == 4
    assert [event.position for event in await store.events(0, 9)] == [3, 6]


async def test_nobody_who_publishes_or_waits_is_held_up_by_pruning(
    store: Store, other: Store, outside: Outside
) -> None:
    """And what they write counts at once, while the pruning is in the middle of a page."""
    worker = await Scribe.register(store)
    runs = await some_runs(worker, 2)
    limits = await some_events(worker, 6)
    open_run = owned_run(worker.id, "open")
    await worker.write(open_run)
    events_held = await outside.hold_row("event", "position = 5")
    pruning_log = begun(retaining(other).prune_events(limits, [1, 2, 3, 4, 5]))
    pruning_runs = begun(retaining(other).prune_runs(LATER, [a_tombstone(run) for run in runs], ROWS))
    await outside.until_waiting(1)
    await worker.write(RegisterWait(open_run.uid, "1.wait#1", "k", '{"order.paid":[0]}'), a_fact(open_run, 1))
    paid: EventRow = an_event(type="order.paid", subject="k")
    await worker.write(paid, a_run("another"))
    assert [message.kind for message in await store.inbox(worker.id)] == ["event"]
    assert await store.head() == 7
    await events_held.rollback()
    assert (await pruning_log, (await pruning_runs).runs) == (5, 2)
