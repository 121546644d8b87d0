"""Encryption as a user meets it: nothing of what they put in is found in the files, and everything works as before."""

from __future__ import annotations

import base64
import inspect
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from motet import App, Event, Flow, Keyring, Settings
from motet.errors import NotPossible, RunExists, RunPruned, StoreRefused
from motet.model.clock import SYSTEM
from motet.model.forgotten import FORGOTTEN
from motet.runtime.rekeying import Rekeying
from motet.store.payloads import Payloads
from motet.store.sealing import is_sealed
from tests.stories.conftest import Shop
from tests.stories.searching import files, rows, sample, transaction, write_anew
from tests.stories.test_forgetting import SECRET, Purchase, declare, live_through

ONE, TWO = os.urandom(32), os.urandom(32)
FIRST = Keyring({"2026-05": ONE}, current="2026-05")
BOTH = Keyring({"2026-11": TWO, "2026-05": ONE}, current="2026-11")


def a_shop(folder: Path, keys: Keyring | None) -> Shop:
    return Shop(folder, keys=keys)


async def test_nothing_is_found_in_the_files(tmp_path: Path) -> None:
    shop = a_shop(tmp_path, FIRST)
    held = declare(shop)

    @shop.on("bought", transaction=True)
    async def within(event: Event, connection: Any) -> None:
        event.publish("noted", {"text": f"{SECRET}noted {event.data}"}, key="n")

    async with shop.worker():
        await live_through(shop, held)
        blocked = await shop.start("failing", Purchase(f"{SECRET}blocked"), id="p-3", attributes={"a": SECRET})
        with pytest.raises(Exception, match=f"{SECRET}{SECRET}blocked"):
            await blocked.result()
        open_run = await shop.start("buy", Purchase(f"{SECRET}open"), id="p-4")
        await shop.until_status("p-4", lambda status: any(item.kind == "child" for item in status.done))
        await shop.cancel("p-4", reason=f"{SECRET}reason")
        with pytest.raises(Exception, match="cancelled"):
            await open_run.result()
        async with transaction(shop.address) as connection:
            await shop.publish("mine", {"text": f"{SECRET}within"}, key="m", conn=connection)
            await shop.start("failing", Purchase(f"{SECRET}within"), id="p-5", conn=connection)
        (letter,) = await shop.dead_letters(key="k", type="bought", limit=1)
        assert letter.data == {"card": f"{SECRET}edited"} and SECRET in letter.error
        assert "SECRET-yes" in (await shop.status("p-1")).result
        assert await files(shop.address, SECRET) == []
        assert await files(shop.address, "sealed:1:2026-05:")
    assert await files(shop.address, SECRET) == await rows(shop.address, SECRET) == []
    async with shop.connect() as client:
        store = client.client.store
        assert isinstance(store, Payloads)
        for table in ("run", "event", "history"):
            read = await store.payloads(table, None, None, 1_000)
            texts = [text for row in read for text in row.values if text is not None and "worker" not in str(text)]
            assert texts and all(is_sealed(text) for text in texts), "checksums of arguments are sealed along"


async def test_the_same_start_again_and_a_run_that_moves(tmp_path: Path) -> None:
    shop = a_shop(tmp_path, FIRST)
    held = declare(shop)
    held.gate.set()
    async with shop.worker():
        run = await shop.start("buy", Purchase("4242"), id="p-1")
        await shop.until_status("p-1", lambda status: any(item.kind == "child" for item in status.done))
    again = a_shop(tmp_path, BOTH)  # a worker with the next key takes it over, with what the first one has sealed
    declare(again).gate.set()
    async with again.worker():
        assert (await again.start("buy", Purchase("4242"), id="p-1")).uid == run.uid
        with pytest.raises(RunExists, match="with another input"):
            await again.start("buy", Purchase("1"), id="p-1")
        await again.publish("approved", f"{SECRET}yes", key="p-1")
        assert await again.result("p-1") == f"{SECRET}paid 4242 {SECRET}yes"
        await again.until(lambda: _behind(again))
        await again.discard()
        await again.prune(older_than=timedelta(0))
        assert (await again.start("buy", Purchase("4242"), id="p-1")).uid == run.uid
        with pytest.raises(RunExists, match="had another input"):
            await again.start("buy", Purchase("1"), id="p-1")
        with pytest.raises(RunPruned):
            await again.result("p-1")
        stone = await again.client.store.tombstone("p-1")  # type: ignore[attr-defined]
        assert stone.digest.startswith("2026-11:")


