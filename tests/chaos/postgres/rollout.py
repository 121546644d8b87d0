"""A rolling deploy in the middle of a campaign: half of the workers come again with the next version of the code.

The next version is this one with one step more in the schema, which adds what older programs need not know of. The
first of its workers migrates the database under all others, which go on.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.chaos.workers import Workers
from tests.planted_bugs.planting import copy_tree

MIGRATIONS = Path("src/motet/store/postgres/migrations")


class Rollout:
    """The next version's tree, and who runs it already."""

    def __init__(self, folder: Path) -> None:
        self.tree = copy_tree(folder / "next")
        steps = sorted((self.tree / MIGRATIONS).glob("*.sql"))
        self.version = int(steps[-1].name[:4]) + 1
        # What the newest step says of older programs still holds: this one asks nothing new of them.
        oldest = re.match(r"-- oldest: \d+\n", steps[-1].read_text())
        assert oldest is not None
        (self.tree / MIGRATIONS / f"{self.version:04}_next.sql").write_text(
            f"{oldest[0]}ALTER TABLE motet.run ADD COLUMN next bigint NOT NULL DEFAULT 0;\n"
            "ALTER TABLE motet.event ADD COLUMN next text;\n"
            "CREATE TABLE motet.next (id bigint PRIMARY KEY);\n"
        )

    async def go_on(self, workers: Workers) -> None:
        """One more place gets the next version, until half of them have it."""
        places = [slot for slot in workers._slots if slot.number not in workers.trees]
        if len(places) <= len(workers._slots) // 2:
            return
        slot = places[0]
        workers.trees[slot.number] = self.tree
        if slot.process is not None and slot.process.returncode is None:
            slot.retired = True
            slot.process.terminate()
