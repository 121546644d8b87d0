"""SQLite keeps what a store promises."""

from pathlib import Path

import pytest

from motet.testing.conformance import Copying, StoreConformance
from motet.testing.conformance.retention import RetentionConformance


class TestSqlite(Copying, StoreConformance, RetentionConformance):
    @pytest.fixture
    def address(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/motet.db"
