"""Stores of earlier releases: a worker of today brings every run that stands in them to its end."""

import asyncio
import shutil
from pathlib import Path

import pytest

from motet.errors import RunBlocked, RunEndedBadly
from tests.data.stores.kept import ENDS, QUEUED_ENDS, kept_app

KEPT = sorted((Path(__file__).parents[1] / "data" / "stores").glob("schema_*.motet"))
PATIENCE_SECONDS = 60
DONE_BEFORE = ("charge a", "charge b", "charge a ring", "charge c", "charge e", "charge one round", "charge first")


@pytest.mark.parametrize("kept", KEPT, ids=lambda path: path.stem)
async def test_all_runs_of_a_kept_store_come_to_their_ends(kept: Path, tmp_path: Path) -> None:
    path = shutil.copy(kept, tmp_path / "motet.db")
    did: list[str] = []
    app = kept_app(f"sqlite:///{path}", did=did.append)
    async with app.worker(), asyncio.timeout(PATIENCE_SECONDS):
        queued = QUEUED_ENDS if int(kept.stem.removeprefix("schema_")) >= 2 else {}
        for id, end in {**ENDS, **queued}.items():
            try:
                await app.result(id)
            except (RunBlocked, RunEndedBadly):
                assert end != "completed", id
            assert (await app.status(id)).state == end
        assert await app.result("completed") == ["paid a", "paid b"]
        assert await app.result("in-flight") == ["paid c", "paid hang d"]
        assert await app.result("second-generation") == 1
        assert await app.result("family") == ["paid hang child"]
        assert await app.result("person-has-come") == "engraved a name"
    assert not set(DONE_BEFORE) & set(did), "what was done before is not done again"
    undone = [what for what in did if what in {"refund first", "refund undo hang second", "refund third"}]
    assert undone == ["refund undo hang second", "refund first"], "the first life has undone the third"
    assert "refund hang f" in did and "refund e" in did, "the message that was left has stopped this one"
