"""A row that cannot be read parks its own run, with the reason; all others go on."""

import sqlite3
from pathlib import Path

import pytest

from motet import App, Flow, RunBlocked, Settings

GOOD = ("good-1", "good-2", "good-3")


def make_app(store: Path, nap: float) -> App:
    app = App("shop", store=f"sqlite:///{store}", settings=Settings(poll_seconds=0.05))

    @app.step
    async def double(number: int) -> int:
        return number * 2

    @app.workflow
    async def count(flow: Flow, number: int) -> int:
        total = await flow.step(double, number)
        await flow.sleep(nap)
        return total + await flow.step(double, total)

    return app


async def stop_half_way(path: Path) -> None:
    """Leave runs in the store that wait in the middle, with a completed step, and have them due."""
    app = make_app(path, nap=3600)
    async with app.worker():
        for id in ("bad", *GOOD):
            await app.start("count", 1, id=id)
        for id in ("bad", *GOOD):
            while not (await app.status(id)).done:
                pass
    database = sqlite3.connect(path)
    assert database.execute("UPDATE run SET wake_at = 0").rowcount == 4
    database.commit()
    database.close()


DAMAGE = {
    "input that is no JSON": "UPDATE run SET input = '{broken' WHERE id = 'bad'",
    "input of another type": "UPDATE run SET input = '\"text\"' WHERE id = 'bad'",
    "input that is no text": "UPDATE run SET input = CAST(x'ff32' AS TEXT) WHERE id = 'bad'",
    "a result that is no JSON": "UPDATE history SET payload = '{broken' WHERE uid = :bad",
    "a result of another type": "UPDATE history SET payload = '\"text\"' WHERE uid = :bad",
    "a result that is no text": "UPDATE history SET payload = CAST(x'ff' AS TEXT) WHERE uid = :bad",
    "a kind that nobody knows": "UPDATE history SET kind = 'dreamt' WHERE uid = :bad",
    "an operation that nobody knows": "UPDATE history SET op = 'dream#1' WHERE uid = :bad",
    "a progress that is no JSON": "UPDATE run SET current = '{broken', crashes = 9 WHERE id = 'bad'",
    "a conversation that is no text": "UPDATE run SET conversation = CAST(x'ff' AS TEXT) WHERE id = 'bad'",
}
HARMLESS = {"a conversation that is no text", "a progress that is no JSON"}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_corrupt_row_parks_its_run_and_no_other(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "motet.db"
    await stop_half_way(path)
    database = sqlite3.connect(path)
    (bad,) = database.execute("SELECT uid FROM run WHERE id = 'bad'").fetchone()
    assert database.execute(DAMAGE[damage], {"bad": bad} if ":bad" in DAMAGE[damage] else {}).rowcount == 1
    database.commit()
    database.close()
    app = make_app(path, nap=0)
    async with app.worker():
        for id in GOOD:
            assert await app.result(id) == 2 + 4
        if damage not in HARMLESS:
            with pytest.raises(RunBlocked, match="run 'bad' is blocked and needs a person"):
                await app.result("bad")


@pytest.mark.parametrize(
    "wrong",
    [
        "UPDATE run SET input = x'32' WHERE id = 'bad'",
        "UPDATE run SET deadline_at = 'noon' WHERE id = 'bad'",
        "UPDATE run SET crashes = 'many' WHERE id = 'bad'",
        "UPDATE run SET owner = 'me' WHERE id = 'bad'",
        "UPDATE history SET position = 'first'",
        "UPDATE history SET at = 'noon'",
        "UPDATE worker SET batch = 'none'",
    ],
)
async def test_what_is_no_number_is_no_number_for_nobody(tmp_path: Path, wrong: str) -> None:
    """Whoever edits the file by hand: what code counts on is checked by the schema itself."""
    await stop_half_way(tmp_path / "motet.db")
    database = sqlite3.connect(tmp_path / "motet.db")
    with pytest.raises(sqlite3.IntegrityError, match="cannot store"):
        database.execute(wrong)
    database.close()
