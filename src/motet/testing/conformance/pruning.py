"""Pruning: what is over goes by age, what is open stays with its conversation, and an id is never used twice."""

from __future__ import annotations

from typing import Any

from motet.model.expected import Expected
from motet.model.history import Recorded
from motet.model.run import Run, RunState
from motet.model.tombstone import Tombstone, digest_of
from motet.store.mutations import BeginGeneration, EndRun, KeepDelivery, KeepExpected, RegisterWait, RetireId
from motet.store.protocol import Fence, Store, Subscription
from motet.store.retention import EndedRun, EventLimits, Retaining
from motet.testing.conformance.cursors import a_move
from motet.testing.conformance.records import NOW, a_delivery, a_fact, a_run, a_worker, an_event, owned_run
from motet.testing.conformance.setting import Scribe, StoreSuite, a_ticket, the_run

LATER = NOW + 10_000_000_000
"""Everything was over before that."""
ROWS = 1_000


def retaining(store: Store) -> Retaining:
    """The store, which can do it."""
    assert isinstance(store, Retaining)
    return store


def a_tombstone(run: Run | EndedRun, **changes: Any) -> Tombstone:
    """Of a run that has ended."""
    stone = Tombstone(
        run.id, run.uid, run.workflow, run.version, run.state, run.epoch, run.conversation, run.created_at,
        run.ended_at or NOW, NOW + 20, digest_of(run.uid, run.input),
    )  # fmt: skip
    return stone._replace(**changes)


async def end(worker: Scribe, *runs: Run, at: int = NOW + 5, state: RunState = "completed") -> None:
    """They are over."""
    await worker.write(*(EndRun(run.uid, state, "1", None, at) for run in runs))


async def ended(store: Store, before: int = LATER) -> list[str]:
    """The ids of the runs that may go, by pages of two."""
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page = await retaining(store).ended_runs(before, after, 2, inputs=False)
        found += [run.id for run in page.ended]
        after = page.after
    return found


async def prune(store: Store, *runs: Run, before: int = LATER) -> None:
    """As a pruner does, whatever the store has shown it."""
    await retaining(store).prune_runs(before, [a_tombstone(run) for run in runs], ROWS)


