"""The campaign's keeper of workers: who may begin when."""

import random
from pathlib import Path

from tests.chaos.workers import Workers


async def test_a_deploy_in_the_middle_of_a_night_does_not_end_it(tmp_path: Path) -> None:
    """Else workers begin in the night, and whoever waits for its first minute waits for them to end."""
    workers = Workers(2, tmp_path, {}, random.Random(1), lambda what, pid: None)
    async with workers.night():
        await workers.deploy(1)
        assert not workers._may_start.is_set()
    assert workers._may_start.is_set()
    async with workers.quiet():
        assert not workers._may_start.is_set()
    assert workers._may_start.is_set()
