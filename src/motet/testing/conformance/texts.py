"""Texts and payloads: what is text comes back as it was, what is none is refused before anything is written."""

from __future__ import annotations

import pytest

from motet.errors import StoreRejected
from motet.store.mutations import EndRun, ShowProgress
from motet.store.protocol import RunFilter, Store
from motet.testing.conformance.records import NOW, a_fact, a_message, an_event, owned_run
from motet.testing.conformance.setting import Scribe, StoreSuite, the_run

TEXTS = [
    "plain", "", " ", "Łódź naïve 東京 Ελλάδα", "שלום مرحبا", "🧵🪡👩‍👩‍👧‍👦", "e\u0301 is not é",
    "\u202ereversed\ufeff",
    "'; DROP TABLE run; --", '"quoted" \\ back\\slash', "100%_ and ?1 :name @x $y", "line\nbreak\r\n\ttab",
    "\x01\x1f\x7f control", "\U0010ffff last", "~tilde/slash@at",
]  # fmt: skip
MIB = 1024 * 1024


class Texts(StoreSuite):
    """Edges of what can be stored."""

    @pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
    async def test_text_comes_back_as_it_was(self, store: Store, worker: Scribe, text: str) -> None:
        run = owned_run(worker.id, f"id {text}", input=text, attributes=text, conversation=f"talk {text}")
        fact, event = a_fact(run, 1, op=f"op {text}", payload=text), an_event(data=text, subject=text)
        message = a_message(run, f"key {text}", payload=text)
        await worker.write(run, fact, event, message)
        await worker.write(ShowProgress(run.uid, text, text))
        assert await store.run(run.id) == run._replace(current=text, note=text)
        assert await store.histories([(run.uid, 1)]) == {run.uid: [fact]}
        assert (await store.events(0, 10))[0][1:] == event
        assert await store.inbox(worker.id) == [message]
        assert [found.id for found in await store.runs(RunFilter(conversation=f"talk {text}"))] == [run.id]

    async def test_ids_are_told_apart_by_every_character(self, store: Store, worker: Scribe) -> None:
        ids = ["a", "A", "a ", "á", "a\u0301", "ａ", "а"]  # noqa: RUF001 - look-alikes are the point
        receipt = await worker.write(*(owned_run(worker.id, id) for id in ids))
        assert receipt.lost == {}
        for id in ids:
            assert (await the_run(store, id)).id == id

    @pytest.mark.parametrize("character", ["x", "é", "🧵"])
    async def test_two_mebibytes(self, store: Store, worker: Scribe, character: str) -> None:
        text = character * (2 * MIB // len(character.encode()))
        run = owned_run(worker.id, "big", input=text)
        await worker.write(run, a_fact(run, 1, payload=text), an_event(data=text), a_message(run, payload=text))
        assert await store.run("big") == run
        assert (await store.histories([(run.uid, 1)]))[run.uid][0].payload == text
        assert (await store.events(0, 1))[0].data == text
        assert (await store.inbox(worker.id))[0].payload == text
        await worker.write(EndRun(run.uid, "completed", text, None, NOW))
        assert (await the_run(store, "big")).result == text

    async def test_sixteen_mebibytes_in_one_batch(self, store: Store, worker: Scribe) -> None:
        runs = [owned_run(worker.id, f"r{n}", input="x" * 2 * MIB) for n in range(8)]
        await worker.units(*([run] for run in runs))
        assert await store.counts() == {"running": 8}

    async def test_nothing_is_not_empty(self, store: Store, worker: Scribe) -> None:
        nothing, empty = owned_run(worker.id, "nothing", input=None), owned_run(worker.id, "empty", input="")
        await worker.write(nothing, empty, a_fact(nothing, 1, payload=None), a_fact(empty, 1, payload=""))
        assert ((await the_run(store, "nothing")).input, (await the_run(store, "empty")).input) == (None, "")
        histories = await store.histories([(nothing.uid, 1), (empty.uid, 1)])
        assert (histories[nothing.uid][0].payload, histories[empty.uid][0].payload) == (None, "")

    @pytest.mark.parametrize("number", [0, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)])
    async def test_whole_numbers(self, store: Store, worker: Scribe, number: int) -> None:
        run = owned_run(worker.id, "r", created_at=number, deadline_at=number)
        await worker.write(run)
        assert await store.run("r") == run

    async def test_half_a_surrogate_pair_is_refused(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id, "r")
        await worker.write(run)
        for bad in ("\ud800", "ok \udfff ok"):
            for mutation in (a_fact(run, 1, payload=bad), an_event(data=bad), ShowProgress(run.uid, None, bad)):
                with pytest.raises(StoreRejected):
                    await worker.write(mutation)
        assert await store.run("r") == run
        assert await store.events(0, 1) == []

    async def test_a_number_too_large_is_refused(self, store: Store, worker: Scribe) -> None:
        with pytest.raises(StoreRejected):
            await worker.write(owned_run(worker.id, "r", created_at=2**63))
        assert await store.run("r") is None
