"""Starts: one run has an id, whoever comes second reads back who won, and a retired id is free again."""

from __future__ import annotations

import pytest

from motet.model.run import STATES, RunState
from motet.store.mutations import EndRun, RetireId
from motet.store.protocol import RunFilter, Store
from motet.testing.conformance.records import NOW, a_fact, a_run, owned_run
from motet.testing.conformance.setting import Scribe, StoreSuite, a_ticket, the_run


class Starts(StoreSuite):
    """Who has the id."""

    async def test_a_winner_is_no_news(self, store: Store, worker: Scribe) -> None:
        assert (await worker.write(a_run("r"))).lost == {}

    async def test_a_loser_hears_who_won(self, store: Store, worker: Scribe) -> None:
        winner, loser = owned_run(worker.id, "r", input='"first"'), a_run("r", input='"second"')
        await worker.write(winner)
        receipt = await worker.write(loser)
        assert receipt.lost == {loser.uid: winner}
        assert await store.run("r") == winner

    async def test_of_two_in_one_batch_the_first_wins(self, store: Store, worker: Scribe) -> None:
        first, second, third = a_run("r"), a_run("r"), a_run("r")
        receipt = await worker.units([first], [second], [third])
        assert receipt.lost == {second.uid: first, third.uid: first}

    async def test_losers_are_told_from_winners_in_a_crowd(self, store: Store, worker: Scribe) -> None:
        taken = [a_run(f"taken{number}") for number in range(300)]
        await worker.write(*taken)
        starts = [a_run(f"taken{n // 2}" if n % 2 else f"free{n}") for n in range(600)]
        receipt = await worker.units(*([start] for start in starts))
        assert receipt.lost == {start.uid: taken[n // 2] for n, start in enumerate(starts) if n % 2}
        assert await store.counts() == {"pending": 600}

    async def test_a_start_written_again_is_no_loser(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id, "r")
        await worker.write(run)
        await worker.write(a_fact(run, 1))
        assert (await store.commit([[run]], None)).lost == {}
        await worker.write(EndRun(run.uid, "failed", None, None, NOW))
        assert (await store.commit([[run]], None)).lost == {}
        assert (await the_run(store, "r")).state == "failed"

    async def test_nor_is_one_whose_id_has_gone_to_another_since(self, store: Store, worker: Scribe) -> None:
        first, second = a_run("r", state="failed", ended_at=NOW), a_run("r")
        await worker.write(first)
        await worker.write(RetireId(first.uid, "r"), second)
        assert (await store.commit([[first]], None)).lost == {}

    async def test_the_other_records_of_a_losers_unit_are_written(self, store: Store, worker: Scribe) -> None:
        """Losing is an answer, not an error: the unit is a fact all the same."""
        await worker.write(a_run("r"))
        receipt = await worker.write(a_run("r"), a_run("other"))
        assert len(receipt.lost) == 1
        assert await store.run("other") is not None

    @pytest.mark.parametrize("state", STATES)
    async def test_only_what_ended_badly_gives_up_its_id(self, store: Store, worker: Scribe, state: RunState) -> None:
        ended = state in ("completed", "failed", "cancelled")
        first, second = a_run("r", state=state, ended_at=NOW if ended else None), a_run("r")
        await worker.write(first)
        receipt = await worker.write(RetireId(first.uid, "r"), second)
        gives = state in ("failed", "cancelled")
        assert (await the_run(store, "r")).uid == (second if gives else first).uid
        assert receipt.lost == ({} if gives else {second.uid: first})

    async def test_a_retired_run_keeps_its_story_under_its_uid(self, store: Store, worker: Scribe) -> None:
        first = owned_run(worker.id, "r")
        await worker.write(first, a_fact(first, 1))
        await worker.write(EndRun(first.uid, "cancelled", None, '"e"', NOW))
        await worker.write(RetireId(first.uid, "r"), a_run("r"))
        (retired,) = [run for run in await store.runs(RunFilter()) if run.uid == first.uid]
        assert retired.id == f"r~{first.uid}"
        assert await store.run(retired.id) == retired
        assert len((await store.histories([(first.uid, 1)]))[first.uid]) == 1

    async def test_two_that_reuse_an_id_at_once_get_one_run(self, store: Store, worker: Scribe) -> None:
        failed = a_run("r", state="failed", ended_at=NOW)
        await worker.write(failed)
        one, other = a_run("r"), a_run("r")
        await store.commit([[RetireId(failed.uid, "r"), one]], a_ticket())
        receipt = await store.commit([[RetireId(failed.uid, "r"), other]], a_ticket())
        assert receipt.lost == {other.uid: one}