async def _behind(shop: Shop) -> bool:
    return all(one.behind == 0 for one in await shop.reaction_status())


async def test_who_lacks_a_key_is_told_so_at_once(tmp_path: Path) -> None:
    shop = a_shop(tmp_path, FIRST)
    declare(shop)
    async with shop.worker():
        await shop.start("failing", Purchase("4242"), id="p-1")
    said = "holds payloads that are encrypted with key '2026-05', and no keys are set here; add it to MOTET_KEYS or App"
    with pytest.raises(StoreRefused, match=said):
        async with a_shop(tmp_path, None).connect():
            pass
    wrong = Keyring({"2026-05": TWO}, current="2026-05")
    with pytest.raises(StoreRefused, match="was encrypted with another key by the name '2026-05'"):
        async with a_shop(tmp_path, wrong).worker():
            pass
    other = Keyring({"other": TWO}, current="other")
    with pytest.raises(StoreRefused, match="encrypted with key '2026-05', and the keys here are other"):
        async with a_shop(tmp_path, other).connect():
            pass
    bare = a_shop(tmp_path, None)
    with pytest.raises(StoreRefused, match="no keys are set here"):
        async with transaction(shop.address) as connection:
            await bare.publish("plain", {}, key="k", conn=connection)


async def test_a_payload_that_was_changed_parks_its_run_alone(tmp_path: Path) -> None:
    shop = a_shop(tmp_path, FIRST)

    @shop.workflow
    async def wait(flow: Flow, text: str) -> str:
        await flow.wait("go", key=flow.id)
        return text

    async with shop.worker():
        await shop.start(wait, "one", id="one")
        await shop.start(wait, "two", id="two")
        await shop.until_status("two", lambda status: bool(status.current))
    run = "motet.run" if shop.address.startswith("postgresql") else "run"
    exchange = f"UPDATE {run} SET input = (SELECT input FROM {run} WHERE id = 'two') WHERE id = 'one'"
    async with transaction(shop.address) as connection:
        done = connection.execute(exchange)
        if inspect.isawaitable(done):
            await done
    async with shop.worker():
        for id in ("one", "two"):
            await shop.publish("go", {}, key=id)
        assert await shop.result("two") == "two"
        status = await shop.until_state("one", "blocked")
        assert "the input of run 'one' is not str" in status.incidents[0].reason


async def test_a_store_without_keys_is_encrypted_while_it_runs(tmp_path: Path) -> None:
    bare = a_shop(tmp_path, None)
    held = declare(bare)
    async with bare.worker():
        await live_through(bare, held)
        waiting = await bare.start("buy", Purchase(f"{SECRET}open"), id="p-9")
        await bare.until_status("p-9", lambda status: any(item.kind == "child" for item in status.done))
    await sample(bare.address)
    assert await files(bare.address, SECRET)
    shop = a_shop(tmp_path, FIRST)
    declare(shop).gate.set()
    async with shop.worker():
        assert f"{SECRET}yes" in (await shop.status("p-1")).result
        done = await Rekeying(shop.client.store, FIRST, SYSTEM).rekey()
        assert (done.left, done.broken, done.dropped, done.rows > 20, done.scrubbed) == (0, 0, [], True, True)
        await write_anew(shop.client.store, shop.address)
        assert await files(shop.address, SECRET) == await rows(shop.address, SECRET) == []
        await shop.publish("approved", f"{SECRET}late", key="p-9")
        assert f"{SECRET}late" in await shop.result("p-9")
        assert waiting.id == "p-9" and await files(shop.address, SECRET) == []

    second = a_shop(tmp_path, BOTH)
    declare(second).gate.set()
    async with second.connect():
        done = await Rekeying(second.client.store, BOTH, SYSTEM).rekey()
        assert (done.left, done.dropped) == (0, ["2026-05"])
        await write_anew(second.client.store, second.address)
        assert await files(second.address, "sealed:1:2026-05") == []
    last = a_shop(tmp_path, Keyring({"2026-11": TWO}, current="2026-11"))
    async with last.connect():
        assert f"{SECRET}yes" in (await last.status("p-1")).result
        assert (await last.forget_conversation("p-1", force=True)).runs == 2
        assert (await last.status("p-1")).error is None
    opened = Keyring({"2026-11": TWO}, current=None)
    plain = a_shop(tmp_path, opened)
    async with plain.connect():
        done = await Rekeying(plain.client.store, opened, SYSTEM).rekey()
        assert (done.left, done.dropped) == (0, ["2026-11"])
    async with a_shop(tmp_path, None).connect() as nobody:
        assert f"{SECRET}late" in (await nobody.status("p-9")).result
        with pytest.raises(NotPossible, match="there are no keys to encrypt with"):
            Rekeying(nobody.client.store, None, SYSTEM)