class PruningRuns(StoreSuite):
    """Runs and their tombstones."""

    async def test_only_what_ended_before_may_go(self, store: Store, worker: Scribe) -> None:
        runs = [owned_run(worker.id, f"r{number}") for number in range(5)]
        await worker.write(*runs)
        for number, run in enumerate(runs[:4]):
            await end(worker, run, at=NOW + 10 + number)
        assert await ended(store, NOW + 12) == []
        # A run is looked for by its uid, which is of its start: all of these began before.
        assert await ended(store) == ["r0", "r1", "r2", "r3"]
        await prune(store, *runs, before=NOW + 12)
        assert [await store.run(run.id) is None for run in runs] == [True, True, False, False, False]

    async def test_what_is_open_stays_with_its_conversation(self, store: Store, worker: Scribe) -> None:
        over = [owned_run(worker.id, f"r{number}", conversation="talk") for number in range(3)]
        still, other = owned_run(worker.id, "open", conversation="talk"), owned_run(worker.id, "other")
        await worker.write(*over, still, other)
        await end(worker, *over, other)
        page = await retaining(store).ended_runs(LATER, "", 100, inputs=False)
        assert ([run.id for run in page.ended], page.kept, page.after) == (["other"], 3, None)
        await prune(store, *over, other)
        assert [(await the_run(store, run.id)).state for run in over] == ["completed"] * 3
        await end(worker, still)
        assert await ended(store) == ["r0", "r1", "r2", "open"]

    async def test_a_run_is_told_with_the_input_that_it_was_started_with(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id, "r", input='"first"')
        await worker.write(run, BeginGeneration(run.uid, 2, '"second"', NOW))
        await end(worker, run)
        (found,) = (await retaining(store).ended_runs(LATER, "", 10, inputs=True)).ended
        assert found == EndedRun(
            run.uid, "r", run.workflow, run.version, "completed", run.epoch, run.conversation, run.created_at, NOW + 5,
            '"first"',
        )  # fmt: skip

    async def test_the_history_goes_along_in_bounded_pieces(self, store: Store, worker: Scribe) -> None:
        run, small = owned_run(worker.id, "r"), owned_run(worker.id, "small")
        await worker.write(run, small, *(a_fact(run, position) for position in range(1, 26)), a_fact(small, 1))
        await end(worker, run, small)
        stones = [a_tombstone(await the_run(store, id)) for id in ("r", "small")]
        told = [await retaining(store).prune_runs(LATER, stones, 10) for _ in range(2)]
        assert [(one.runs, one.facts, one.dealt_with) for one in told] == [(0, 10, 0)] * 2
        assert await the_run(store, "r"), "it goes after its history"
        last = await retaining(store).prune_runs(LATER, stones, 10)
        assert (last.runs, last.facts, last.dealt_with) == (2, 6, 2)
        assert await store.histories([(run.uid, 1), (small.uid, 1)]) == {run.uid: [], small.uid: []}

    async def test_earlier_generations_of_open_runs(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id, "r")
        second = run._replace(generation=2)
        await worker.write(run, a_fact(run, 1, at=NOW), a_fact(run, 2, at=NOW + 9), a_fact(second, 1, at=NOW))
        await worker.write(BeginGeneration(run.uid, 2, '"next"', NOW))
        page = await retaining(store).ended_runs(LATER, "", 10, inputs=False)
        assert (page.ended, page.restarted) == ([], [(run.uid, 2)])
        assert (await retaining(store).prune_generations(NOW + 9, page.restarted, ROWS)).facts == 1
        left: list[Recorded] = (await store.histories([(run.uid, 1), (run.uid, 2)]))[run.uid]
        assert sorted((fact.generation, fact.position) for fact in left) == [(1, 2), (2, 1)]

    async def test_a_tombstone_stays(self, store: Store, worker: Scribe) -> None:
        run, other = owned_run(worker.id, "r"), owned_run(worker.id, "other", conversation=f"x{NOW}")
        await worker.write(run, other)
        await end(worker, run, other)
        stone = a_tombstone(await the_run(store, "r"))
        await retaining(store).prune_runs(LATER, [stone], ROWS)
        assert await store.run("r") is None
        assert await retaining(store).tombstone("r") == stone
        assert await retaining(store).tombstone("other") is None
        assert await retaining(store).tombstones(run.conversation, 10) == [stone]
        assert await retaining(store).tombstones(other.conversation, 10) == []

    async def test_no_start_gets_a_pruned_id(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id, "r", epoch=4)
        await worker.write(run)
        await end(worker, run, state="failed")
        stone = a_tombstone(await the_run(store, "r"))
        await retaining(store).prune_runs(LATER, [stone], ROWS)
        again, free = a_run("r"), a_run("free")
        receipt = await worker.units([again], [free])
        assert receipt.pruned == {again.uid: stone}
        assert receipt.lost == {again.uid: stone.as_run()}
        assert (await store.run("r"), await store.run("free")) == (None, free)
        ticket = a_ticket()
        for _ in range(2):
            receipt = await store.commit([[again]], ticket)
            assert receipt.pruned == {again.uid: stone}, "and told again when the reply was lost"

    async def test_the_pruned_start_written_again_is_no_loser(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id, "r")
        await worker.write(run)
        await end(worker, run)
        await prune(store, await the_run(store, "r"))
        receipt = await store.commit([[run]], None)
        assert (receipt.lost, dict(receipt.pruned)) == ({}, {})
        assert await store.run("r") is None, "nor does it begin to exist again"

    async def test_a_retired_id_is_free_again_if_its_run_had_failed(self, store: Store, worker: Scribe) -> None:
        failed, fine = owned_run(worker.id, "failed"), owned_run(worker.id, "fine")
        await worker.write(failed, fine)
        await end(worker, failed, state="failed")
        await end(worker, fine)
        await prune(store, await the_run(store, "failed"), await the_run(store, "fine"))
        again, too_late = a_run("failed"), a_run("fine")
        receipt = await worker.units(
            [RetireId(failed.uid, "failed"), again], [RetireId(fine.uid, "fine"), too_late]
        )  # fmt: skip
        assert [*receipt.lost] == [too_late.uid]
        assert await store.run("failed") == again
        assert await retaining(store).tombstone("failed") is None

    async def test_a_run_that_gave_its_id_away_leaves_nothing(self, store: Store, worker: Scribe) -> None:
        first = owned_run(worker.id, "r")
        await worker.write(first)
        await end(worker, first, state="failed")
        second = owned_run(worker.id, "r")
        await worker.write(RetireId(first.uid, "r"), second)
        await end(worker, second)
        page = await retaining(store).ended_runs(LATER, "", 10, inputs=False)
        await retaining(store).prune_runs(LATER, [a_tombstone(one) for one in page.ended], ROWS)
        stone = await retaining(store).tombstone("r")
        assert stone is not None and stone.uid == second.uid
        assert await retaining(store).tombstone(f"r~{first.uid}") is None

    async def test_nor_does_one_that_gave_it_away_since_it_was_looked_for(self, store: Store, worker: Scribe) -> None:
        first, second = owned_run(worker.id, "r"), owned_run(worker.id, "r")
        await worker.write(first)
        await end(worker, first, state="failed")
        stone = a_tombstone(await the_run(store, "r"))
        await worker.write(RetireId(first.uid, "r"), second)
        assert (await retaining(store).prune_runs(LATER, [stone], ROWS)).runs == 1
        assert await retaining(store).tombstone("r") is None
        again = a_run("r")
        receipt = await worker.units([again])
        assert (receipt.lost, dict(receipt.pruned)) == ({again.uid: second}, {}), "the id is the second run's"

    async def test_workers_that_have_ended_are_forgotten(self, store: Store, worker: Scribe) -> None:
        other = await Scribe.register(store, "gone")
        await store.resign(other.id)
        assert await retaining(store).prune_workers(0) == 0
        assert await retaining(store).prune_workers(LATER * 2) == 1
        assert [row.id for row in await store.workers()] == [worker.id]
        assert (await Scribe.register(store, "next")).id > other.id, "a number is never given twice"

    async def test_free_space_is_given_back(self, store: Store, worker: Scribe) -> None:
        runs = [owned_run(worker.id, f"r{number}", input=f'"{"x" * 50_000}"') for number in range(40)]
        await worker.write(*runs)
        await end(worker, *runs)
        await prune(store, *[await the_run(store, run.id) for run in runs])
        sizes = await retaining(store).compact()
        assert sizes["after"] < sizes["before"] - 1_000_000
        await worker.write(owned_run(worker.id, "next"))
        assert await store.run("next") is not None


