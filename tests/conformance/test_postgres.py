"""PostgreSQL keeps what a store promises."""

import pytest

from motet.testing.conformance import CopiedElsewhere, StoreConformance


class TestPostgres(CopiedElsewhere, StoreConformance):
    @pytest.fixture
    def address(self, postgres_address: str) -> str:
        return postgres_address