async def test_what_nobody_has_moved_into_the_log_is_encrypted_anew_too(tmp_path: Path) -> None:
    """In PostgreSQL what is published in one's own transaction stands in the outbox, and here is no worker."""
    shop, second = a_shop(tmp_path, FIRST), a_shop(tmp_path, BOTH)
    declare(shop)
    async with shop.worker():
        pass
    async with shop.connect(), transaction(shop.address) as connection:
        await shop.publish("noted", f"{SECRET}noted", key="n", conn=connection)
        await shop.start("failing", Purchase(f"{SECRET}within"), id="p-1", conn=connection)
    async with second.connect():
        assert await rows(shop.address, "sealed:1:2026-05:")
        done = await Rekeying(second.client.store, BOTH, SYSTEM).rekey()
        assert (done.left, done.dropped, done.rows) == (0, ["2026-05"], 2)
        assert await rows(shop.address, "sealed:1:2026-05:") == []
    last = a_shop(tmp_path, Keyring({"2026-11": TWO}, current="2026-11"))
    async with last.connect():
        (event,) = [row for row in await last.client.store.events(0, 9) if row.type == "noted"]
        assert event.data == f'"{SECRET}noted"'


async def test_what_was_changed_is_named_and_the_rest_encrypted_anew(tmp_path: Path) -> None:
    shop, second = a_shop(tmp_path, FIRST), a_shop(tmp_path, BOTH)
    declare(shop).gate.set()
    async with shop.worker():
        await shop.start("buy", Purchase("4242"), id="p-1")
        await shop.start("buy", Purchase("4343"), id="p-2")
        for id in ("p-1", "p-2"):
            await shop.until_status(id, lambda status: any(item.kind == "child" for item in status.done))
        uid = (await shop.status("p-1")).uid
    schema = "motet." if shop.address.startswith("postgresql") else ""
    fact = f"uid = '{uid}' AND position = (SELECT min(position) FROM {schema}history WHERE uid = '{uid}')"
    async with transaction(shop.address) as connection:
        for change in (
            f"UPDATE {schema}history SET payload = replace(payload, ':2026-05:', ':2026-05:A') WHERE {fact}",
            f"INSERT INTO {schema}inbox VALUES ('{uid}', 'e', 'event', 'no event', 1)",
            f"INSERT INTO {schema}inbox VALUES ('{uid}', 'f', 'event', '{FORGOTTEN}', 1)",
        ):
            done = connection.execute(change)
            if inspect.isawaitable(done):
                await done
    async with second.connect():
        done = await Rekeying(second.client.store, BOTH, SYSTEM).rekey()
        assert (done.left, done.broken, done.dropped, done.rows > 10) == (0, 2, [], True)
    assert len(await rows(shop.address, "sealed:1:2026-05:")) == 1, "what cannot be opened stays as it is"


async def test_keys_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTET_KEYS", f"2026-05={base64.b64encode(ONE).decode()}")
    app = App("shop", store=f"sqlite:///{tmp_path}/motet.db")
    assert app.settings.keys is not None and app.settings.keys.current == "2026-05"
    given = App("shop", keys=BOTH, settings=Settings(store="sqlite:///x.db"))
    assert given.settings.keys is BOTH