class PruningTheLog(StoreSuite):
    """Events, and who still needs them."""

    async def limits(self, store: Store, before: int = LATER) -> EventLimits:
        return await retaining(store).event_limits(before)

    async def prunable(self, store: Store, limits: EventLimits) -> list[int]:
        """Their positions, by pages of three."""
        found: list[int] = []
        after: int | None = 0
        while after is not None:
            page = await retaining(store).old_events(limits, after, 3)
            found += page.positions
            after = page.after
        return found

    async def test_by_age_and_never_the_newest(self, store: Store, worker: Scribe) -> None:
        await worker.write(*(an_event(recorded_at=NOW + number) for number in range(1, 8)))
        limits = await self.limits(store, NOW + 5)
        assert (limits.until, limits.held, limits.holders) == (4, 0, ())
        assert await self.prunable(store, limits) == [1, 2, 3, 4]
        limits = await self.limits(store)
        assert await self.prunable(store, limits) == [1, 2, 3, 4, 5, 6]
        assert await retaining(store).prune_events(limits, [1, 2, 3, 4, 5, 6]) == 6
        assert [event.position for event in await store.events(0, 10)] == [7]
        assert await store.head() == 7
        await worker.write(an_event(recorded_at=NOW + 20))
        assert await store.place_of(NOW + 20) == 7

    async def test_what_a_reader_has_not_passed_is_held_and_the_reader_named(
        self, store: Store, worker: Scribe
    ) -> None:
        await worker.write(*(an_event(recorded_at=NOW + number) for number in range(1, 8)))
        (slow,), (fast,) = await worker.follow("shop/slow"), await worker.follow("shop/fast")
        await store.subscribe([Subscription("shop/expects", "expectation", "{}", "beginning")], NOW)
        (expects,) = await store.claim_cursors(worker.id, ["shop/expects"])
        await worker.write(a_move(slow, 3), a_move(fast, 7), a_move(expects, 5))
        await store.pause("shop/slow", True)
        limits = await self.limits(store)
        assert (limits.until, limits.held) == (3, 3)
        assert [tuple(holder) for holder in limits.holders] == [
            ("reaction", "shop/slow", 3, True), ("expectation", "shop/expects", 5, False)
        ]  # fmt: skip
        assert await self.prunable(store, limits) == [1, 2, 3]
        await store.replay("shop/slow", 1)
        assert await retaining(store).prune_events(limits, [1, 2, 3, 4]) == 1, "a reader was moved back meanwhile"

    async def test_what_deliveries_need(self, store: Store, worker: Scribe) -> None:
        await worker.write(*(an_event(recorded_at=NOW + number) for number in range(1, 8)))
        (cursor,) = await worker.follow("shop/send")
        dead = [KeepDelivery(*a_delivery(n, reaction="shop/send", state=state), cursor.epoch)
                for n, state in ((2, "parked"), (4, "retrying"), (5, "held"))]  # fmt: skip
        await worker.write(*dead, a_move(cursor, 7))
        assert await self.prunable(store, await self.limits(store)) == [1, 3, 6]

    async def test_what_open_conversations_and_expectations_need(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id, "r", conversation="talk")
        await worker.write(run)
        keys = [("free", "k1"), ("talk", "k2"), ("free", "k3"), ("free", "k4"), ("free", "k5")]
        await worker.write(
            *(an_event(correlationid=talk, subject=key, recorded_at=NOW + 1) for talk, key in keys)
        )  # fmt: skip
        await store.subscribe([Subscription("shop/expects", "expectation", "{}", "beginning")], NOW)
        (expects,) = await store.claim_cursors(worker.id, ["shop/expects"])
        opened, met = _expected(3, "k3", "open"), _expected(4, "k4", "met")
        await worker.write(
            KeepExpected(*opened, expects.epoch), KeepExpected(*met, expects.epoch), a_move(expects, 5)
        )  # fmt: skip
        assert await self.prunable(store, await self.limits(store)) == [1, 4]
        page = await retaining(store).settled_expected(LATER, ("", "", -1), 10)
        assert page.keys == [("shop/expects", "k4", 4)]
        assert await retaining(store).prune_expected(LATER, [("shop/expects", "k3", 3), *page.keys]) == 1
        assert await store.expected_for("shop/expects", ["k3", "k4"], "all") == [opened]
        assert await retaining(store).prune_expected(0, [("shop/expects", "k3", 3)]) == 0

    async def test_what_an_open_run_may_still_wait_for(self, store: Store, worker: Scribe) -> None:
        await worker.write(*(an_event(recorded_at=NOW + n, type="order.paid") for n in range(1, 4)))
        waiting = owned_run(worker.id, "waiting")
        await worker.write(waiting)
        await worker.write(
            *(an_event(recorded_at=NOW + 9, type=kind) for kind in ("order.paid", "other", "order.paid", "other"))
        )
        await worker.write(RegisterWait(waiting.uid, "1.wait#1", "none", '{"order.paid":[0]}'))
        limits = await self.limits(store)
        assert (limits.awaited, limits.awaited_until) == (frozenset({"order.paid"}), 3)
        assert [tuple(holder) for holder in limits.holders] == [("run", "waiting", 3, False)]
        assert await self.prunable(store, limits) == [1, 2, 3, 5]
        assert await retaining(store).prune_events(limits, [1, 2, 3, 4, 5, 6]) == 4
        await worker.write(RegisterWait(waiting.uid, "1.wait#2", "key-1", '{"order.paid":[0]}'))
        (told,) = await store.inbox(worker.id)
        assert told.key == "event:1.wait#2:4", "what came since its start, long before it waits, still counts"

    async def test_a_type_that_is_waited_for_since_the_limits_were_read_is_kept(
        self, store: Store, worker: Scribe
    ) -> None:
        await worker.write(*(an_event(recorded_at=NOW + 1, type=kind) for kind in ("order.paid", "other", "last")))
        run = owned_run(worker.id, "r")
        limits = await self.limits(store)
        assert await self.prunable(store, limits) == [1, 2]
        await worker.write(run, RegisterWait(run.uid, "1.wait#1", "none", '{"order.paid":[0]}'))
        assert await retaining(store).prune_events(limits, [1, 2]) == 1
        assert [event.type for event in await store.events(0, 9)] == ["order.paid", "last"]
        assert await retaining(store).prune_events(limits, [1, 2]) == 0, "what is gone is not counted again"

    async def test_what_workflows_say_they_wait_for(self, store: Store) -> None:
        """As deep as it stands in the plan; also beside what cannot be told."""
        waits = '{"kind":"wait","text":"t","name":"order.paid|order.lost"},{"kind":"wait","text":"order.sent|some"}'
        arm = f'{{"kind":"arm","body":[{{"kind":"step","name":"pay"}},{waits}]}}'
        note = f'{{"steps":{{"wait":{{}}}},"plan":[{{"kind":"branch","body":[{arm}]}}],"returns":null}}'
        id = await store.register(a_worker(), {"shop/buy@3": note, "shop/other@1": '{"steps":{},"plan":null}'}, NOW)
        run = owned_run(id, "r")
        await store.commit([[run], [an_event(type="order.lost"), an_event(), an_event()]], Fence(id, 1))
        limits = await self.limits(store)
        assert limits.awaited == {"order.paid", "order.lost", "order.sent", "some"}
        assert await self.prunable(store, limits) == [2]


def _expected(position: int, key: str, state: Any) -> Expected:
    return Expected("shop/expects", key, position, state, f"t{position}", "talk-9", NOW, came_at=NOW + 1)
